"""A service in front of three backends: service.py KIND PORT BACKEND_PORT...

For each client it opens a connection to every backend, asks them all, and replies with the answer of the last. KIND:

good         the port of a connection is chosen by connect(); when the client leaves, ten connections to each backend
             are kept for the next client, and the others are closed
leaks        the same, but those that are not kept are not closed either
binds-early  as good, but bind() takes the port, before the backend is known to the kernel
"""

import asyncio
import errno
import socket
import sys
from collections import defaultdict
from contextlib import suppress

SOURCE = "127.0.0.1"  # the address that the backends permit
POOL = 10
IP_BIND_ADDRESS_NO_PORT = 24  # ip(7); Python has a name for it from 3.12 on

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Backends:
    """Connections to the backends: those in use belong to a client, the others wait in the pool."""

    def __init__(self, kind: str, ports: list[int]) -> None:
        self.kind, self.ports = kind, ports
        self.pool: dict[int, list[Stream]] = defaultdict(list)
        self.forgotten: list[Stream] = []

    async def take(self, port: int) -> Stream:
        """A connection to one backend, from the pool or new. Raises: OSError, with the call that failed."""
        if self.pool[port]:
            return self.pool[port].pop()
        sock = socket.socket()
        sock.setblocking(False)
        if self.kind != "binds-early":
            # Without this option bind() takes a port that no other connection of this address has, to any backend.
            sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        call = "bind"
        try:
            sock.bind((SOURCE, 0))
            call = "connect"
            await asyncio.get_running_loop().sock_connect(sock, (SOURCE, port))
        except OSError as error:
            sock.close()
            raise OSError(error.errno, f"{call}: {errno.errorcode.get(error.errno or 0)}") from error
        return await asyncio.open_connection(sock=sock)

    def give_back(self, port: int, stream: Stream) -> None:
        """Keep the connection of a client that has left, or close it."""
        if len(self.pool[port]) < POOL:
            self.pool[port].append(stream)
        elif self.kind == "leaks":
            self.forgotten.append(stream)
        else:
            stream[1].close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until it leaves, or until a backend cannot be reached."""
        taken: dict[int, Stream] = {}
        try:
            for port in self.ports:
                taken[port] = await self.take(port)
        except OSError as error:
            print(f"no connection to backend {port}: {error.strerror}", file=sys.stderr, flush=True)
        else:
            await self.answer(reader, writer, list(taken.values()))
        finally:
            for port, stream in taken.items():
                self.give_back(port, stream)
            writer.close()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, backends: list[Stream]) -> None:
        """Answer each question of a client."""
        with suppress(ConnectionError):  # it may also leave by a reset
            while question := await reader.read(4096):
                for answers, questions in backends:
                    questions.write(question)
                    answer = await answers.readexactly(len(question))
                writer.write(answer)


async def main(kind: str, port: int, *backends: int) -> None:
    """Serve until standard input ends, so that no service outlives its test."""
    async with await asyncio.start_server(Backends(kind, list(backends)).serve, SOURCE, port, backlog=1000):
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
