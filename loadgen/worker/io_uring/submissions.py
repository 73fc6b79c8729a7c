"""Submissions for many connections at once, from templates: only the fields that differ are written.

Every submission carries in `user_data` its step and its slot. A slot is the number of a connection in the arrays of the
connector; a ring's table has the slots from its `base` on.

The meaning of the fields in each operation is in the prep functions of io_uring/net.c, io_uring/poll.c,
io_uring/openclose.c, io_uring/cancel.c and io_uring/cmd_net.c.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Sequence
from enum import IntEnum
from select import EPOLLIN, EPOLLRDHUP
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loadgen.model import Endpoint
from loadgen.strategies.options import PORT_RANGE
from loadgen.worker.freebind import IP_FREEBIND, IPV6_FREEBIND
from loadgen.worker.io_uring.abi import SQE, Op, SocketCommand, SqeFlag
from loadgen.worker.latencies import BATCH_MAX
from loadgen.worker.strategies import PortSetup

Slots = NDArray[np.int64]
Numbers = NDArray[np.integer[Any]]
Sqes = NDArray[np.void]

#: Bits of `user_data` below the kind.
KIND_SHIFT: Final = 32
SLOT_MASK: Final = (1 << KIND_SHIFT) - 1
_SKIP: Final = SqeFlag.CQE_SKIP_SUCCESS
_FIXED: Final = SqeFlag.FIXED_FILE
_LINKED: Final = int(SqeFlag.IO_LINK | _SKIP)
_READ_SIZE: Final = 65536
#: Room for struct sockaddr_in (16 bytes) or sockaddr_in6 (28), both with the port at 2, in network order.
_ADDRESS_SIZE: Final = 32
_LENGTH: Final[dict[int, int]] = {socket.AF_INET: 16, socket.AF_INET6: 28}


class Kind(IntEnum):
    """The step that a completion belongs to. Completions that come together are handled in this order.

    QUIET: a step whose success is not reported and whose failure shows in another.
    """

    QUIET = 0
    SOCKET = 1
    SETSOCKOPT = 2
    BIND = 3
    CONNECT = 4
    INSTALL = 5
    MEASURE = 6
    RECV = 7
    POLL = 8


class Template:
    """BATCH_MAX submissions of one kind, with all fields written that are always the same.

    places: the field that has the place in the table: `fd`, `file_index` (which counts from 1) or none.
    """

    def __init__(self, op: Op, kind: Kind, flags: int = 0, *, places: str = "fd", **fields: int) -> None:
        self._rows: Sqes = np.zeros(BATCH_MAX, SQE)
        constant = {"opcode": int(op), "flags": flags | (_FIXED if places == "fd" else 0), **fields}
        for name, value in constant.items():
            self._rows[name] = value
        self._first = 1 if places == "file_index" else 0
        self._places = self._rows[places] if places else None
        self._user_data, self._tag = self._rows["user_data"], kind << KIND_SHIFT

    def rows(self, slots: Slots, base: int, **fields: Numbers) -> Sqes:
        """Return submissions for these slots (at most BATCH_MAX), valid until the next call; a name sets that field."""
        n = len(slots)
        if self._places is not None:
            self._places[:n] = slots - (base - self._first)
        self._user_data[:n] = slots + self._tag
        rows = self._rows[:n]
        for name, value in fields.items():
            rows[name] = value
        return rows


class Submissions:
    """All submissions that a strategy and a set of (source, target) pairs need.

    Addresses and values of options are in arrays of this object, which the kernel reads while it takes the
    submissions; so those of `prepare` or `again` must be submitted before either is called again.
    """

    def __init__(self, setup: PortSetup, pairs: Sequence[tuple[str, Endpoint]]) -> None:
        self._setup = setup
        self._families = np.array([target.family for _, target in pairs], dtype=np.int32)
        self._targets = np.stack([_address(target.address, target.port) for _, target in pairs])
        self._target_at = self._targets.ctypes.data + np.arange(len(pairs)) * _ADDRESS_SIZE
        self._target_length = np.array([_LENGTH[target.family] for _, target in pairs])
        self._sources = np.stack([_address(source, 0) for source, _ in pairs])
        self._source_at = self._sources.ctypes.data + np.arange(len(pairs)) * _ADDRESS_SIZE
        self._source_length = np.array([_LENGTH[_family(source)] for source, _ in pairs])
        self._freebind_option = np.array([_FREEBIND[_family(source)] for source, _ in pairs])
        self._bound = np.zeros((BATCH_MAX, _ADDRESS_SIZE), dtype=np.uint8)
        self._bound_port = self._bound[:, 2:4].view(">u2")[:, 0]
        self._bound_at = self._bound.ctypes.data + np.arange(BATCH_MAX) * _ADDRESS_SIZE
        self._one = np.ones(1, dtype=np.int32)
        self._linger_0 = np.array([1, 0], dtype=np.int32)  # struct linger {on, 0 s}, socket(7)
        self._read = np.zeros(_READ_SIZE, dtype=np.uint8)
        self._make_templates()

    def _make_templates(self) -> None:
        setup = self._setup
        self._socket = Template(
            Op.SOCKET, Kind.SOCKET, _SKIP if setup.binds else 0, places="file_index", off=socket.SOCK_STREAM
        )
        self._freebind = _option(Kind.SETSOCKOPT, 0, 0, self._one)
        self._options = [_option(Kind.SETSOCKOPT, *option, self._one) for option in setup.options]
        if setup.narrows:
            ports = np.arange(1 << 16, dtype=np.uint32)
            self._ranges = ports << 16 | ports  # by port: a range of this one
            self._ranges[0] = setup.ports.high << 16 | setup.ports.low
            self._range_at = self._ranges.ctypes.data + np.arange(1 << 16) * self._ranges.itemsize
            self._range = _option(Kind.SETSOCKOPT, PORT_RANGE.level, PORT_RANGE.number, self._ranges)
        self._bind = Template(Op.BIND, Kind.BIND)
        self._connect = Template(Op.CONNECT, Kind.CONNECT)
        # One event and no more: a poll that goes on after its event (IORING_POLL_ADD_MULTI) would have to be
        # removed from every connection that is lost.
        self._poll = Template(Op.POLL_ADD, Kind.POLL, op_flags=EPOLLIN | EPOLLRDHUP)
        self._recv = Template(
            Op.RECV, Kind.RECV, addr=self._read.ctypes.data, len=_READ_SIZE, op_flags=socket.MSG_DONTWAIT
        )
        self._install = Template(Op.FIXED_FD_INSTALL, Kind.INSTALL)
        self._measure = Template(Op.FIXED_FD_INSTALL, Kind.MEASURE)
        self._linger = _option(Kind.QUIET, socket.SOL_SOCKET, socket.SO_LINGER, self._linger_0, 8)
        self._close = Template(Op.CLOSE, Kind.QUIET, _SKIP, places="file_index")
        self._remove = Template(Op.POLL_REMOVE, Kind.QUIET, _SKIP, places="")
        self._cancel = Template(Op.ASYNC_CANCEL, Kind.QUIET, _SKIP, places="")

    @property
    def last(self) -> Kind:
        """The step of `prepare` that always has a completion; the others only when they fail."""
        return Kind.BIND if self._setup.binds else Kind.SOCKET

    def prepare(self, slots: Slots, base: int, pairs: Numbers, ports: Numbers) -> Iterator[Sqes]:
        """Yield everything before connect(), step by step for all of them.

        Not connection by connection, so that the kernel's code stays in the caches, and not linked: each
        submission is done before the next is taken, and a link costs a third more than it.
        """
        yield self._socket.rows(slots, base, fd=self._families[pairs])
        if self._setup.freebind:
            yield self._freebind.rows(slots, base, addr=self._freebind_option[pairs])
        for option in self._options:
            yield option.rows(slots, base)
        if self._setup.narrows:
            yield self._narrow(slots, base, ports)
        if self._setup.binds:
            yield self.bind(slots, base, pairs, ports)

    def _narrow(self, slots: Slots, base: int, ports: Numbers) -> Sqes:
        return self._range.rows(slots, base, addr3=self._range_at[ports])

    def bind(self, slots: Slots, base: int, pairs: Numbers, ports: Numbers) -> Sqes:
        """Return bind() to the sources of the pairs, and where the strategy names ports to these."""
        address = self._source_at[pairs]
        if self._setup.names_port:
            n = len(slots)
            self._bound[:n] = self._sources[pairs]
            self._bound_port[:n] = np.where(ports, ports, self._setup.asked)
            address = self._bound_at[:n]
        return self._bind.rows(slots, base, addr=address, off=self._source_length[pairs])

    def connect(self, slots: Slots, base: int, pairs: Numbers) -> Sqes:
        """Return connect() to the targets of the pairs."""
        return self._connect.rows(slots, base, addr=self._target_at[pairs], off=self._target_length[pairs])

    def again(self, slots: Slots, base: int, pairs: Numbers, ports: Numbers) -> Iterator[Sqes]:
        """Yield connect() from another port, after the first was denied: linked, so that only CONNECT has a completion.

        A socket that has bound its port cannot bind again, so then it is a new socket in the same slot.
        """
        if self._setup.names_port:
            steps = [self._close.rows(slots, base), *self.prepare(slots, base, pairs, ports)]
        else:
            steps = [self._narrow(slots, base, ports)]
        for step in steps:
            linked = step.copy()
            linked["flags"] |= _LINKED
            linked["user_data"] &= SLOT_MASK  # Kind.QUIET
            yield linked
        yield self.connect(slots, base, pairs)

    def poll(self, slots: Slots, base: int) -> Sqes:
        """Wait for data, for the end of file or for a reset, once."""
        return self._poll.rows(slots, base)

    def receive(self, slots: Slots, base: int) -> Sqes:
        """Read what there is and throw it away: all into the same memory."""
        return self._recv.rows(slots, base)

    def install(self, slots: Slots, base: int) -> Sqes:
        """Make a slot a descriptor of the process, too."""
        return self._install.rows(slots, base)

    def measure(self, slots: Slots, base: int) -> Sqes:
        """The same, for TCP_INFO: SOCKET_URING_OP_GETSOCKOPT has SOL_SOCKET only (io_uring_cmd_getsockopt())."""
        return self._measure.rows(slots, base)

    def linger(self, slots: Slots, base: int) -> Sqes:
        """Let close() send RST, which leaves no TIME-WAIT."""
        return self._linger.rows(slots, base)

    def close(self, slots: Slots, base: int) -> Sqes:
        """Take a slot out of the table. Requests under way still keep the connection open."""
        return self._close.rows(slots, base)

    def unpoll(self, slots: Slots, base: int) -> Sqes:
        """Cancel `poll`, which then completes with ECANCELED."""
        return self._remove.rows(slots, base, addr=slots + (Kind.POLL << KIND_SHIFT))

    def cancel(self, slots: Slots, base: int) -> Sqes:
        """Cancel connect(), which then completes with ECANCELED."""
        return self._cancel.rows(slots, base, addr=slots + (Kind.CONNECT << KIND_SHIFT))


def _level_and_name(level: int, name: int) -> int:
    return name << 32 | level if sys.byteorder == "little" else level << 32 | name


def _option(kind: Kind, level: int, name: int, value: NDArray[Any], length: int = 4) -> Template:
    """Return a setsockopt(): command in `off`, level and name in `addr`, length in `file_index`, value at `addr3`."""
    return Template(
        Op.URING_CMD,
        kind,
        _SKIP,
        off=SocketCommand.SETSOCKOPT,
        addr=_level_and_name(level, name),
        file_index=length,
        addr3=value.ctypes.data,
    )


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _address(address: str, port: int) -> NDArray[np.uint8]:
    """Return struct sockaddr_in or sockaddr_in6 (ip(7), ipv6(7)), padded to 32 bytes; `fe80::1%eth0` names its link."""
    family = _family(address)
    plain, _, link = address.partition("%")
    packed = family.to_bytes(2, sys.byteorder) + port.to_bytes(2, "big")
    if family == socket.AF_INET6:
        packed += bytes(4)  # flow information
    packed += socket.inet_pton(family, plain)
    if link:
        packed += (int(link) if link.isdigit() else socket.if_nametoindex(link)).to_bytes(4, sys.byteorder)
    return np.frombuffer(packed.ljust(_ADDRESS_SIZE, b"\0"), dtype=np.uint8)


#: By family of the source: level and name of the option, as `addr` of a submission has them.
_FREEBIND: Final = {
    socket.AF_INET: _level_and_name(socket.SOL_IP, IP_FREEBIND),
    socket.AF_INET6: _level_and_name(socket.IPPROTO_IPV6, IPV6_FREEBIND),
}
