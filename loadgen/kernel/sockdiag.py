"""The sockets of one network namespace, read through netlink: sock_diag(7), INET_DIAG.

The kernel answers with one binary message per socket. A buffer of them becomes a table in a handful of
numpy operations, so reading takes hardly longer than the kernel needs to list them.

A dump is not a snapshot. The kernel walks its hash tables between two reads, so a socket that moves meanwhile may be
missing or listed twice (with the same `cookie`).

Sources: sock_diag(7), netlink(7); linux/inet_diag.h, linux/netlink.h; net/ipv4/inet_diag.c, tcp_diag.c
and udp_diag.c; netlink_dump() and netlink_recvmsg() in net/netlink/af_netlink.c.
"""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from errno import EBUSY, ENOBUFS, ENOENT, EPROTONOSUPPORT, errorcode
from functools import cache
from itertools import count
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from loadgen import shortage
from loadgen.errors import HostError
from loadgen.kernel import netlink

#: Rows of `SOCKET`.
Sockets: TypeAlias = npt.NDArray[np.void]
_Words: TypeAlias = npt.NDArray[np.uint32]
_Offsets: TypeAlias = npt.NDArray[np.int64]

#: struct inet_diag_msg (linux/inet_diag.h). An IPv4 address is the first four bytes of its
#: sixteen, the rest 0. timer: 0 none, 1 retransmission, 2 keepalive and the like, 3 TIME-WAIT, 4 zero-window
#: probe. rqueue and wqueue are bytes; for a listener, the connections waiting for accept() and its backlog.
#: TIME-WAIT and SYN-RECEIVED are not owned by a process: their uid and inode are 0.
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


class TcpState(IntEnum):
    """States of include/net/tcp_states.h; a UDP socket is ESTABLISHED if connected, otherwise CLOSE.

    A TCP socket requested as BOUND is reported as CLOSE: it has a port, and neither listens nor connects. A socket
    bound with IP_BIND_ADDRESS_NO_PORT has no port yet and is not listed.
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
    """A half-open connection that its listener has not seen yet; listed as SYN_RECV."""
    BOUND = 13
    """For requests only: TCP_BOUND_INACTIVE, since Linux 6.8; see `lists_bound`."""


def selected(sockets: Sockets, chosen: npt.NDArray[np.bool_]) -> Sockets:
    """Return these sockets: all of them themselves, some as a copy.

    As plain bytes, because numpy copies a record field by field, which takes many times as long.
    """
    if chosen.all():
        return sockets
    plain = np.dtype((np.void, SOCKET.itemsize))
    # Of its own type: numpy turns the ports of tables that it joins into the byte order of this machine.
    return np.compress(chosen, np.ascontiguousarray(sockets).view(plain)).view(sockets.dtype)


def mask(*states: TcpState) -> int:
    """Return the bit mask that requests these states."""
    return sum(1 << state for state in set(states))


#: Every socket in the kernel's tables of listening and connected sockets, which is all that older kernels list.
ALL: Final = mask(*TcpState) & ~mask(TcpState.BOUND)
#: Four-tuples in use: connecting, connected, closing, or in TIME-WAIT.
TUPLES: Final = ALL & ~mask(TcpState.LISTEN, TcpState.CLOSE)


class Extension(IntFlag):
    """Costly attributes that the kernel adds on request: bit n - 1 asks for the attribute INET_DIAG_n."""

    NONE = 0
    MEMINFO = 1 << 0
    INFO = 1 << 1
    CONG = 1 << 3
    TOS = 1 << 4
    SKMEMINFO = 1 << 6


@dataclass(frozen=True, slots=True)
class Dump:
    """The sockets that the kernel listed.

    sockets: rows of `SOCKET`, in the order of the kernel's hash tables.
    interrupted: the kernel said that it changed its tables meanwhile (NLM_F_DUMP_INTR).
    attributes: {INET_DIAG_*: payload} of each socket; empty unless an extension was asked for.
    """

    sockets: Sockets
    interrupted: bool
    attributes: tuple[dict[int, bytes], ...] = ()


class Reader:
    """Lists sockets through a netlink socket. Not thread-safe.

    sock: a socket from `open_socket`, possibly of another process; default: a new one. A netlink socket shows the
    namespace in which it was made, regardless of the reader (network_namespaces(7)).

    Raises: HostError if this kernel has no such sockets.
    """

    def __init__(self, sock: socket.socket | None = None) -> None:
        self._socket = sock or open_socket()
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._sequences = count(_FIRST_SEQUENCE)
        #: From a request until its answer was read to the end.
        self._answering = False

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the netlink socket."""
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
        """List the TCP or UDP sockets in any of these states (`mask`).

        source_port, destination_port: list only sockets with this port; 0 for any. The kernel skips the others, which
        costs far less than listing them. TCP sockets in BOUND are listed whatever their ports.

        Raises: HostError with errno and remedy if the kernel refuses, or cannot list BOUND; ValueError, see `parse`.
        """
        if states & mask(TcpState.BOUND) and protocol == socket.IPPROTO_TCP and not lists_bound():
            raise HostError(
                "this kernel does not list bound but unconnected TCP sockets, Linux 6.8 does; leave out BOUND"
            )
        parts = [
            part
            for family in families
            for part in self._ask(family, protocol, states, source_port, destination_port, extensions)
        ]
        plain = np.dtype((np.void, SOCKET.itemsize))  # see `_records`
        tables = [np.empty(0, plain), *(part.sockets.view(plain) for part in parts)]
        return Dump(
            sockets=np.concatenate(tables).view(SOCKET),
            interrupted=any(part.interrupted for part in parts),
            attributes=tuple(attributes for part in parts for attributes in part.attributes),
        )

    def _ask(
        self,
        family: int,
        protocol: int,
        states: int,
        source_port: int = 0,
        destination_port: int = 0,
        extensions: Extension = Extension.NONE,
    ) -> list[DumpPart]:
        """Send one request and return the kernel's whole answer, one part per buffer."""
        sequence = next(self._sequences)
        request = struct.pack(
            "=BBBxI2s2s44x",  # struct inet_diag_req_v2; a dump needs no addresses and no cookie
            family,
            protocol,
            extensions,
            states,
            source_port.to_bytes(2, "big"),
            destination_port.to_bytes(2, "big"),
        )
        try:
            if self._answering:
                self._discard()
            flags = netlink.NLM_F_REQUEST | netlink.NLM_F_DUMP
            self._socket.send(netlink.message(_SOCK_DIAG_BY_FAMILY, flags, request, sequence))
        except OSError as error:
            raise _refused("send", error.errno or 0) from error
        self._answering = True
        parts: list[DumpPart] = []
        while not (parts and parts[-1].done):
            parts.append(parse(self._view[: self._receive()], sequence, attributes=bool(extensions)))
            if parts[-1].errno:
                raise _refused("dump", parts[-1].errno)
        self._answering = False
        return parts

    def _discard(self) -> None:
        """Take what is left of an answer that failed half-way: until then the kernel gives no other (EBUSY)."""
        with suppress(BlockingIOError):
            while self._socket.recv_into(self._view, 0, socket.MSG_DONTWAIT | socket.MSG_TRUNC):
                pass

    def _receive(self) -> int:
        """Read the available messages into the buffer; return the number of bytes.

        The kernel hands over at most 32 KiB at a time and prepares the next part while one is read, so an empty
        socket means that the answer has ended.
        """
        filled = 0
        while len(self._buffer) - filled >= _PART_MAX_BYTES:
            try:
                received = self._socket.recv_into(self._view[filled:], 0, socket.MSG_DONTWAIT | socket.MSG_TRUNC)
            except BlockingIOError:
                if filled:
                    break
                if not self._poll.poll(_TIMEOUT_MS):
                    raise HostError(f"the kernel paused for {_TIMEOUT_MS} ms in its list of sockets") from None
                continue
            except OSError as error:
                raise _refused("recv", error.errno or 0) from error
            if not 0 < received <= len(self._buffer) - filled:
                raise HostError(f"a netlink socket gave {received} bytes at once, there is room for {_PART_MAX_BYTES}")
            filled += netlink.aligned(received)
        return filled


def open_socket() -> socket.socket:
    """Open a netlink socket that lists the sockets of the current namespace of this process, wherever it is read.

    Raises: HostError if this kernel has none (CONFIG_INET_DIAG).
    """
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG)
        sock.bind((0, 0))
    except OSError as error:
        raise _refused("socket", error.errno or 0) from error
    return sock


def send_socket(fd: int) -> None:
    """Entry of a process in another namespace: open a netlink socket there and send it through this Unix socket.

    On failure the reason is sent instead. fd: closed afterwards. The other end calls `receive_socket`.
    """
    with socket.socket(fileno=fd) as channel:
        try:
            sock = open_socket()
        except HostError as error:
            channel.send(str(error).encode())
            return
        with sock:
            shortage.patiently(lambda: socket.send_fds(channel, [b"sock_diag"], [sock.fileno()]))


def receive_socket(channel: socket.socket) -> socket.socket:
    """Wait for the netlink socket that `send_socket` sends into the other end of this Unix socket.

    Raises: HostError with the reason that was sent instead, or if the other end closed without sending.
    """
    reason, fds, flags, _ = socket.recv_fds(channel, 4096, 1, socket.MSG_CMSG_CLOEXEC)
    if flags & socket.MSG_CTRUNC:
        raise HostError(shortage.descriptors())
    if not fds:
        early = "no netlink socket came from the other namespace: the process there ended early"
        raise HostError(reason.decode() or early)
    return socket.socket(fileno=fds[0])


@cache
def lists_bound() -> bool:
    """Return True if this kernel lists bound but unconnected TCP sockets (Linux 6.8 and backports).

    Older kernels silently ignore the bit, so the call looks for one of its own where none is listed.

    Raises: HostError if the kernel does not list sockets, or no port is free for that one.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as bound, open_socket() as sock, Reader(sock) as reader:
        bits = mask(TcpState.BOUND)
        for family in (socket.AF_INET6, socket.AF_INET):
            if any(part.sockets.size for part in reader._ask(family, socket.IPPROTO_TCP, bits)):
                return True  # also where such sockets have taken every port
        # The address is on no interface, so no other process loses a port, not even for a moment.
        bound.setsockopt(socket.SOL_IP, _IP_FREEBIND, 1)
        try:
            bound.bind((_TEST_NET, 0))
        except OSError as error:
            raise HostError(
                f"cannot bind {_TEST_NET}: {error.strerror}; asking for BOUND needs one free port"
            ) from error
        parts = reader._ask(socket.AF_INET, socket.IPPROTO_TCP, bits)
        return any(os.fstat(bound.fileno()).st_ino in part.sockets["inode"] for part in parts)


def count_states(sockets: Sockets) -> dict[TcpState, int]:
    """Return the number of sockets in each state, in the order of `TcpState`, without zeros."""
    counts = np.bincount(sockets["state"], minlength=max(TcpState) + 1)
    return {state: int(counts[state]) for state in TcpState if counts[state]}


def is_mapped(sockets: Sockets) -> npt.NDArray[np.bool_]:
    """Return a mask of IPv6 sockets that carry IPv4: their destination (a listener's source) is ::ffff:a.b.c.d.

    A listener on :: accepts IPv4 too, unless IPV6_V6ONLY is set, but is not included (ipv6(7)).
    """
    six = sockets["family"] == socket.AF_INET6
    mapped: npt.NDArray[np.bool_] = six & (
        (sockets["source"][:, :12] == list(MAPPED)).all(axis=1)
        | (sockets["destination"][:, :12] == list(MAPPED)).all(axis=1)
    )
    return mapped


@dataclass(frozen=True, slots=True)
class DumpPart:
    """The messages of one buffer. errno: the error that the kernel returned, or 0."""

    sockets: Sockets
    done: bool
    interrupted: bool
    errno: int
    attributes: tuple[dict[int, bytes], ...] = ()


def parse(buffer: bytes | bytearray | memoryview, sequence: int, *, attributes: bool = False) -> DumpPart:
    """Parse a buffer of messages; skip those with another sequence number.

    The buffer's length is a multiple of 4, as is the offset of every message (NLMSG_ALIGN).

    Raises: ValueError if the length of a message is impossible, or a socket has a family or state that has no name.
    """
    if len(buffer) % _WORD:
        raise ValueError(f"{len(buffer)} bytes, no multiple of {_WORD}")
    words: _Words = np.frombuffer(buffer, np.uint32)
    starts = _starts(words, sequence)
    headers = _records(words, _HEADER, starts)
    wanted = headers["sequence"] == sequence
    if not wanted.all():
        starts, headers = starts[wanted], headers[wanted]
    listed = headers["type"] == _SOCK_DIAG_BY_FAMILY
    done, refused = headers["type"] == netlink.NLMSG_DONE, headers["type"] == netlink.NLMSG_ERROR
    too_short = headers["length"] < np.where(listed, _SMALLEST, np.where(done | refused, _HEADER.itemsize + _WORD, 0))
    if too_short.any():
        raise ValueError(f"a message of {headers['length'][too_short][0]} bytes is too short for its type")
    sockets = _records(words, SOCKET, starts[listed] + _HEADER.itemsize // _WORD)
    _require_known(sockets)
    # Both begin with an int: 0, or -errno.
    errors = -words[starts[done | refused] + _HEADER.itemsize // _WORD].astype(np.int32)
    return DumpPart(
        sockets=sockets,
        done=bool(done.any()),
        interrupted=bool((headers["flags"] & netlink.NLM_F_DUMP_INTR).any()),
        errno=int(errors.max(initial=0)),
        attributes=tuple(
            netlink.attributes(buffer, start * _WORD + _SMALLEST, start * _WORD + length)
            for start, length in zip(starts[listed].tolist(), headers["length"][listed].tolist(), strict=True)
        )
        if attributes
        else (),
    )


def _require_known(sockets: Sockets) -> None:
    """Let no socket in whose family or state would be mistaken for another one further on. Raises: ValueError."""
    states, families = sockets["state"], sockets["family"]
    for name, numbers, known in (
        ("state", states, (states >= min(TcpState)) & (states <= max(TcpState))),
        ("address family", families, (families == socket.AF_INET) | (families == socket.AF_INET6)),
    ):
        if not known.all():
            raise ValueError(f"a socket of {name} {numbers[~known][0]}, which this version of loadgen does not know")


def _starts(words: _Words, sequence: int) -> _Offsets:
    """Return the offsets of the messages, in words.

    Message lengths differ, so finding the next message would mean reading each one. But all carry one sequence
    number: a message may begin wherever that number stands, and if each of these candidates ends where the next
    begins, from the first word to the last, they are exactly the messages. Otherwise (an inode equals the number, or
    a message has another sequence) the messages are walked one by one.
    """
    starts: _Offsets = np.flatnonzero(words == sequence) - 2
    if starts.size and starts[0] == 0:
        lengths = words[starts].astype(np.int64)
        ends = starts + (lengths + _WORD - 1) // _WORD
        if lengths.min() >= _HEADER.itemsize and ends[-1] == words.size and np.array_equal(ends[:-1], starts[1:]):
            return starts
    return _walk(words)


def _walk(words: _Words) -> _Offsets:
    lengths = words.data  # a memoryview yields plain integers, four times as fast as an array
    starts, at, end = [], 0, words.size
    while at < end:
        length = lengths[at]
        if length < _HEADER.itemsize or at + netlink.aligned(length) // _WORD > end:
            raise ValueError(f"a message of {length} bytes at byte {at * _WORD} of {end * _WORD}")
        starts.append(at)
        at += netlink.aligned(length) // _WORD
    return np.array(starts, np.int64)


def _records(words: _Words, dtype: np.dtype[np.void], places: _Offsets) -> Sockets:
    """Return copies of the records of this type that begin at these words."""
    if not places.size:
        return np.empty(0, dtype)
    # View the buffer as if a record began at every word, and select the wanted ones as plain bytes: numpy copies
    # bytes as they are, but a record field by field, which takes twenty times as long.
    plain = np.dtype((np.void, dtype.itemsize))
    everywhere: Sockets = np.ndarray((words.size - dtype.itemsize // _WORD + 1,), plain, words, 0, (_WORD,))
    return everywhere[places].view(dtype)


def _refused(what: str, number: int) -> HostError:
    name = errorcode.get(number, number)
    remedy = _REMEDIES.get(number, "see sock_diag(7)")
    return HostError(f"cannot list sockets: {what} on a netlink socket: {name} ({os.strerror(number)}); {remedy}")


_REMEDIES: Final = {
    ENOENT: "modprobe tcp_diag, udp_diag (CONFIG_INET_TCP_DIAG, CONFIG_INET_UDP_DIAG)",
    EPROTONOSUPPORT: "modprobe inet_diag (CONFIG_INET_DIAG)",
    EBUSY: "another reader of the same socket is not finished; use one socket per reader",
    ENOBUFS: "the kernel is out of memory for its answer; try again",
}

#: linux/netlink.h, linux/sock_diag.h, linux/in.h
_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_IP_FREEBIND: Final = 15

#: TEST-NET-1 (RFC 5737).
_TEST_NET: Final = "192.0.2.1"
#: ::ffff:0:0/96 (RFC 4291, 2.5.5.2).
MAPPED: Final = bytes(10) + b"\xff\xff"
#: A number that byte counts and inodes hardly reach; see `_starts`.
_FIRST_SEQUENCE: Final = 0x5D1A6000
_BUFFER_BYTES: Final = 1 << 20
#: netlink_recvmsg() limits a part to 32 KiB.
_PART_MAX_BYTES: Final = 64 * 1024
#: The kernel answers at once; the time-out guards against a kernel that never does.
_TIMEOUT_MS: Final = 10_000
