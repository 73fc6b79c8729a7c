"""The shell command that prints everything `loadgen explain` reads, on a host that has nothing of ours.

It needs a POSIX shell and cat; where ss, nstat, ip, conntrack, nft and sysctl are installed it uses them, else it
reads /proc. It changes nothing, sends no packet, and each part is headed by its command, as a prompt, so that bare
values are understood. What a tool complains of goes to the output as well, where it is left unread.
"""

from __future__ import annotations

from typing import Final

#: Files of /proc that are printed one after another where they exist.
_FILES: Final = (
    "/proc/net/sockstat",
    "/proc/net/sockstat6",
    "/proc/net/stat/nf_conntrack",
    "/proc/net/stat/arp_cache",
)
_SYSCTLS: Final = (
    "net/ipv4/ip_local_port_range",
    "net/ipv4/ip_local_reserved_ports",
    "net/ipv4/ip_unprivileged_port_start",
    "net/ipv4/ip_autobind_reuse",
    "net/ipv4/tcp_tw_reuse",
    "net/ipv4/tcp_tw_reuse_delay",
    "net/ipv4/tcp_timestamps",
    "net/ipv4/tcp_max_tw_buckets",
    "net/ipv4/tcp_mem",
    "net/ipv4/neigh/default/gc_thresh3",
    "net/ipv6/neigh/default/gc_thresh3",
    "net/ipv6/conf/all/disable_ipv6",
    "net/ipv6/conf/lo/disable_ipv6",
    "net/core/somaxconn",
    "net/netfilter/nf_conntrack_count",
    "net/netfilter/nf_conntrack_max",
    "fs/file-max",
)
#: Tried in this order: the first command that is there and works.
_COMMANDS: Final = (
    ("ss -tanp", "cat /proc/net/tcp /proc/net/tcp6"),
    ("ss -uanp", "cat /proc/net/udp /proc/net/udp6"),
    ("nstat -az", "cat /proc/net/netstat /proc/net/snmp"),
    ("ip address show",),
    ("ip route show table all",),
    ("conntrack -S",),
    ("nft list ruleset",),
    ("uname -r",),
    ("ulimit -n",),
)


def command() -> str:
    """Return the command: one line for a POSIX shell."""
    parts = [_first_of(choices) for choices in _COMMANDS]
    parts.append(f'for f in {" ".join(_FILES)}; do [ -r $f ] && echo "\\$ cat $f" && cat $f; done')
    names = " ".join(_SYSCTLS)
    parts.append(f'for s in {names}; do [ -r /proc/sys/$s ] && echo "$(echo $s | tr / .) = $(cat /proc/sys/$s)"; done')
    parts.append(
        "dmesg 2>/dev/null | grep -iE 'table full|table overflow|SYN flooding|out of memory|file-max' | tail -20"
    )
    return f"({'; '.join(parts)}) 2>/dev/null"


def _first_of(choices: tuple[str, ...]) -> str:
    text = ""
    for choice in reversed(choices):
        tool = choice.split()[0]
        ran = f"echo '$ {choice}'; {choice}"
        test = f"command -v {tool} >/dev/null" if tool not in ("cat", "ulimit") else "true"
        text = f"if {test}; then {ran}; {f'else {text}; ' if text else ''}fi"
    return text
