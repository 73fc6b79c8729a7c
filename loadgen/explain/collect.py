"""The shell command that prints everything `loadgen explain` reads, on a host that has nothing of ours.

It needs a POSIX shell and cat; where ss, nstat, ip, conntrack and nft are installed and work it uses them, else it
reads /proc. It changes nothing and sends no packet. Each part is headed by its command, as at a prompt, so that bare
values are understood.
"""

from __future__ import annotations

from typing import Final

#: Tried from the left: the first that is installed and works.
_PARTS: Final = (
    ("uname -r",),
    ("ss -tanp", "cat /proc/net/tcp /proc/net/tcp6"),
    ("ss -uanp", "cat /proc/net/udp /proc/net/udp6"),
    ("nstat -az", "cat /proc/net/netstat /proc/net/snmp"),
    ("cat /proc/net/sockstat",),
    ("cat /proc/net/sockstat6",),
    ("conntrack -S", "cat /proc/net/stat/nf_conntrack"),
    ("cat /proc/net/stat/arp_cache",),
    ("cat /proc/net/stat/ndisc_cache",),
    ("ip address show",),
    ("ip route show table all",),
    ("nft list ruleset", "iptables-save"),
    ("ulimit -n",),
)
_SYSCTLS: Final = (
    "net/ipv4/ip_local_port_range",
    "net/ipv4/ip_local_reserved_ports",
    "net/ipv4/ip_unprivileged_port_start",
    "net/ipv4/ip_autobind_reuse",
    "net/ipv4/ip_nonlocal_bind",
    "net/ipv6/ip_nonlocal_bind",
    "net/ipv6/conf/all/disable_ipv6",
    "net/ipv6/conf/lo/disable_ipv6",
    "net/ipv4/tcp_tw_reuse",
    "net/ipv4/tcp_tw_reuse_delay",
    "net/ipv4/tcp_tw_recycle",
    "net/ipv4/tcp_timestamps",
    "net/ipv4/tcp_fin_timeout",
    "net/ipv4/tcp_max_tw_buckets",
    "net/ipv4/tcp_syn_retries",
    "net/ipv4/tcp_syn_linear_timeouts",
    "net/ipv4/tcp_rto_max_ms",
    "net/ipv4/tcp_ecn",
    "net/ipv4/tcp_abort_on_overflow",
    "net/ipv4/tcp_mem",
    "net/core/somaxconn",
    "net/ipv4/neigh/default/gc_thresh3",
    "net/ipv6/neigh/default/gc_thresh3",
    "net/netfilter/nf_conntrack_count",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_conntrack_tcp_timeout_time_wait",
    "fs/file-max",
)
#: Lines of the kernel's log that name a limit; the last of them are enough.
_LOG: Final = "table full|table overflow|SYN flooding|out of memory|orphaned sockets|file-max limit|duplicate address"
_LOG_LINES: Final = 20


def command() -> str:
    """Return the command: one line for a POSIX shell."""
    shown = " && ".join(("command -v $1 >/dev/null", 'echo "\\$ $*"', '"$@"'))
    parts = [f"p() {{ {shown}; }}"]
    parts += [" || ".join(f"p {choice}" for choice in choices) for choices in _PARTS]
    parts.append(f'for s in {" ".join(_SYSCTLS)}; do v=$(cat /proc/sys/$s) && echo "$s = $v"; done')
    parts.append(f"dmesg | grep -E '{_LOG}' | tail -n {_LOG_LINES}")
    return f"({'; '.join(parts)}) 2>/dev/null"
