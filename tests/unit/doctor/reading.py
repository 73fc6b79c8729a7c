"""A host as the doctor reads it, and what a limit says of that host with some of its settings changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from loadgen.doctor.finding import LimitCheck, LimitFinding, Purpose
from loadgen.doctor.reading import Reading

#: As Linux 7.1 comes, on a machine of 24 GB.
HOST: Final = Reading(
    sysctls={
        "net.ipv4.ip_local_port_range": "32768 60999",
        "net.ipv4.ip_local_reserved_ports": "",
        "net.ipv4.ip_unprivileged_port_start": "1024",
        "net.ipv4.ip_autobind_reuse": "0",
        "net.ipv4.ip_local_port_step_width": "0",
        "net.ipv4.tcp_syn_retries": "6",
        "net.ipv4.tcp_syn_linear_timeouts": "4",
        "net.ipv4.tcp_rto_max_ms": "120000",
        "net.ipv4.tcp_ecn": "2",
        "net.ipv4.tcp_child_ehash_entries": "0",
        "net.ipv4.tcp_tw_reuse": "2",
        "net.ipv4.tcp_tw_reuse_delay": "1000",
        "net.ipv4.tcp_timestamps": "1",
        "net.ipv4.tcp_max_tw_buckets": "131072",
        "net.ipv4.tcp_fin_timeout": "60",
        "fs.nr_open": "1048576",
        "fs.file-max": "2466186",
        "fs.epoll.max_user_watches": "5491511",
        "net.netfilter.nf_conntrack_max": "262144",
        "net.netfilter.nf_conntrack_count": "0",
        "net.ipv4.tcp_mem": "287901 383868 575802",
        "net.ipv4.tcp_rmem": "4096 131072 33554432",
        "net.ipv4.tcp_wmem": "4096 16384 4194304",
        "kernel.threads-max": "192730",
        "kernel.pid_max": "32768",
        "net.core.somaxconn": "4096",
        "net.ipv4.tcp_max_syn_backlog": "2048",
        "net.ipv4.tcp_syncookies": "1",
        "net.core.netdev_max_backlog": "1000",
    },
    descriptors=(1024, 20_000),
    files_used=659,
    memory_available_bytes=24_000_000_000,
    cpus=2,
    tasks=120,
    sockets={"tcp_inuse": 3, "tcp6_inuse": 1, "tcp_tw": 0, "tcp_alloc": 9},
)


def found(
    limit: LimitCheck, purpose: Purpose | None = None, *, sysctls: Mapping[str, str] | None = None, **host: Any
) -> LimitFinding:
    """Return what a limit finds on that host; a setting's name without a dot is one of net.ipv4."""
    changed = {name if "." in name else f"net.ipv4.{name}": value for name, value in (sysctls or {}).items()}
    return limit.find(replace(HOST, sysctls={**HOST.sysctls, **changed}, **host), purpose or Purpose())
