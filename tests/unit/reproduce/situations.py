"""Situations to rebuild, as explain and trace describe them, and any others."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from loadgen.kernel.missing import MissingReason
from loadgen.model import CloseMode, PortRange, Strategy, Transport
from loadgen.reproduce.circumstances import Circumstances
from loadgen.reproduce.recipes import RECIPES

SYSCTLS = (
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_mem",
    "net.ipv4.tcp_timestamps",
    "net.ipv4.ip_local_port_range",
    "net.core.somaxconn",
    "kernel.pid_max",
    "a b",
)
FAILS = [
    ("bind", "EADDRINUSE"),
    ("bind", "EADDRNOTAVAIL"),
    ("connect", "EADDRNOTAVAIL"),
    ("connect", "EAGAIN"),
    ("connect", "ENETUNREACH"),
    ("connect", "EPERM"),
    ("socket", "EMFILE"),
    ("socket", "ENFILE"),
    ("wait", "ETIMEDOUT"),
    ("li\nsten", "E\x1b[31m"),
]
#: Addresses and what else stands in their place: all, with a zone, mapped, a name, nothing, rubbish.
ADDRESSES = st.one_of(
    st.ip_addresses().map(str),
    st.sampled_from(["127.0.0.1", "::1", "0.0.0.0", "::", "*", "fe80::1%eth0", "::ffff:10.0.0.1", "redis", ""]),
    st.text(max_size=8),
)
TARGETS = st.builds(
    lambda host, port: f"[{host}]:{port}" if ":" in host else f"{host}:{port}", ADDRESSES, st.integers(0, 70000)
)
RANGES = st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(lambda ends: PortRange(min(ends), max(ends)))
PORTS = st.lists(st.integers(0, 70000), max_size=30).map(tuple)


def known_or_not(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


ANY = st.builds(
    Circumstances,
    limit=st.sampled_from(sorted(RECIPES)),
    fails=known_or_not(st.sampled_from(FAILS)),
    transport=st.sampled_from(Transport),
    strategy=known_or_not(st.sampled_from(Strategy)),
    sources=st.lists(ADDRESSES, max_size=6).map(tuple),
    targets=st.lists(TARGETS | ADDRESSES, max_size=12).map(tuple),
    source_port=known_or_not(st.integers(1, 65535)),
    ports=known_or_not(RANGES),
    reserved=PORTS,
    held=PORTS,
    in_use=known_or_not(st.integers(-1, 10**7)),
    time_wait=known_or_not(st.integers(0, 10**6)),
    wanted=known_or_not(st.integers(0, 10**8)),
    rate_per_s=known_or_not(st.floats()),
    churn=known_or_not(st.booleans()),
    close=known_or_not(st.sampled_from(CloseMode)),
    sysctls=st.dictionaries(st.sampled_from(SYSCTLS), st.integers(0, 10**9).map(str) | st.text(max_size=8)),
    descriptors=known_or_not(st.integers(0, 10**8)),
    backlog=known_or_not(st.integers(0, 10**6)),
    service_port=known_or_not(st.integers(0, 70000)),
    nat_ports=known_or_not(st.integers(0, 10**6)),
    neighbours=known_or_not(st.integers(0, 10**6)),
    tracked_max=known_or_not(st.integers(0, 10**8)),
    reason=st.sampled_from(["", *MissingReason, "odd\n"]),
    because=st.dictionaries(
        st.sampled_from(["ports", "sources", "limit", "fails", "sysctls", "targets", "in_use"]), st.text(max_size=300)
    ),
)
