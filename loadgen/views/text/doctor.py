"""A checkup as text: what to change first, then the limits as a table, then features and rights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from loadgen import styles
from loadgen.doctor import limits
from loadgen.doctor.checkup import Checkup
from loadgen.doctor.features import Feature, Permission
from loadgen.doctor.finding import ChangeCommands, Grade, LimitFinding
from loadgen.format import visible
from loadgen.views.text.layout import LineStyle, StyledLine, show, width_of, wrapped

if TYPE_CHECKING:
    from rich.console import Console

WIDTH_MAX: Final = 140
#: From here on what a limit allows stands beside its value, and below it else.
_BESIDE_FROM: Final = 120
_VERDICT: Final = 8
_NAME: Final = 36
_VALUE: Final = 24
#: Of what stands below a name.
_INDENT: Final = " " * (_VERDICT + 2)
#: A verdict's style is that of its first word alone.
_STYLES: Final[Mapping[str, LineStyle]] = {
    Grade.WALL.value: LineStyle(label=styles.BAD),
    Grade.TIGHT.value: LineStyle(label=styles.TIGHT),
    Grade.GOOD.value: LineStyle(),
    Grade.ABSENT.value: LineStyle(),
    "yes": LineStyle(),
    "no": LineStyle(label=styles.TIGHT),
    "head": LineStyle(styles.STRONG),
    "": LineStyle(),
}


def render(checkup: Checkup, console: Console, *, commands: bool = False) -> None:
    """Print to a console, as wide as that is but between 40 and 140 columns."""
    show(_lines(checkup, width_of(console, WIDTH_MAX), commands=commands), console, _STYLES, _VERDICT)


def lines(checkup: Checkup, width: int = 80, *, commands: bool = False) -> list[str]:
    """All lines, of at most `width` columns but for a name or value that is longer by itself.

    commands: those that change a limit, below every limit, and not only below what should be changed first.
    """
    return [line for _, line in _lines(checkup, width, commands=commands)]


def _lines(checkup: Checkup, width: int, *, commands: bool) -> Iterator[StyledLine]:
    yield from _wrapped("head", headline(checkup), "", width)
    if checkup.netns:
        where = (
            f"net.* and sockets: the network namespace of {visible(checkup.netns)}; all else: where this command runs, "
            "not the container's"
        )
        yield from _wrapped("", where, "", width)
    first = limits.to_change_first(checkup.findings)
    if first:
        yield from _title("to change first")
        for number, finding in enumerate(first, 1):
            yield from _first(number, finding, width)
    yield from _title("limits")
    for finding in checkup.findings:
        yield from _limit(finding, width)
        if commands:
            yield from _change(finding.judgement.change, width)
    yield from _title(f"what Linux {checkup.kernel} has here")
    for feature in checkup.features:
        yield from _feature(feature, width)
    who = "root" if checkup.uid == 0 else f"uid {checkup.uid}"
    yield from _title(f"what {who} may do here, and what an ordinary user may")
    for permission in checkup.permissions:
        yield from _permission(permission, width)


def headline(checkup: Checkup) -> str:
    """ "100,000 connections from one source address to one destination: 1 wall, 3 tight, 26 good."."""
    counts = limits.count(checkup.findings)
    said = ", ".join(f"{counts[verdict]} {_plural(verdict, counts[verdict])}" for verdict in _COUNTED)
    return f"{checkup.purpose.text}: {said}."


_COUNTED: Final = (Grade.WALL, Grade.TIGHT, Grade.GOOD)


def _plural(verdict: Grade, number: int) -> str:
    return "walls" if verdict is Grade.WALL and number != 1 else verdict.value


def _title(text: str) -> Iterator[StyledLine]:
    yield "", ""
    yield "head", text


def _first(number: int, finding: LimitFinding, width: int) -> Iterator[StyledLine]:
    judgement = finding.judgement
    gain = f"+{judgement.gain:,}" if judgement.gain else ""
    said = "; ".join(part for part in (gain, judgement.gains) if part)
    yield from _wrapped(finding.verdict.value, f"{finding.name}: {said}", f"{finding.verdict:<7}{number}. ", width)
    yield from _change(judgement.change, width)


def _change(change: ChangeCommands, width: int) -> Iterator[StyledLine]:
    for label, commands in (("now", change.now), ("for good", change.for_good)):
        for command in commands:
            for line in folded(command, width - len(_INDENT) - 10):
                yield "", f"{_INDENT}{label:<10}{line}"
                label = ""


def folded(command: str, width: int) -> list[str]:
    """A shell command in lines of at most this width where that is possible: a backslash at the end goes on."""
    found, rest = [], command
    while len(rest) > width:
        gaps = [at for at in _gaps(rest) if at <= width - 2] or _gaps(rest)[:1]
        if not gaps:
            break
        found.append(f"{rest[: gaps[-1]]} \\")
        rest = f"  {rest[gaps[-1] + 1 :]}"
    return [*found, rest]


def _gaps(command: str) -> list[int]:
    """Where the spaces are that a shell would split at, those of the indentation left out."""
    quote, found = "", []
    for at, character in enumerate(command):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == " " and command[:at].strip():
            found.append(at)
    return found


def _limit(finding: LimitFinding, width: int) -> Iterator[StyledLine]:
    head = f"{finding.verdict:<{_VERDICT}}{finding.name:<{_NAME}} {finding.value:<{_VALUE}} "
    tone, allows = finding.verdict.value, finding.judgement.allows
    if width >= _BESIDE_FROM:
        yield from _wrapped(tone, allows, head, width)
    else:
        yield tone, head.rstrip()
        yield from _wrapped("", allows, _INDENT, width)


def _feature(feature: Feature, width: int) -> Iterator[StyledLine]:
    word = "yes" if feature.present else "no"
    yield word, f"{word:<{_VERDICT}}{feature.name:<{_NAME}} since Linux {feature.since}"
    if feature.absent:
        yield from _wrapped("", f"{feature.absent}; without it: {feature.without}", _INDENT, width)
        yield from _change(ChangeCommands(feature.change), width)


def _permission(permission: Permission, width: int) -> Iterator[StyledLine]:
    word, ordinary = ("no" if refused else "yes" for refused in (permission.refused, permission.ordinary_refused))
    yield word, f"{word:<{_VERDICT}}{permission.name:<{_NAME}} ordinary user: {ordinary}"
    if reason := permission.refused or permission.ordinary_refused:
        yield from _wrapped("", reason, _INDENT, width)


def _wrapped(tone: str, text: str, first: str, width: int) -> Iterator[StyledLine]:
    """A text in lines, the first after `first` and the others below it; the tone of a verdict is the first line's."""
    for number, line in enumerate(wrapped(text, first, width) if text else ()):
        yield (tone if number == 0 or tone == "head" else ""), line
