"""The sockets of one network namespace, read through netlink: sock_diag(7), INET_DIAG.

The kernel answers with one binary message per socket. A buffer of them becomes a table in a handful of
numpy operations, so that reading costs hardly more than what the kernel itself needs to list them.

What a dump is not: a snapshot. The kernel walks its hash tables between two reads, so a socket that
moves meanwhile may be missing or be there twice (its `cookie` tells).

Sources: sock_diag(7), netlink(7); linux/inet_diag.h, linux/netlink.h; net/ipv4/inet_diag.c, tcp_diag.c
and udp_diag.c; netlink_dump() and netlink_recvmsg() in net/netlink/af_netlink.c.
"""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from errno import EBUSY, ENOBUFS, ENOENT, EPROTONOSUPPORT, errorcode
from functools import cache
from itertools import count
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from loadgen.errors import HostError

#: Rows of `SOCKET`.
Sockets: TypeAlias = npt.NDArray[np.void]
_Words: TypeAlias = npt.NDArray[np.uint32]
_Offsets: TypeAlias = npt.NDArray[np.int64]

#: struct inet_diag_msg (linux/inet_diag.h) as it comes. An IPv4 address is the first four bytes of its
#: sixteen, the rest 0. timer: 0 none, 1 retransmission, 2 keepalive and the like, 3 TIME-WAIT, 4 zero-window
#: probe. rqueue and wqueue are bytes; of a listener, connections that wait for accept() and its backlog.
#: TIME-WAIT and SYN-RECEIVED belong to nobody any more or yet: their uid and inode are 0.
SOCKET: Final = np.dtype(
    [
        ("family", "u1"),
        ("state", "u1"),
        ("timer", "u1"),
        ("retransmits", "u1"),
        ("source_port", ">u2"),
        ("destination_port", ">u2"),
        ("source", "u1", 16),
        ("destination", "u1", 16),
        ("interface", "u4"),
        ("cookie", "u8"),
        ("expires_ms", "u4"),
        ("rqueue", "u4"),
        ("wqueue", "u4"),
        ("uid", "u4"),
        ("inode", "u4"),
    ]
)
#: struct nlmsghdr (linux/netlink.h).
_HEADER: Final = np.dtype([("length", "u4"), ("type", "u2"), ("flags", "u2"), ("sequence", "u4"), ("port", "u4")])
_WORD: Final = 4
_SMALLEST: Final = _HEADER.itemsize + SOCKET.itemsize


class State(IntEnum):
    """include/net/tcp_states.h; a socket of UDP is ESTABLISHED when connected and else CLOSE.

    CLOSE is also what a TCP socket says that was asked for as BOUND: it has a port, and neither
    listens nor connects. One that late-binds (IP_BIND_ADDRESS_NO_PORT) has no port yet and is not listed.
    """

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECV = 3
    FIN_WAIT1 = 4
    FIN_WAIT2 = 5
    TIME_WAIT = 6
    CLOSE = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11
    NEW_SYN_RECV = 12
    """How the kernel sees a connection that a listener has yet to hear of; it is listed as SYN_RECV."""
    BOUND = 13
    """Only to ask with: TCP_BOUND_INACTIVE, since Linux 6.8; see `lists_bound`."""


def mask(*states: State) -> int:
    """The bits that ask for these states."""
    return sum(1 << state for state in set(states))


#: Whatever is in a table of listening or connected sockets, which is all that older kernels list.
ALL: Final = mask(*State) & ~mask(State.BOUND)
#: Four-tuples that are taken: connected, on their way there or back, or resting in TIME-WAIT.
TUPLES: Final = ALL & ~mask(State.LISTEN, State.CLOSE)


class Extension(IntFlag):
    """What the kernel can add to each message, at a price: bit n - 1 asks for the attribute INET_DIAG_n."""

    NONE = 0
    MEMINFO = 1 << 0
    INFO = 1 << 1
    CONG = 1 << 3
    TOS = 1 << 4
    SKMEMINFO = 1 << 6


@dataclass(frozen=True, slots=True)
class Dump:
    """One answer.

    sockets: rows of `SOCKET`, in the order of the kernel's hash tables.
    interrupted: the kernel said that it changed its tables meanwhile (NLM_F_DUMP_INTR).
    attributes: {INET_DIAG_*: payload} of each socket; empty unless an extension was asked for.
    """

    sockets: Sockets
    interrupted: bool
    attributes: tuple[dict[int, bytes], ...] = ()


class Reader:
    """A netlink socket to ask, and a buffer to read into. For one thread at a time.

    sock: one that `open_socket` made, perhaps by a process elsewhere; a new one without. A netlink
    socket shows the namespace in which it was made, whoever reads it (network_namespaces(7)).

    Raises: HostError when this kernel has no such sockets.
    """

    def __init__(self, sock: socket.socket | None = None) -> None:
        self._socket = sock or open_socket()
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._sequences = count(_FIRST_SEQUENCE)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket, also one that was given."""
        self._socket.close()

    def dump(
        self,
        states: int = ALL,
        *,
        protocol: int = socket.IPPROTO_TCP,
        families: Sequence[int] = (socket.AF_INET, socket.AF_INET6),
        source_port: int = 0,
        destination_port: int = 0,
        extensions: Extension = Extension.NONE,
    ) -> Dump:
        """The sockets in any of these states (`mask`), of TCP or UDP.

        source_port, destination_port: only those with this one; 0 for any. The kernel leaves the others
        out, which costs it far less than to list them. Bound sockets of TCP are listed whatever their ports.

        Raises: HostError with errno and remedy when the kernel refuses, or cannot list BOUND; ValueError as `parse`.
        """
        if states & mask(State.BOUND) and protocol == socket.IPPROTO_TCP and not lists_bound():
            raise HostError(
                "this kernel does not list bound but unconnected TCP sockets, Linux 6.8 does; leave out BOUND"
            )
        answers = [
            answer
            for family in families
            for answer in self._ask(family, protocol, states, source_port, destination_port, extensions)
        ]
        plain = np.dtype((np.void, SOCKET.itemsize))  # see `_records`
        tables = [np.empty(0, plain), *(answer.sockets.view(plain) for answer in answers)]
        return Dump(
            sockets=np.concatenate(tables).view(SOCKET),
            interrupted=any(answer.interrupted for answer in answers),
            attributes=tuple(found for answer in answers for found in answer.attributes),
        )

    def _ask(
        self,
        family: int,
        protocol: int,
        states: int,
        source_port: int = 0,
        destination_port: int = 0,
        extensions: Extension = Extension.NONE,
    ) -> list[Answer]:
        """All that the kernel answers to one struct inet_diag_req_v2, a buffer at a time."""
        sequence = next(self._sequences)
        request = struct.pack(
            "=IHHIIBBBxI2s2s44x",  # a dump asks for no addresses and no cookie
            _REQUEST_BYTES,
            _SOCK_DIAG_BY_FAMILY,
            _NLM_F_REQUEST | _NLM_F_DUMP,
            sequence,
            0,
            family,
            protocol,
            extensions,
            states,
            source_port.to_bytes(2, "big"),
            destination_port.to_bytes(2, "big"),
        )
        try:
            self._socket.send(request)
        except OSError as error:
            raise _refused("send", error.errno or 0) from error
        answers: list[Answer] = []
        while not (answers and answers[-1].done):
            answers.append(parse(self._view[: self._receive()], sequence, attributes=bool(extensions)))
            if answers[-1].errno:
                raise _refused("dump", answers[-1].errno)
        return answers

    def _receive(self) -> int:
        """Fill the buffer with what is there; how many bytes.

        The kernel hands over at most 32 KiB at a time and prepares the next part while we read one, so
        nothing left to read means that the answer has ended.
        """
        filled = 0
        while len(self._buffer) - filled >= _PART_MAX_BYTES:
            try:
                received = self._socket.recv_into(self._view[filled:], 0, socket.MSG_DONTWAIT | socket.MSG_TRUNC)
            except BlockingIOError:
                if filled:
                    break
                if not self._poll.poll(_PATIENCE_MS):
                    raise HostError(f"the kernel paused for {_PATIENCE_MS} ms in its list of sockets") from None
                continue
            except OSError as error:
                raise _refused("recv", error.errno or 0) from error
            if not 0 < received <= len(self._buffer) - filled:
                raise HostError(f"a netlink socket gave {received} bytes at once, there is room for {_PART_MAX_BYTES}")
            filled += _aligned(received)
        return filled


def open_socket() -> socket.socket:
    """A netlink socket that lists the sockets of the namespace this process is in now, wherever it is read.

    Raises: HostError when this kernel has none (CONFIG_INET_DIAG).
    """
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG)
        sock.bind((0, 0))
    except OSError as error:
        raise _refused("socket", error.errno or 0) from error
    return sock


def send_socket(fd: int) -> None:
    """Entry of a process in another namespace: make a socket there and send it through this Unix socket.

    Where none can be made the reason is sent. fd: closed afterwards. The other end takes it with `receive_socket`,
    and gives it to a `Reader`.
    """
    with socket.socket(fileno=fd) as channel:
        try:
            sock = open_socket()
        except HostError as error:
            channel.send(str(error).encode())
            return
        with sock:
            socket.send_fds(channel, [b"sock_diag"], [sock.fileno()])


def receive_socket(channel: socket.socket) -> socket.socket:
    """What `send_socket` sent into the other end of this Unix socket; waits for it.

    Raises: HostError with the reason of a process that could make none, or when the other end closed without a word.
    """
    reason, fds, _, _ = socket.recv_fds(channel, 4096, 1, socket.MSG_CMSG_CLOEXEC)
    if not fds:
        early = "no netlink socket came from the other namespace: the process there ended early"
        raise HostError(reason.decode() or early)
    return socket.socket(fileno=fds[0])


@cache
def lists_bound() -> bool:
    """Whether this kernel lists bound but unconnected TCP sockets (Linux 6.8, and some that took it over).

    An older one says nothing to a bit it does not know, so it is tried with a socket of our own.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as ours, open_socket() as sock:
        # An address that is on no interface: no port of anybody's is taken, not even for a moment.
        ours.setsockopt(socket.SOL_IP, _IP_FREEBIND, 1)
        try:
            ours.bind((_NOBODYS, 0))
        except OSError as error:
            raise HostError(
                f"cannot bind {_NOBODYS}: {error.strerror}; asking for BOUND needs one free port"
            ) from error
        answers = Reader(sock)._ask(socket.AF_INET, socket.IPPROTO_TCP, mask(State.BOUND))
        return any(os.fstat(ours.fileno()).st_ino in answer.sockets["inode"] for answer in answers)


def count_states(sockets: Sockets) -> dict[State, int]:
    """How many sockets are in each state, in the order of `State`; without those that nobody is in."""
    counts = np.bincount(sockets["state"], minlength=max(State) + 1)
    return {state: int(counts[state]) for state in State if counts[state]}


def is_mapped(sockets: Sockets) -> npt.NDArray[np.bool_]:
    """Which are IPv6 sockets that speak IPv4: their destination (a listener's source) is ::ffff:a.b.c.d.

    A listener on :: takes IPv4 too, unless IPV6_V6ONLY, and is not counted here (ipv6(7)).
    """
    six = sockets["family"] == socket.AF_INET6
    mapped: npt.NDArray[np.bool_] = six & (
        (sockets["source"][:, :12] == list(MAPPED)).all(axis=1)
        | (sockets["destination"][:, :12] == list(MAPPED)).all(axis=1)
    )
    return mapped


@dataclass(frozen=True, slots=True)
class Answer:
    """The messages of one buffer. errno: what the kernel refused with; 0: it did not."""

    sockets: Sockets
    done: bool
    interrupted: bool
    errno: int
    attributes: tuple[dict[int, bytes], ...] = ()


def parse(buffer: bytes | bytearray | memoryview, sequence: int, *, attributes: bool = False) -> Answer:
    """The messages in a buffer that begins with one; those of another sequence number are passed over.

    The length is a multiple of 4, as is the place of every message (NLMSG_ALIGN).

    Raises: ValueError at a message whose length cannot be.
    """
    words: _Words = np.frombuffer(buffer, np.uint32)
    starts = _starts(words, sequence)
    headers = _records(words, _HEADER, starts)
    ours = headers["sequence"] == sequence
    if not ours.all():
        starts, headers = starts[ours], headers[ours]
    listed = headers["type"] == _SOCK_DIAG_BY_FAMILY
    done, refused = headers["type"] == _NLMSG_DONE, headers["type"] == _NLMSG_ERROR
    too_short = headers["length"] < np.where(listed, _SMALLEST, np.where(done | refused, _HEADER.itemsize + _WORD, 0))
    if too_short.any():
        raise ValueError(f"a message of {headers['length'][too_short][0]} bytes is too short for what it is")
    # Both begin with an int: 0, or -errno.
    errors = -words[starts[done | refused] + _HEADER.itemsize // _WORD].astype(np.int32)
    return Answer(
        sockets=_records(words, SOCKET, starts[listed] + _HEADER.itemsize // _WORD),
        done=bool(done.any()),
        interrupted=bool((headers["flags"] & _NLM_F_DUMP_INTR).any()),
        errno=int(errors.max(initial=0)),
        attributes=tuple(
            _attributes(buffer, start * _WORD + _SMALLEST, start * _WORD + length)
            for start, length in zip(starts[listed].tolist(), headers["length"][listed].tolist(), strict=True)
        )
        if attributes
        else (),
    )


def _starts(words: _Words, sequence: int) -> _Offsets:
    """Where the messages begin, in words.

    Their lengths differ, so each would have to be read to find the next. But all carry one sequence number:
    wherever that stands a message may begin, and if each of these ends where the next begins, from the first
    word to the last, then these are the messages and there can be no others. If not (the number is also
    somebody's inode, or there is a message of another sequence), they are walked one by one.
    """
    starts: _Offsets = np.flatnonzero(words == sequence) - 2
    if starts.size and starts[0] == 0:
        lengths = words[starts].astype(np.int64)
        ends = starts + (lengths + _WORD - 1) // _WORD
        if lengths.min() >= _HEADER.itemsize and ends[-1] == words.size and np.array_equal(ends[:-1], starts[1:]):
            return starts
    return _walk(words)


def _walk(words: _Words) -> _Offsets:
    lengths = words.data  # a memoryview: its items are plain numbers, four times as fast as those of an array
    starts, at, end = [], 0, words.size
    while at < end:
        length = lengths[at]
        if length < _HEADER.itemsize or at + _aligned(length) // _WORD > end:
            raise ValueError(f"a message of {length} bytes at byte {at * _WORD} of {end * _WORD}")
        starts.append(at)
        at += _aligned(length) // _WORD
    return np.array(starts, np.int64)


def _records(words: _Words, dtype: np.dtype[np.void], places: _Offsets) -> Sockets:
    """Copies of the records of this type that begin at these words."""
    if not places.size:
        return np.empty(0, dtype)
    # As if one began at every word. The wanted ones are picked as plain bytes: numpy copies these as they are,
    # but a record field by field, which takes twenty times as long.
    plain = np.dtype((np.void, dtype.itemsize))
    everywhere: Sockets = np.ndarray((words.size - dtype.itemsize // _WORD + 1,), plain, words, 0, (_WORD,))
    return everywhere[places].view(dtype)


def _attributes(buffer: bytes | bytearray | memoryview, at: int, end: int) -> dict[int, bytes]:
    """The payloads of the attributes (struct nlattr) in this part of a buffer, by their types."""
    found: dict[int, bytes] = {}
    while at < end:
        length, kind = struct.unpack_from("=HH", buffer, at)
        if length < 4 or at + length > end:
            raise ValueError(f"an attribute of {length} bytes where {end - at} are left")
        found[kind] = bytes(buffer[at + 4 : at + length])
        at += _aligned(length)
    return found


def _aligned(length: int) -> int:
    return length + -length % _WORD


def _refused(what: str, number: int) -> HostError:
    name = errorcode.get(number, number)
    remedy = _REMEDIES.get(number, "see sock_diag(7)")
    return HostError(f"cannot list sockets: {what} on a netlink socket: {name} ({os.strerror(number)}); {remedy}")


_REMEDIES: Final = {
    ENOENT: "modprobe tcp_diag, udp_diag (CONFIG_INET_TCP_DIAG, CONFIG_INET_UDP_DIAG)",
    EPROTONOSUPPORT: "modprobe inet_diag (CONFIG_INET_DIAG)",
    EBUSY: "another reader of the same socket is not done; give each one of its own",
    ENOBUFS: "the kernel is out of memory for its answer; try again",
}

#: linux/netlink.h, linux/sock_diag.h, linux/in.h
_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLM_F_REQUEST: Final = 0x1
_NLM_F_DUMP_INTR: Final = 0x10
_NLM_F_DUMP: Final = 0x300
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_IP_FREEBIND: Final = 15
#: struct nlmsghdr and struct inet_diag_req_v2.
_REQUEST_BYTES: Final = 16 + 56

#: TEST-NET-1 (RFC 5737).
_NOBODYS: Final = "192.0.2.1"
#: ::ffff:0:0/96 (RFC 4291, 2.5.5.2).
MAPPED: Final = bytes(10) + b"\xff\xff"
#: A number that counts and inodes hardly reach; see `_starts`.
_FIRST_SEQUENCE: Final = 0x5D1A6000
_BUFFER_BYTES: Final = 1 << 20
#: netlink_recvmsg() sees to it that a part has at most 32 KiB.
_PART_MAX_BYTES: Final = 64 * 1024
#: The kernel answers at once; this is for one that never does.
_PATIENCE_MS: Final = 10_000
