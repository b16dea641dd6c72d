"""asyncssh.scp."""

import asyncio
import os
import sys

import asyncssh


async def main(verb, *operands):
    if verb == "version":
        print(asyncssh.__version__)
        return
    flags = [word for word in operands if word in ("-r", "-p")]
    *sources, target = operands[len(flags) :]
    how = {"recurse": "-r" in flags, "preserve": "-p" in flags}
    async with asyncssh.connect(
        os.environ["SCP_HOST"],
        int(os.environ["SCP_PORT"]),
        username=os.environ["SCP_USER"],
        client_keys=[os.environ["SCP_KEY"]],
        known_hosts=os.environ["SCP_KNOWN_HOSTS"],
        config=None,
        agent_path=None,
    ) as connection:
        if verb == "put":
            await asyncssh.scp(sources, (connection, target), **how)
        else:
            await asyncssh.scp([(connection, source) for source in sources], target, **how)


asyncio.run(main(*sys.argv[1:]))
