"""Why a setting cannot be made in a network namespace: it exists once per host, is gone, is too new, or has no module.

Sources: the tables of names in net/core/sysctl_net_core.c, net/ipv4/sysctl_net_ipv4.c, net/core/neighbour.c and
net/netfilter/nf_conntrack_standalone.c, each with the part that namespaces other than the initial one leave out;
Documentation/networking/ip-sysctl.rst for the versions.
"""

from __future__ import annotations

from errno import EACCES, EINVAL, ENOENT, EPERM, EROFS
from fnmatch import fnmatchcase
from typing import Final

#: Settings of the whole host: absent or read-only in every network namespace but the initial one.
_HOST_WIDE: Final = (
    "net.core.bpf_jit_*",
    "net.core.busy_*",
    "net.core.default_qdisc",
    "net.core.dev_weight*",
    "net.core.flow_limit_*",
    "net.core.gro_normal_batch",
    "net.core.message_*",
    "net.core.netdev_*",
    "net.core.rmem_*",
    "net.core.rps_*",
    "net.core.wmem_*",
    "net.ipv4.inet_peer_*",
    "net.ipv4.neigh.default.gc_*",
    "net.ipv4.tcp_max_orphans",
    "net.ipv4.tcp_mem",
    "net.ipv4.udp_mem",
    "net.ipv6.neigh.default.gc_*",
    "net.netfilter.nf_conntrack_buckets",
    "net.netfilter.nf_conntrack_expect_max",
    "net.netfilter.nf_conntrack_max",
    "net.nf_conntrack_max",
)
#: Settings that are gone, with the version that removed them and what to use.
_GONE: Final = (
    ("net.ipv4.tcp_tw_recycle", "4.12", "net.ipv4.tcp_tw_reuse is what is left"),
    ("net.ipv4.netfilter.ip_conntrack_*", "4.9", "net.netfilter.nf_conntrack_* are the names now"),
    ("net.ipv4.ip_conntrack_*", "4.9", "net.netfilter.nf_conntrack_* are the names now"),
)
#: Settings that older kernels lack.
_SINCE: Final = {
    "net.ipv4.ip_autobind_reuse": "5.7",
    "net.ipv4.tcp_ehash_entries": "6.1",
    "net.ipv4.tcp_child_ehash_entries": "6.1",
    "net.ipv4.tcp_syn_linear_timeouts": "6.5",
    "net.ipv4.tcp_tw_reuse_delay": "6.14",
    "net.ipv4.tcp_rto_max_ms": "6.15",
    "net.ipv4.ip_local_port_step_width": "7.1",
}
#: Values that older kernels refuse: the largest that all kernels take, and the version that takes more.
_VALUES_SINCE: Final = {
    "net.ipv4.tcp_ecn": (2, "7.0"),  # 3, 4 and 5: Accurate ECN
}


def is_host_wide(name: str) -> bool:
    """Return True for a setting that exists once per host, and not once per network namespace."""
    return any(fnmatchcase(name, pattern) for pattern in _HOST_WIDE)


def gone(name: str) -> str:
    """Return since when Linux lacks a setting that it had, and what to use; "" for any other."""
    return next(
        (f"it is gone since Linux {version}; {use}" for pattern, version, use in _GONE if fnmatchcase(name, pattern)),
        "",
    )


def too_new(name: str, value: str, number: int) -> str:
    """Return which version of Linux has a setting, or takes a value, that this kernel refused; "" for other refusals.

    number: errno of the attempt.
    """
    if number == ENOENT and (since := _SINCE.get(name)):
        return f"this kernel does not have it, Linux {since} does; leave it out"
    known, since = _VALUES_SINCE.get(name, (0, ""))
    if number == EINVAL and since and value.isdecimal() and int(value) > known:
        return f"this kernel takes 0 to {known}, Linux {since} takes more"
    return ""


def explained(name: str, value: str, number: int, *, elsewhere: bool = False) -> str:
    """Return why the kernel refused to set `name`, and what helps; "" where the errno says it all.

    number: errno of the attempt. elsewhere: the setting can be written outside of this namespace.
    """
    if number == EROFS:
        return (
            "/proc/sys is read-only here, as in most containers; leave the setting out, or make it writable: mount -o "
            "remount,rw /proc/sys (docker run --security-opt systempaths=unconfined, podman run --security-opt "
            "unmask=/proc/sys)"
        )
    if newer := too_new(name, value, number):
        return newer
    if number not in (ENOENT, EACCES, EPERM):
        return ""
    if number == ENOENT and (obsolete := gone(name)):
        return obsolete
    of_interface = any(f".{kind}." in name for kind in ("conf", "neigh")) and not is_host_wide(name)
    if of_interface and number == ENOENT:  # the interface may well be on the host
        return "there is no such interface here, or no such setting of one; `ip link` lists the interfaces"
    if elsewhere or is_host_wide(name):
        quoted = f'"{value}"' if " " in value else value
        return (
            "it exists once per host, not once per network namespace; leave it out here, and set it on the host: "
            f"sysctl -w {name}={quoted}"
        )
    if number != ENOENT:
        return ""
    if name.startswith(("net.netfilter.", "net.nf_")):
        return "it comes with a module: modprobe nf_conntrack"
    if name.startswith("net.ipv6."):
        return "this kernel has no such setting, or no IPv6; `sysctl -a` lists what it has"
    return "this kernel has no such setting; `sysctl -a` lists what it has"
