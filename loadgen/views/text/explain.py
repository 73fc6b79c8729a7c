"""An explanation as text: the findings, the fullest spaces, what is missing, and what was not understood."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Final

from loadgen.explain.evidence import Piece, Unread, Where
from loadgen.explain.explanation import Explanation, Finding, Proof, SpaceRow
from loadgen.format import on_one_line, percent, share
from loadgen.model import Endpoint
from loadgen.strategies import Transport
from loadgen.views.text import layout
from loadgen.views.text.layout import StyledLine, labelled, listed, numbered

if TYPE_CHECKING:
    from rich.console import Console

#: Rows that are shown; the JSON has all of them.
_SPACES_SHOWN: Final = 8
_PROOFS_SHOWN: Final = 6
_REMEDIES_SHOWN: Final = 6
_MISSING_SHOWN: Final = 5
_NOTES_SHOWN: Final = 5
#: Tools with one use here, whatever their options.
_ONE_USE: Final = frozenset({"tcpdump", "nstat", "conntrack"})
#: Formats that say nothing by themselves: prompts and fences.
_FRAME: Final = frozenset({"command"})
_RANGES_SHOWN: Final = 12
_OWNERS_SHOWN: Final = 2
_CONFIDENCE: Final = {"certain": "certain", "likely": "likely", "open": "open"}


def render(explanation: Explanation, console: Console) -> None:
    """Print an explanation."""
    layout.show(lines(explanation, layout.width_of(console)), console)


def lines(explanation: Explanation, width: int) -> Iterator[StyledLine]:
    """Yield the lines of an explanation."""
    yield from labelled("read", _read(explanation.pieces), width)
    if not explanation.findings:
        yield from labelled("finding", "no limit shows in this evidence", width, "verdict")
    for number, finding in enumerate(explanation.findings):
        if number:
            yield "row", ""
        yield from _finding(finding, width)
    yield from _spaces(explanation.spaces, width)
    if explanation.notes:
        yield "row", ""
        yield from listed(
            "no limit",
            (
                f"{_proof(one)}: a setting of a program, or not about connecting"
                for one in explanation.notes[:_NOTES_SHOWN]
            ),
            width,
        )
    looks = " ".join(look for finding in explanation.findings for look in finding.looks)
    missing = [one for one in explanation.missing if not _is_told(one.command, looks)]
    if missing:
        yield "row", ""
        yield from listed("missing", (f"`{one.command}`: {one.decides}" for one in missing[:_MISSING_SHOWN]), width)
    if explanation.unread:
        yield "row", ""
        more = [f"and {explanation.more_unread:,} more lines"] if explanation.more_unread else []
        yield from listed("unread", [*_unread(explanation.unread), *more], width)


def _is_told(command: str, looks: str) -> bool:
    """Return True if the looks that decide name a command, or the one tool that it is about."""
    tool = command.split()[0]
    return f"`{command}`" in looks or (tool in _ONE_USE and f"`{tool} " in looks)


def _read(pieces: Sequence[Piece]) -> str:
    pieces = [one for one in pieces if one.format not in _FRAME]
    if not pieces:
        return "nothing of what is in here"
    return "; ".join(
        f"{on_one_line(one.what)} ({_lines(one.file, [(one.first, one.last)])})" for one in pieces[:20]
    ) + (f"; and {len(pieces) - 20:,} more pieces" if len(pieces) > 20 else "")


def _finding(one: Finding, width: int) -> Iterator[StyledLine]:
    names = ", ".join(one.candidates) if one.candidates else one.limit
    yield from labelled("finding", f"{names} ({_CONFIDENCE[one.confidence]})", width, "verdict")
    yield from labelled("", one.text, width, "row")
    yield from listed("evidence", (_proof(proof) for proof in one.evidence[:_PROOFS_SHOWN]), width)
    yield from listed("ruled out", (f"{limit}: {because}" for limit, because in one.refuted), width)
    yield from listed("decide by", one.looks, width)
    yield from numbered("remedies", (remedy.sentence for remedy in one.remedies[:_REMEDIES_SHOWN]), width)


def _proof(proof: Proof) -> str:
    return f"{on_one_line(proof.text)} ({_where(proof.where)})" if proof.where else on_one_line(proof.text)


def _where(where: Where) -> str:
    return on_one_line(str(where))


def _spaces(rows: Sequence[SpaceRow], width: int) -> Iterator[StyledLine]:
    if not rows:
        return
    yield "row", ""
    shown = rows[:_SPACES_SHOWN]
    yield from listed("ports", map(_space, shown), width)
    if len(rows) > len(shown):
        yield from labelled("", f"and {len(rows) - len(shown):,} more, less full", width, "head")


def _space(row: SpaceRow) -> str:
    if row.scope == "port":
        sockets = f"port {row.port}: {row.in_use:,} open, {row.time_wait:,} in TIME-WAIT"
        return sockets + _owned(row)
    if row.scope == "pair":
        place = f"{row.source} to {Endpoint(row.destination, row.destination_port)}"
    else:
        place = f"{row.source} to all destinations"
    udp = "UDP " if row.transport is Transport.UDP else ""
    text = f"{percent(share(row.used, row.usable))} {udp}{place}: {row.in_use:,} open, {row.time_wait:,} in TIME-WAIT"
    text += f", {row.free:,} of {row.usable:,} ports free{' (assumed range)' if row.assumed else ''}"
    text += _owned(row)
    if not row.is_limit:
        text += "; no limit: destinations share them"
    if row.strategy:
        text += f"; looks like early binding (strategy {row.strategy})"
    return text


def _owned(row: SpaceRow) -> str:
    shown = (f"{on_one_line(name) or '?'} {count:,}" for name, count in row.owners[:_OWNERS_SHOWN])
    return f"; of {', '.join(shown)}" if row.owners else ""


def _unread(unread: Sequence[Unread]) -> Iterator[str]:
    """One line for each file and reason, with the numbers of its lines."""
    ordered = sorted(unread, key=lambda one: (one.file, one.why))
    for (file, why), group in groupby(ordered, key=lambda one: (one.file, one.why)):
        ranges = [(one.first, one.last) for one in group]
        yield f"{_lines(file, ranges)}: {on_one_line(why) or 'not understood'}"


def _lines(file: str, ranges: Iterable[tuple[int, int]]) -> str:
    every = sorted(ranges)
    texts = [f"{first:,}" if first == last else f"{first:,}-{last:,}" for first, last in every]
    of = "" if file == "-" else f" of {on_one_line(file)}"
    if every == [(0, 0)]:
        return f"all{of}"
    more = f" and {len(texts) - _RANGES_SHOWN:,} more places" if len(texts) > _RANGES_SHOWN else ""
    one = len(every) == 1 and every[0][0] == every[0][1]
    return f"line{'' if one else 's'} {', '.join(texts[:_RANGES_SHOWN])}{more}{of}"
