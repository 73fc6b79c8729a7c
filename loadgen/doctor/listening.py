"""Queues of the listening side and of the way there: they count where sinks of ours are on this host, too.

Sources: listen(2), tcp(7), ip-sysctl.rst; tcp_conn_request() in net/ipv4/tcp_input.c; enqueue_to_backlog() in
net/core/dev.c. The facts are those of `loadgen facts`.
"""

from __future__ import annotations

from typing import Final

from loadgen.doctor.finding import Grade, LimitJudgement, Purpose, judged, set_sysctl, setting
from loadgen.doctor.reading import Reading

#: What recent kernels come with: somaxconn since 5.4, netdev_max_backlog for ever.
_SOMAXCONN: Final = 4096
_NETDEV_BACKLOG: Final = 1000
#: Fewer half-open connections than this a burst of a generator fills.
_SYN_BACKLOG: Final = 1024


@setting("net.core.somaxconn")
def somaxconn(host: Reading, _: Purpose) -> LimitJudgement:
    """Facts 6.1 and 6.2."""
    limit = host.number("net.core.somaxconn")
    allows = (
        f"a listener here has at most {limit:,} + 1 connections waiting for accept(), whatever it asks of listen(); "
        "a lab sets 65,535"
    )
    gains = f"a burst of 65,536 instead of {limit + 1:,} finds room at a listener here"
    return LimitJudgement(judged(0, limit, _SOMAXCONN), allows, set_sysctl("net.core.somaxconn", 65535), 0, gains)


@setting("net.ipv4.tcp_max_syn_backlog")
def syn_backlog(host: Reading, _: Purpose) -> LimitJudgement:
    """Asked only without cookies: from three quarters on, clients that are not known are dropped."""
    limit, cookies = host.number("net.ipv4.tcp_max_syn_backlog"), host.number("net.ipv4.tcp_syncookies")
    change = set_sysctl("net.ipv4.tcp_max_syn_backlog", 65536)
    if cookies:
        return LimitJudgement(
            Grade.GOOD, f"not asked while tcp_syncookies is {cookies}; somaxconn is the limit", change
        )
    kept = limit - (limit >> 2)
    allows = f"{kept:,} half-open connections of a listener here (3/4 of {limit:,}), then SYNs of strangers are dropped"
    gains = f"49,152 half-open connections instead of {kept:,}"
    return LimitJudgement(judged(0, kept, _SYN_BACKLOG), allows, change, 0, gains)


@setting("net.ipv4.tcp_syncookies")
def syncookies(host: Reading, _: Purpose) -> LimitJudgement:
    """tcp(7)."""
    change = set_sysctl("net.ipv4.tcp_syncookies", 1)
    match host.number("net.ipv4.tcp_syncookies"):
        case 0:
            allows, gains = "a listener here drops SYNs when its queue is full", "it answers with a cookie instead"
        case 1:
            return LimitJudgement(Grade.GOOD, "a listener here answers with a cookie when its queue is full", change)
        case _:
            allows = "every connection begins with a cookie, for tests of cookies"
            gains = "connections with all their options, cookies only when a queue is full"
    return LimitJudgement(Grade.TIGHT, allows, change, 0, gains)


@setting("net.core.netdev_max_backlog")
def netdev_backlog(host: Reading, _: Purpose) -> LimitJudgement:
    """Loopback and veth pass every packet through it."""
    limit = host.number("net.core.netdev_max_backlog")
    allows = f"{limit:,} packets wait for each processor, those of loopback and veth among them; more are dropped"
    verdict = Grade.TIGHT if limit < _NETDEV_BACKLOG else Grade.GOOD
    gains = "bursts are not dropped, which would cost each SYN in them a second"
    return LimitJudgement(verdict, allows, set_sysctl("net.core.netdev_max_backlog", 10_000), 0, gains)
