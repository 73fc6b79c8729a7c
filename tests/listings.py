"""Pasted text as evidence, and listings of sockets as plain values that a test can compare."""

from __future__ import annotations

import io
import ipaddress
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from loadgen.explain import reader
from loadgen.explain.evidence import Evidence, SocketListing
from loadgen.explain.formats import FORMATS, Format
from loadgen.explain.formats.netstat import NETSTAT
from loadgen.explain.formats.proc_net import PROC_NET
from loadgen.explain.formats.ss import SS
from loadgen.kernel.sockdiag import Sockets, TcpState

#: Captured and modelled listings; README.md there says where each comes from.
SOCKETS: Final = Path(__file__).parent / "data" / "explain" / "sockets"

#: Those of listings, without those that read what is between them.
LISTINGS: Final = (PROC_NET, NETSTAT, SS)


class ListedSocket(NamedTuple):
    """A row of a listing. Addresses are those on the wire: IPv4-mapped ones are IPv4."""

    state: str
    source: str
    source_port: int
    destination: str
    destination_port: int


def read(text: str | bytes, file: str = "-", formats: Sequence[Format] = FORMATS) -> Evidence:
    """The evidence in a text."""
    evidence = Evidence()
    reader.read(evidence, io.BytesIO(text if isinstance(text, bytes) else text.encode()), file, formats)
    return evidence


def recorded(name: str, file: str | None = None) -> Evidence:
    """The evidence in a file of SOCKETS."""
    return read((SOCKETS / name).read_bytes(), file or name)


def listing(evidence: Evidence) -> SocketListing:
    """The only listing."""
    (found,) = evidence.listings
    return found


def rows(sockets: Sockets) -> list[ListedSocket]:
    """The sockets of a table, in its order."""

    def text(packed: np.ndarray[tuple[int], np.dtype[np.uint8]], family: int) -> str:
        data = packed.tobytes()
        if family == socket.AF_INET:
            return socket.inet_ntoa(data[:4])
        six = ipaddress.IPv6Address(data)
        return str(six.ipv4_mapped or six)

    return [
        ListedSocket(
            TcpState(int(one["state"])).name,
            text(one["source"], one["family"]),
            int(one["source_port"]),
            text(one["destination"], one["family"]),
            int(one["destination_port"]),
        )
        for one in sockets
    ]
