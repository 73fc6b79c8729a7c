"""Facts of two kernels on a terminal: what differs, what is on one side only, and the costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from loadgen import format as fmt
from loadgen.facts.comparison import FactPair, FactRelation, FactsComparison
from loadgen.facts.document import FactRecord
from loadgen.views.text.layout import StyledLine, labelled, show, width_of, wrapped

if TYPE_CHECKING:
    from rich.console import Console

_ONE_SIDE: Final = (FactRelation.RAN_ONLY_IN_A, FactRelation.RAN_ONLY_IN_B)
_ABSENT: Final = (FactRelation.ONLY_IN_A, FactRelation.ONLY_IN_B)


def render(comparison: FactsComparison, console: Console) -> None:
    """Print a comparison to a console, as wide as that is but between 40 and 100 columns."""
    show(lines(comparison, width_of(console)), console)


def lines(comparison: FactsComparison, width: int) -> list[StyledLine]:
    """The comparison as lines of at most `width` columns."""
    text: list[StyledLine] = [("verdict", line) for line in wrapped(verdict(comparison), "", width)]
    text.append(("", ""))
    for label, name, document in zip("AB", comparison.names, (comparison.a, comparison.b), strict=True):
        text += labelled(label, f"Linux {document.kernel}, {document.started_at}, {fmt.on_one_line(name)}", width)
    for pair in comparison.of(FactRelation.DIFFERS, *_ONE_SIDE):
        text += _seen(pair, width)
    text += _absent(comparison, width)
    text += _costs(comparison, width)
    return text


def verdict(comparison: FactsComparison) -> str:
    """Return one line: "110 facts: 100 the same, 4 different, 6 made on one side only"."""
    number = comparison.counts
    parts = [f"{number[FactRelation.SAME]} the same", f"{number[FactRelation.DIFFERS]} different"]
    others = (
        (sum(number[relation] for relation in _ONE_SIDE), "made on one side only"),
        (sum(number[relation] for relation in _ABSENT), "known on one side only"),
        (number[FactRelation.NOT_RUN], "made on neither"),
    )
    parts += [f"{count} {words}" for count, words in others if count]
    return f"{fmt.many(len(comparison.pairs), 'fact')}: {', '.join(parts)}"


def _seen(pair: FactPair, width: int) -> Iterator[StyledLine]:
    yield "", ""
    yield from labelled(pair.number, pair.title, width)
    for label, record in (("A", pair.a), ("B", pair.b)):
        yield from labelled(f"  {label}", _result(record), width, "row")


def _result(record: FactRecord | None) -> str:
    if record is None:
        return "-"
    return record.seen or f"not run: {record.reason}"


def _absent(comparison: FactsComparison, width: int) -> Iterator[StyledLine]:
    if comparison.of(*_ABSENT):
        yield "", ""
    for relation in _ABSENT:
        if pairs := comparison.of(relation):
            yield from labelled(relation.value, ", ".join(pair.number for pair in pairs), width)


def _costs(comparison: FactsComparison, width: int) -> Iterator[StyledLine]:
    if comparison.costs:
        yield "", ""
        yield "verdict", "costs, A and B"
    for pair in comparison.costs:
        a, b = (_cost(record) for record in (pair.a, pair.b))
        yield from labelled(pair.number, f"{a} -> {b} ({pair.cost_ratio:.2f}) for each {pair.cost_what}", width)


def _cost(record: FactRecord | None) -> str:
    return fmt.MISSING if record is None or record.cost_ns is None else f"{fmt.count(round(record.cost_ns, 1))} ns"
