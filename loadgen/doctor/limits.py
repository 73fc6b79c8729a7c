"""All limits in the order in which the table has them, and those to change first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from loadgen.doctor import handshake, listening, ports, rates, resources, search, services, sysctl_files
from loadgen.doctor.finding import Grade, LimitCheck, LimitFinding, Purpose
from loadgen.doctor.reading import Reading

ALL: Final[tuple[LimitCheck, ...]] = (
    ports.port_range,
    ports.reserved_ports,
    ports.listeners,
    services.services,
    search.port_search,
    search.step_width,
    search.child_buckets,
    ports.unprivileged_start,
    ports.autobind_reuse,
    ports.tw_reuse,
    ports.tw_reuse_delay,
    ports.timestamps,
    ports.tw_buckets,
    ports.fin_timeout,
    handshake.syn_retries,
    handshake.syn_linear,
    handshake.rto_max,
    handshake.ecn,
    rates.time_wait,
    rates.tracking,
    sysctl_files.recycle,
    sysctl_files.files,
    ports.time_wait,
    ports.in_use,
    resources.descriptors_hard,
    resources.descriptors_soft,
    resources.nr_open,
    resources.file_max,
    resources.epoll_watches,
    resources.conntrack,
    resources.tcp_mem,
    resources.tcp_rmem,
    resources.tcp_wmem,
    resources.memory,
    resources.group_memory,
    resources.cpus,
    resources.group_cpu,
    resources.threads_max,
    resources.pid_max,
    resources.group_pids,
    listening.somaxconn,
    listening.syn_backlog,
    listening.syncookies,
    listening.netdev_backlog,
)
#: Maximum number of limits to change first.
FIRST_MAX: Final = 5
_WORST_FIRST: Final = tuple(Grade)


def find_all(host: Reading, purpose: Purpose) -> list[LimitFinding]:
    """Return the finding on every limit of this host that the purpose asks for."""
    return [limit.find(host, purpose) for limit in ALL if limit.asked(host, purpose)]


def to_change_first(findings: Sequence[LimitFinding]) -> list[LimitFinding]:
    """Return the limits that are in the way and can be changed, by gain, then walls before tight ones."""
    wanting = [
        finding
        for finding in findings
        if finding.verdict in (Grade.WALL, Grade.TIGHT) and any(finding.judgement.change)
    ]
    ordered = sorted(wanting, key=lambda finding: (-finding.judgement.gain, _WORST_FIRST.index(finding.verdict)))
    return ordered[:FIRST_MAX]


def count(findings: Sequence[LimitFinding]) -> dict[str, int]:
    """Return the number of findings of each verdict, the worst first."""
    return {verdict.value: sum(finding.verdict is verdict for finding in findings) for verdict in Grade}
