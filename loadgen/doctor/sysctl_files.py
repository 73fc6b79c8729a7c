"""Settings that do harm or nothing: in the running kernel, and in the files that are read at boot.

Sources: ip-sysctl.rst; tcp(7), tcp_tw_recycle; commit 4396e46187ca, which removed it (Linux 4.12).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from loadgen.doctor.finding import ChangeCommands, Grade, LimitCheck, LimitJudgement, Purpose, set_sysctl
from loadgen.doctor.reading import Reading
from loadgen.format import visible
from loadgen.kernel.sysctl_conf import SysctlLine

_RECYCLE: Final = "net.ipv4.tcp_tw_recycle"
#: Lines named in a sentence.
_NAMED_MAX: Final = 5


def _recycle(host: Reading, _: Purpose) -> LimitJudgement:
    if not host.number(_RECYCLE):
        return LimitJudgement(Grade.GOOD, "off, as it should be; Linux 4.12 removed it")
    allows = "SYNs of clients behind one NAT address are dropped, by their timestamps; Linux 4.12 removed it"
    return LimitJudgement(Grade.TIGHT, allows, set_sysctl(_RECYCLE, 0), 0, "clients behind a NAT get in again")


recycle = LimitCheck(
    _RECYCLE, lambda host: host.sysctls.get(_RECYCLE), _recycle, lambda host, _: _RECYCLE in host.sysctls
)


def problems(host: Reading) -> Iterator[tuple[SysctlLine, str]]:
    """Yield the lines that do harm or nothing, each with the reason; of several for one setting, the last."""
    last = {line.name: line for line in host.files}
    timestamps = last.get("net.ipv4.tcp_timestamps")
    for line in last.values():
        match line.name, line.value:
            case name, _ if name in host.gone:
                yield line, f"has no effect: {host.gone[name]}"
            case "net.ipv4.tcp_tw_recycle", value if value != "0":
                yield line, "drops SYNs of clients behind one NAT address"
            case "net.ipv4.tcp_tw_reuse", "1" | "2" if timestamps and timestamps.value == "0":
                yield line, f"does nothing, as {timestamps.place} switches tcp_timestamps off"
            case "net.ipv4.tcp_timestamps", "0":
                yield line, "nothing leaves TIME-WAIT early without timestamps"
            case "net.ipv4.tcp_max_tw_buckets", value if value.isdecimal() and int(value) < host.usual_tw_buckets:
                yield line, f"lowers it from {host.usual_tw_buckets:,}: closed connections lose their TIME-WAIT"


def _files(host: Reading, _: Purpose) -> LimitJudgement:
    found = list(problems(host))
    if not found:
        allows = f"{len(host.files):,} lines are read at boot, and none of them harms connections or sets what is gone"
        return LimitJudgement(Grade.GOOD, allows)
    said = [f"{line.place} {line.name}={line.value} {why}" for line, why in found[:_NAMED_MAX]]
    more = [f"and {len(found) - _NAMED_MAX} more"] if len(found) > _NAMED_MAX else []
    comment_out = tuple(f"sed -i '{line.number}s/^/#/' '{line.file}'" for line, _ in found)
    return LimitJudgement(
        Grade.TIGHT,
        visible("; ".join([*said, *more])),
        ChangeCommands((), comment_out),
        0,
        "the settings of the next boot are those that were meant",
    )


files = LimitCheck(
    "sysctl.conf, sysctl.d",
    lambda host: f"{len(list(problems(host)))} doubtful" if host.files else "no line",
    _files,
)
