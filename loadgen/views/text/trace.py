"""A trace as text: each way in which the program connects, what it ends with here, and what helps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from loadgen import format as fmt
from loadgen.model import Endpoint
from loadgen.strategies import PortScope
from loadgen.trace.account import PortAccount, WayAccount
from loadgen.trace.notes import notes_of
from loadgen.trace.run import TraceRecord
from loadgen.trace.ways import BESIDE, Way
from loadgen.views.text.layout import StyledLine, labelled, listed, numbered, show, width_of, wrapped

if TYPE_CHECKING:
    from rich.console import Console

#: Ways that are shown in full.
_WAYS_MAX: Final = 20
_REMEDIES_MAX: Final = 5
_SCOPE: Final = {
    PortScope.PAIR: "from one source address to one target",
    PortScope.SOURCE: "from one source address, all targets together",
    PortScope.HOST: "in all, whatever the source and target",
}


def render(record: TraceRecord, accounts: Sequence[WayAccount], console: Console) -> None:
    """Print a trace to a console."""
    show(_lines(record, accounts, width_of(console)), console)


def lines(record: TraceRecord, accounts: Sequence[WayAccount], *, width: int = 80) -> list[str]:
    """The same as lines of at most this width, but for a word that is longer."""
    return [line for _, line in _lines(record, accounts, width)]


def _lines(record: TraceRecord, accounts: Sequence[WayAccount], width: int) -> list[StyledLine]:
    total = sum(account.way.count for account in accounts)
    if not accounts:
        head = "no connect() to an Internet address was seen"
    else:
        ways = "1 way" if len(accounts) == 1 else f"{len(accounts):,} ways"
        head = f"{fmt.count(total)} connect() call{'s' * (total != 1)} in {ways}"
    text: list[StyledLine] = [("verdict", line) for line in wrapped(head, "", width)]
    for account in accounts[:_WAYS_MAX]:
        text += [("", ""), *_way(account, width)]
    if len(accounts) > _WAYS_MAX:
        text += [("", ""), ("", f"and {len(accounts) - _WAYS_MAX:,} more ways: --json lists them all")]
    elsewhere = _elsewhere(record, accounts)
    return [*text, ("", ""), *listed("errors", elsewhere, width), *listed("notes", notes_of(record), width)]


def _way(account: WayAccount, width: int) -> list[StyledLine]:
    way, ports = account.way, account.ports
    text = [("verdict", line) for line in wrapped(_title(way), "", width)]
    text += labelled("seen", _seen(way), width)
    text += listed("calls", way.calls, width)
    for name in way.beside:
        text += labelled("beside", f"{name}: {BESIDE[name]}", width)
    if account.unusable:
        text += labelled("fails", f"{account.unusable} (limit {account.limit}); no port was short", width, "bad")
        return text + numbered("to change", (remedy.sentence for remedy in account.remedies[:_REMEDIES_MAX]), width)
    if ports is None:
        return text
    text += labelled("capacity", _capacity(ports), width)
    text += labelled("ends with", _end(account), width, "bad" if way.failed else "")
    if account.rest_s is not None:
        text += labelled("TIME-WAIT", _resting(account), width)
    return text + numbered("to change", (remedy.sentence for remedy in account.remedies[:_REMEDIES_MAX]), width)


def _title(way: Way) -> str:
    who = f"{way.command or '?'}[{way.pid}]" if way.pid else way.command or "a program"
    if way.unseen:
        how = f"strategy unknown: the trace does not show {' or '.join(f'{name}()' for name in way.unseen)}"
    elif way.strategy is None:
        how = "no strategy of the table"
    else:
        # The rows speak of the sockets of loadgen; these are another program's.
        how = f"{way.strategy}: {way.strategy.row.summary.replace('loadgen', 'the program')}"
    transport = "" if way.transport == "tcp" else f" over {way.transport.upper()}"
    return f"{who}{transport}, {how}"


def _seen(way: Way) -> str:
    parts = [f"{fmt.count(way.count)} connect() to {_targets(way)}"]
    if way.source or way.source_port is not None:
        source = Endpoint(way.source, way.source_port or 0)
        parts.append(
            f"bound to {source}" if way.sources <= 1 else f"bound to {way.sources:,} addresses, {source} first"
        )
    if way.count > 1:
        parts.append(f"at most {fmt.count(way.open_max)} open at once")
    parts += [f"{syscall} {errno} {_times(count)}" for (syscall, errno), count in way.failed.items()]
    return ", ".join(parts)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{fmt.count(count)} times"


def _targets(way: Way) -> str:
    if not way.target:
        return "an address that is not known"
    target = str(Endpoint(way.target, way.target_port))
    return target if way.targets <= 1 else f"{way.targets:,} targets, {target} first"


def _capacity(ports: PortAccount) -> str:
    if ports.capacity is None:
        return f"{ports.because}; each carries one connection {_SCOPE[ports.scope]}"
    text = (
        f"{fmt.count(ports.capacity)} connection{'s' * (ports.capacity != 1)} {_SCOPE[ports.scope]} ({ports.because})"
    )
    if ports.search_long_from:
        text += f"; from {ports.search_long_from:,} on the kernel searches long for a free port"
    return text


def _end(account: WayAccount) -> str:
    text = f"{account.ends_with} (limit {account.limit}) when no port is left"
    limit, ports = account.descriptors, account.ports
    if limit and ports and not account.way.churns and (ports.capacity is None or limit < ports.capacity):
        text += f"; before that, with {limit:,} open files in one process (ulimit -n), socket EMFILE"
    return text


def _resting(account: WayAccount) -> str:
    if not account.rest_s:
        return f"a port serves the same target again at once: {account.rest_because}"
    text = f"after a connection that the program closes first its port rests {account.rest_s:g} s"
    text += f" ({account.rest_because})"
    if account.churn_per_s is not None:
        text += f": {fmt.rate(account.churn_per_s)} for ever"
    return text


def _elsewhere(record: TraceRecord, accounts: Sequence[WayAccount]) -> list[str]:
    """Errors of calls that belong to no way: of services, of socket(), of sockets that were opened before."""
    known: dict[tuple[str, str], int] = {}
    for account in accounts:
        for kind, count in account.way.failed.items():
            known[kind] = known.get(kind, 0) + count
    return [
        f"{syscall} {errno} {_times(count - known.get((syscall, errno), 0))}"
        for (syscall, errno), count in _items(record.follower.failures)
        if count > known.get((syscall, errno), 0)
    ]


def _items(failures: Mapping[tuple[str, str], int]) -> list[tuple[tuple[str, str], int]]:
    return sorted(failures.items(), key=lambda item: (-item[1], item[0]))
