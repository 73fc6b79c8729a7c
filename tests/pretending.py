"""A socket whose connection is open as soon as it is made: one end of a pair, so that a worker needs no network."""

from __future__ import annotations

import socket
from typing import ClassVar


class PretendingSocket(socket.SocketType):
    """connect() gives the next of `answers`, and then 0; `peers` are the other ends, in the order of the sockets."""

    answers: ClassVar[list[int]]
    peers: ClassVar[list[socket.socket]]

    def __init__(self, _family: int, _kind: int) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        super().__init__(fileno=ours.detach())
        self.peers.append(theirs)

    def connect_ex(self, _address: object) -> int:
        return self.answers.pop(0) if self.answers else 0


def pretending(*answers: int) -> type[PretendingSocket]:
    """Return a class of such sockets with lists of its own."""

    class Socket(PretendingSocket):
        pass

    Socket.answers, Socket.peers = list(answers), []
    return Socket
