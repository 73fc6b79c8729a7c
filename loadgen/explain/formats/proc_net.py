"""/proc/net/tcp, tcp6, udp and udp6.

    0: 0100007F:1F90 0200007F:9C4A 01 00000000:00000000 02:000AFBD9 00000000  1000  0 12345 1 ...

All is hexadecimal but for the uid, the time-out and the inode. An address is printed as words of 32 bits in the byte
order of the host: little-endian, unless the loopback address, which nearly every host has in use, says the opposite.
tx_queue and rx_queue of a listener are 0 and the connections that wait for accept(): its backlog is not there. Times
count 1/100 s (USER_HZ).

Sources: proc_pid_net(5); Documentation/networking/proc_net_tcp.rst; get_tcp4_sock(), get_timewait4_sock() and
get_openreq4() in net/ipv4/tcp_ipv4.c; udp4_format_sock() in net/ipv4/udp.c.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

from loadgen.explain.evidence import BACKLOG_UNKNOWN, Evidence
from loadgen.explain.formats.base import DIGITS, Format, last_filled
from loadgen.explain.formats.endpoints import CUT, decimal
from loadgen.explain.formats.sockets import TCP, UDP, ListingWriter, Shows, SocketDetail
from loadgen.kernel.sockdiag import TcpState

_HEADER: Final = re.compile(r"\s*sl\s+local_address\s+rem(?:ote)?_address\s+st\s+tx_queue\s+rx_queue\b(?P<rest>.*)")
_ROW: Final = re.compile(
    r"\s*\d+:\s+(?:[0-9A-F]{8}|[0-9A-F]{32}):[0-9A-F]{4}\s+(?:[0-9A-F]{8}|[0-9A-F]{32}):[0-9A-F]{4}\s+[0-9A-F]{2}\s"
)
_FIELDS_MIN: Final = 10
#: Columns of a row, where no header tells the file: those of UDP end with ref, pointer, drops.
_FIELDS_OF_UDP: Final = 13
_ENDPOINTS_MAX: Final = 100_000
_STATES: Final = {
    f"{state:02X}": int(TcpState.SYN_RECV if state is TcpState.NEW_SYN_RECV else state)
    for state in TcpState
    if state is not TcpState.BOUND
}
_NO_QUEUES: Final = "00000000:00000000"
_NO_TIMER: Final = "00:00000000"
_HEX: Final = frozenset("0123456789ABCDEF")
#: 127.0.0.1 and ::1, and how they come out if the words were of the other byte order.
_LOOPBACK_4: Final = bytes([127, 0, 0, 1]) + bytes(12)
_LOOPBACK_6: Final = bytes(15) + b"\x01"
_SWAPPED_4: Final = bytes([1, 0, 0, 127]) + bytes(12)
_SWAPPED_6: Final = bytes(12) + b"\x01" + bytes(3)


class _HexEndpoints(dict[str, bytes]):
    """Text of endpoints to records of ENDPOINT, made once each; b"" for what is none."""

    def __init__(self) -> None:
        self._addresses: dict[str, bytes] = {}

    def __missing__(self, text: str) -> bytes:
        if len(self) >= _ENDPOINTS_MAX:
            self.clear()
        address, _, port = text.partition(":")
        host = self._addresses.get(address) or self._host(address)
        found = self[text] = host + bytes.fromhex(port) if host and len(port) == 4 and _HEX.issuperset(port) else b""
        return found

    def _host(self, text: str) -> bytes:
        if len(text) not in (8, 32) or not _HEX.issuperset(text):
            return b""
        words = struct.unpack(f"<{len(text) // 8}I", bytes.fromhex(text))
        family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
        if len(self._addresses) >= _ENDPOINTS_MAX:
            self._addresses.clear()
        packed = bytes([family, 0]) + struct.pack(f">{len(words)}I", *words).ljust(16, b"\0")
        self._addresses[text] = packed
        return packed


def begins(line: str) -> bool:
    """Return True for a header of one of the files, or a row of it."""
    return bool(_is_row(line) or ("local_address" in line and _HEADER.match(line)))


def _is_row(line: str) -> bool:
    return bool(_ROW.match(line))


class ProcNetReader:
    """Reads one file, or a part of it."""

    what = "/proc/net"

    def __init__(self, evidence: Evidence, file: str) -> None:
        self._writer, self._file = ListingWriter(evidence, file), file
        self._endpoints = _HexEndpoints()
        # raw, icmp and udplite have the same columns as UDP, and no ports.
        name = PurePath(file).name
        self._is_other = name in ("raw", "raw6", "icmp", "icmp6", "udplite", "udplite6")
        self._kind, self._header = 0, False
        self._first = self._last = 0
        self._found: set[tuple[int, int]] = set()

    def feed(self, lines: Sequence[str], at: int, first: int) -> int:
        """Take one header at the beginning, and rows of its kind."""
        begin = at
        if not self._first:
            self._first = first + at
            if found := _HEADER.match(lines[at]):
                self._header = True
                self._kind = UDP if "drops" in found["rest"] else TCP
                self._last = self._first
                at += 1
        self._writer.flush(keep=0)
        while at < len(lines):
            line, number = lines[at], first + at
            fields = line.split()
            if len(fields) > 3 and fields[0].endswith(":") and fields[0][:-1].isdigit():
                self._take(fields, number)
            elif skipped := self._writer.skip(lines, at, number, _is_row):
                at += skipped
                continue
            else:
                break
            at += 1
        if filled := last_filled(lines, begin, at):
            self._last = first + filled - 1
        return at

    def _take(self, fields: Sequence[str], number: int) -> None:
        """Take a row; without a header, each row is of TCP or UDP for itself."""
        source, destination = self._endpoints[fields[1]], self._endpoints[fields[2]]
        state = _STATES.get(fields[3], 0)
        if len(fields) < _FIELDS_MIN or not (source and destination and state and source[0] == destination[0]):
            self._writer.refuse(number, CUT)
            return
        detail, rqueue, wqueue = None, 0, 0
        try:
            if fields[4] != _NO_QUEUES:
                wqueue, rqueue = (int(queue, 16) for queue in fields[4].split(":"))
            if not (fields[5] == _NO_TIMER and fields[9] == fields[7] == "0"):
                timer, expires = (int(part, 16) for part in fields[5].split(":"))
                detail = SocketDetail(max(decimal(fields[9]), 0), max(decimal(fields[7]), 0))
                if timer:
                    detail.timer, detail.expires_ms = min(timer, 0xFF), min(expires * 10, 0xFFFF_FFFF)
                    detail.retransmits = min(int(fields[6], 16), 0xFF)
        except ValueError:
            self._writer.refuse(number, CUT)
            return
        looks_like_udp = len(fields) == _FIELDS_OF_UDP or state == TcpState.CLOSE
        kind = self._kind or (UDP if looks_like_udp else TCP)
        self._found.add((kind, source[0]))
        if self._is_other:
            return
        wqueue = BACKLOG_UNKNOWN if state == TcpState.LISTEN else min(wqueue, 0xFFFF_FFFF)
        self._writer.rows.append((kind, state, min(rqueue, 0xFFFF_FFFF), wqueue, source, destination, number))
        if detail:
            self._writer.details[number] = detail

    def finish(self) -> None:
        """Write the listing."""
        if self._is_other:
            self.what = f"/proc/net/{PurePath(self._file).name}"
            return
        names = {
            f"{'udp' if kind == UDP else 'tcp'}{'6' if family == socket.AF_INET6 else ''}"
            for kind, family in self._found or {(self._kind or TCP, socket.AF_INET)}
        }
        self.what = ", ".join(f"/proc/net/{name}" for name in sorted(names))
        has = self._writer.has_address
        swapped = has(_SWAPPED_4, _SWAPPED_6) and not has(_LOOPBACK_4, _LOOPBACK_6)
        self._writer.finish(
            self.what, (self._first, self._last), Shows(True, True, False, self._header), swapped=swapped
        )


PROC_NET: Final = Format(
    "proc-net", "the files /proc/net/tcp, tcp6, udp and udp6", begins, ProcNetReader, heads=DIGITS | {"s"}
)
