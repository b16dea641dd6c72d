"""scp.py over paramiko."""

import os
import sys

import paramiko
import scp


def main(verb, *operands):
    if verb == "version":
        print(f"{scp.__version__} paramiko {paramiko.__version__}")
        return
    flags = [word for word in operands if word in ("-r", "-p")]
    *sources, target = operands[len(flags) :]
    ssh = paramiko.SSHClient()
    ssh.load_host_keys(os.environ["SCP_KNOWN_HOSTS"])
    ssh.connect(
        os.environ["SCP_HOST"],
        int(os.environ["SCP_PORT"]),
        os.environ["SCP_USER"],
        key_filename=os.environ["SCP_KEY"],
        allow_agent=False,
        look_for_keys=False,
    )
    how = {"recursive": "-r" in flags, "preserve_times": "-p" in flags}
    with ssh, scp.SCPClient(ssh.get_transport()) as client:
        if verb == "put":
            client.put(sources, target, **how)
        else:
            client.get(sources, target, **how)


main(*sys.argv[1:])
