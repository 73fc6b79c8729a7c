"""Run a command in a network namespace of its own, in which connections have a hundred ports: lab.py COMMAND...

There a leak of thirty ports is plain, and nothing outside is touched. It needs unshare(1) and no rights.
"""

import fcntl
import os
import socket
import struct
import sys
from pathlib import Path

PORTS = "20000 20099"
INSIDE = "--inside"
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1  # netdevice(7)


def main(command: list[str]) -> None:
    """Become unshare(1), which becomes this program again inside, which becomes the command."""
    if command[0] != INSIDE:
        os.execvp("unshare", ["unshare", "-r", "-n", sys.executable, __file__, INSIDE, *command])
    with socket.socket() as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text(PORTS)
    os.execvp(command[1], command[1:])


if __name__ == "__main__":
    main(sys.argv[1:] or sys.exit(__doc__))
