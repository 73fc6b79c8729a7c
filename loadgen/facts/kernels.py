"""Changes of Linux that a program which opens many connections notices, in the order of their versions.

Commit messages, manual pages and the kernel's documentation are the evidence; `loadgen facts` tries those behind which
facts are named. A stable kernel may have a change earlier than its version says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class KernelChange:
    """One change of a kernel.

    version: the first release of Linus Torvalds's tree with it, "6.18".
    meaning: one sentence for programs that open connections. source: commit, manual page or file of the kernel.
    facts: numbers of those that show it; each that names a first kernel names this one.
    """

    version: str
    what: str
    meaning: str
    source: str
    facts: tuple[str, ...] = ()


CHANGES: Final = (
    KernelChange(
        "4.2",
        "IP_BIND_ADDRESS_NO_PORT",
        "A source address can be fixed without using up a port for all destinations; strategy `late`.",
        "ip(7); 90c337da1524",
        ("3.1", "3.2", "4.3", "11.2"),
    ),
    KernelChange(
        "4.2",
        "the default range ends at 60999 instead of 61000, and connect() prefers one parity",
        "28,232 ports; two ends of different parity leave none unused.",
        "07f4c90062f8",
        ("1.9",),
    ),
    KernelChange(
        "4.6",
        "connect() and bind(address, 0) walk all ports of one parity before the others",
        "connect() gets slow at half of the range, and not gradually.",
        "1580ab63fc9a, ea8add2b1903",
        ("1.3", "1.10"),
    ),
    KernelChange(
        "4.11",
        "bind(address, 0) with SO_REUSEADDR no longer shares ports when all are taken",
        "Advice of 2014 stops working: share by explicit ports, or bind late.",
        "b9470c27607b",
        ("2.3",),
    ),
    KernelChange(
        "4.11",
        "ip_unprivileged_port_start",
        "Explicit ports below 1024 without privilege, and a lower bound for the range.",
        "ip-sysctl.rst",
        ("7.3", "7.4"),
    ),
    KernelChange(
        "4.11",
        "TCP_FASTOPEN_CONNECT",
        "With it the success of connect() is no proof of a connection.",
        "tcp(7)",
        ("9.8",),
    ),
    KernelChange(
        "4.12",
        "tcp_tw_recycle is gone",
        "Clients behind NAT are no longer refused by chance; delete the setting from sysctl.conf.",
        "4396e46187ca",
        ("5.14",),
    ),
    KernelChange(
        "4.15",
        "IPV6_FREEBIND",
        "Large pools of IPv6 sources without an address for each.",
        "include/uapi/linux/in6.h",
        ("8.4",),
    ),
    KernelChange(
        "4.19",
        "tcp_tw_reuse=2, the new default, is for loopback only",
        "Churn on 127.0.0.1 reuses ports after a second, on the real network after a minute, unless it is set to 1.",
        "79e9fed46038",
        ("5.6", "5.14"),
    ),
    KernelChange(
        "5.0",
        "a port may be bound inside a VRF and outside of it",
        "Each VRF has a range of its own.",
        "3c82a21f4320",
        ("13.2",),
    ),
    KernelChange(
        "5.0",
        "a listener on an address comes before a group of SO_REUSEPORT on the wildcard",
        "Bind all workers to the same address, or one of them takes the whole load.",
        "tools/testing/selftests/net/reuseport_addr_any.c",
        ("2.18",),
    ),
    KernelChange(
        "5.4",
        "net.core.somaxconn is 4096 by default, 128 before",
        "Targets drop SYNs of a burst far later; on older ones raise it.",
        "ip-sysctl.rst, somaxconn",
        ("6.2",),
    ),
    KernelChange(
        "5.7",
        "ip_autobind_reuse",
        "Blind sharing of ports chosen by bind(); no capacity to plan with.",
        "4b01a9674231",
        ("2.4",),
    ),
    KernelChange(
        "5.7",
        "SO_BINDTODEVICE needs no privilege",
        "Ordinary programs bind to a device now, and can lose connections to sockets that do not.",
        "c427bfec18f2",
        ("13.1",),
    ),
    KernelChange(
        "5.8",
        "BPF programs of control groups rewrite getsockname() and getpeername()",
        "A program may see another four-tuple than the kernel has.",
        "1b66d253610c",
        ("14.5",),
    ),
    KernelChange(
        "6.1",
        "a second table of bound ports, by port and address",
        "bind() on a port that many addresses use looks at the sockets of its own address only.",
        "28044fc1d495",
    ),
    KernelChange(
        "6.1",
        "tcp_child_ehash_entries",
        "A namespace can have a table of connections of its own, and half as many TIME-WAITs by default.",
        "d1e5e6408b30",
        ("12.5", "12.6"),
    ),
    KernelChange(
        "6.2",
        "TIME-WAIT counts again in bind() to an address, as before 6.1",
        "On 6.1 before 6.1.5 a server restarts over its TIME-WAIT without SO_REUSEADDR, and elsewhere it does not.",
        "tools/testing/selftests/net/bind_timewait.c; 936a192f9740",
        ("5.15",),
    ),
    KernelChange(
        "6.3",
        "IP_LOCAL_PORT_RANGE",
        "Processes can divide the range among them without binding ports; strategy `late-range`.",
        "91d0b78c5177",
        ("3.3", "3.4", "3.5", "3.6", "3.7", "3.9", "3.10", "3.13", "3.14", "3.15", "7.5", "11.3"),
    ),
    KernelChange(
        "6.3",
        "wildcard addresses conflict again as before 6.1",
        "On 6.1 and 6.2 bind() accepts some pairs of 0.0.0.0, :: and others that conflict elsewhere.",
        "d9ba99342855",
        ("2.12",),
    ),
    KernelChange(
        "6.5",
        "the first SYNs without an answer are sent every second",
        "Overloaded targets show as peaks at 1, 2, 3, 4 s instead of 1, 3, 7 s (tcp_syn_linear_timeouts).",
        "ccce324dabfe",
        ("6.3",),
    ),
    KernelChange(
        "6.5",
        "source NAT takes ports of closed connections when it finds no other",
        "A NAT with few ports sustains more churn.",
        "458972550287",
        ("14.4",),
    ),
    KernelChange(
        "6.6",
        "IPv4 addresses in IPv6 sockets conflict again as before 6.1",
        "From 6.1 to 6.5 bind() of ::ffff:127.0.0.1 and the like accepts some ports in use.",
        "c48ef9c4aed3",
        ("2.13",),
    ),
    KernelChange(
        "6.8",
        "with IP_LOCAL_PORT_RANGE connect() walks all ports in one pass",
        "No slower half, and no port of an odd number is lost.",
        "207184853dbd",
        ("3.8", "3.11"),
    ),
    KernelChange(
        "6.8",
        "sock_diag lists sockets that are bound and not connected",
        "Idle holders of ports can be found.",
        "91051f003948",
        ("10.4",),
    ),
    KernelChange(
        "6.8",
        "bind() with SO_REUSEADDR alone looks at each socket on its address and port",
        "Set SO_REUSEPORT, too, where one port has thousands of destinations; strategy `explicit` does.",
        "8002d44fe84d",
        ("12.3", "12.4"),
    ),
    KernelChange(
        "6.8",
        "MPTCP sockets take IP_BIND_ADDRESS_NO_PORT and IP_LOCAL_PORT_RANGE",
        "Programs that use MPTCP can bind late and divide the range.",
        "tools/testing/selftests/net/ip_local_port_range.c",
        ("3.16",),
    ),
    KernelChange(
        "6.14",
        "tcp_tw_reuse_delay, and TIME-WAIT measured in milliseconds",
        "The pause before a four-tuple is reused can be set, 1 ms to 60 s; before it was one to two seconds.",
        "ca6a6f93867a, 19ce8cd30465",
        ("5.7",),
    ),
    KernelChange(
        "6.15",
        "connect() looks at taken ports without a lock",
        "The search past half of the range costs less, most of all with many processes.",
        "86c2bc293b81",
    ),
    KernelChange(
        "6.15",
        "tcp_rto_max_ms, TCP_RTO_MAX_MS",
        "The longest pause between retries, of a SYN as well, can be set: 1 s to 2 min.",
        "ip-sysctl.rst, tcp_rto_max_ms; 54a378f43425, 1280c26228bd",
    ),
    KernelChange(
        "6.18",
        "a port is open to automatic choice again when its last bound socket is closed",
        "A program that binds ports inside the range no longer blocks them for as long as others are connected there.",
        "d57f4b874946",
        ("4.4",),
    ),
    KernelChange(
        "6.19",
        "no lookup misses a socket that is being replaced",
        "Before, on hosts with many cores, a few connections met a RST right after accept() or at TIME-WAIT: the "
        "kernel's, not the target's. Stable 6.6 and 6.17 have it, too.",
        "inet: Avoid ehash lookup race in inet_ehash_insert()",
    ),
    KernelChange(
        "7.0",
        "TCP timestamps begin elsewhere for each four-tuple",
        "Behind a NAT that replaces ports, reuse at the target's TIME-WAIT can fail once and be tried again.",
        "165573e41f2f",
        ("9.7",),
    ),
    KernelChange(
        "7.0",
        "tcp_ecn 3, 4, 5: accurate ECN",
        "SYNs have further flags if it is set; a box on the way that drops them shows as a timeout.",
        "net/ipv4/sysctl_net_ipv4.c, tcp_ecn_mode_max",
    ),
    KernelChange(
        "7.1",
        "ip_local_port_step_width: a random step of connect() through the range, off by default",
        "If it is set, ports in use follow no order. Strategy `late-range`, whose ports are assigned, is not affected.",
        "7da62262ec96",
    ),
)
