"""The sections of the facts, in their order: title, module with the experiments, and a few words for the docs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class FactSection:
    """Facts of one subject.

    number: the first part of their numbers, stable. modules: of this package, with the experiments.
    prose: Markdown below the heading of docs/facts.md.
    """

    number: int
    modules: tuple[str, ...]
    title: str
    prose: str


SECTIONS: Final = (
    FactSection(
        1,
        ("choosing",),
        "connect() alone",
        "The kernel chooses address and port when it knows the destination.",
    ),
    FactSection(
        2,
        ("binding", "listening"),
        "bind() before connect()",
        "bind() with port 0 makes the kernel choose the port early; bind() with a number is for programs that manage "
        "their ports. Flags decide which sockets may share a port.",
    ),
    FactSection(
        3,
        ("latebind", "narrowing"),
        "Late binding, and a range per socket",
        "IP_BIND_ADDRESS_NO_PORT fixes the address and leaves the port to connect(); IP_LOCAL_PORT_RANGE narrows the "
        "choice for one socket. loadgen's default, `late-range`, uses both.",
    ),
    FactSection(
        4,
        ("buckets",),
        "What a bound port does to others",
        "The kernel keeps one record per port, for all addresses and both families. An explicit or early bind() closes "
        "the port to the automatic choice of all programs.",
    ),
    FactSection(
        5,
        ("timewait",),
        "TIME-WAIT",
        "Which side keeps it, for how long, and which sockets may use its four-tuple sooner. The resulting rate of "
        "connections is in [timewait.md](timewait.md).",
    ),
    FactSection(
        6,
        ("backlog",),
        "The listen backlog",
        "How a server that does not accept looks to its clients.",
    ),
    FactSection(
        7,
        ("limits",),
        "Limits and privileges",
        "Descriptors, privileged ports, and what an ordinary user may do.",
    ),
    FactSection(
        8,
        ("addresses",),
        "Source addresses",
        "Which ones work without setup, and what the others need.",
    ),
    FactSection(
        9,
        ("handshake",),
        "A non-blocking connect()",
        "Results of the system calls on which loadgen's data plane is built, and what they do not prove.",
    ),
    FactSection(
        10,
        ("counters",),
        "Counters",
        "What the kernel's statistics count, and what they do not.",
    ),
    FactSection(
        11,
        ("udp",),
        "UDP",
        "A UDP socket that is connected to one destination has a four-tuple, too. But the kernel picks a port that is "
        "free on the source address, whatever the destination; and with a flag it lets two sockets have the same "
        "four-tuple.",
    ),
    FactSection(
        12,
        ("cost",),
        "Cost",
        "What a call takes for each port or socket that the kernel looks at. The figures depend on the machine: "
        "`loadgen facts` measures them on yours, and prints them below the fact (with `--json` in `cost_ns`). "
        "Expected is only whether the time grows with their number. On a virtual machine with two cores, Linux "
        "6.18, it was 38 ns for each port in connect(), 7 ns for each socket on a port in bind(), and 16 ns for "
        "each socket in the chain, 2026-11-30 (`loadgen facts --only 12`).",
    ),
    FactSection(
        13,
        ("devices",),
        "Sockets bound to a device",
        "SO_BINDTODEVICE, as `curl --interface` and VRF agents use it, changes which four-tuples count as taken.",
    ),
    FactSection(
        14,
        ("rewriting",),
        "Rewriting between the program and the wire",
        "Source NAT and BPF programs change ports that a program believes to have. The facts on NAT need nft(8) "
        "(Debian: nftables), that on BPF needs root: it loads programs of six instructions and makes a control group, "
        "both gone after some milliseconds.",
    ),
)
