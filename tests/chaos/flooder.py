"""A client that sends nonsense: HOST PORT COUNT SEED; connects COUNT times, to loopback or a lab's network only."""

import random
import socket
import sys
import time
from contextlib import suppress

_STARTS = (
    b"",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 50,
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    b"POST /stop HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x15\x03\x03\x00\x02\x02\x28",
    b"GET /" + b"a" * 9000,
    b"\r\n" * 100,
)


def main() -> None:
    """Send, read a little of what comes, and close in one of three ways."""
    host, port, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    if not host.startswith(("127.", "198.18.", "198.19.")):
        sys.exit(f"{host} is neither loopback nor a lab")
    rng = random.Random(seed)
    left = []
    for _ in range(count):
        with suppress(OSError):
            sock = socket.create_connection((host, port), timeout=0.2)
            left.append(sock)
            sock.sendall(rng.choice(_STARTS) + rng.randbytes(rng.choice((0, 1, 100, 5000))))
            how = rng.randrange(4)
            if how == 0:
                sock.recv(100)
            elif how == 1:
                sock.shutdown(socket.SHUT_WR)
            elif how == 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                sock.close()
    time.sleep(0.3)


main()
