"""Sends signals over the channel of a running upload, and says how it went on."""

import asyncio
import os
import warnings

warnings.simplefilter("ignore")

import asyncssh


async def main():
    async with asyncssh.connect(
        os.environ["SCP_HOST"],
        int(os.environ["SCP_PORT"]),
        username=os.environ["SCP_USER"],
        client_keys=[os.environ["SCP_KEY"]],
        known_hosts=os.environ["SCP_KNOWN_HOSTS"],
        config=None,
        agent_path=None,
    ) as connection:
        command = os.environ.get("SCP_COMMAND", "scp -t .")
        session = await connection.create_process(command, encoding=None)
        session.stdin.write(b"C0644 3 signalled\n")
        heard = await session.stdout.readexactly(2)
        for signal in ("USR1", "HUP", "INT", "TERM", "KILL"):
            session.send_signal(signal)
        session.stdin.write(b"new\0")
        session.stdin.write_eof()
        heard += await session.stdout.read()
        await session.wait_closed()
        print(heard.hex(), session.exit_status, session.exit_signal and session.exit_signal[0])


asyncio.run(main())
