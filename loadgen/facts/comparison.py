"""Facts of two kernels side by side: those that differ, those of one side only, and the ratio of their costs.

Only what was seen is compared: expectations and words belong to the version of loadgen that wrote a document.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from loadgen.facts.base import order_of
from loadgen.facts.document import FactRecord, FactsDocument, read

SCHEMA: Final = "loadgen.facts-compare/1"
_NOT_RUN: Final = "not run"


class FactRelation(StrEnum):
    """How one fact of A relates to the one of B with the same number."""

    SAME = "same"
    DIFFERS = "differs"
    RAN_ONLY_IN_A = "ran only in A"
    RAN_ONLY_IN_B = "ran only in B"
    NOT_RUN = "not run"
    ONLY_IN_A = "only in A"
    ONLY_IN_B = "only in B"


@dataclass(frozen=True, slots=True)
class FactPair:
    """One number in both documents. a, b: None where a document does not have it; one of them has."""

    number: str
    a: FactRecord | None
    b: FactRecord | None

    @property
    def title(self) -> str:
        """The title in B, or in A if B does not have the fact."""
        record = self.b or self.a
        return record.title if record else ""

    @property
    def relation(self) -> FactRelation:
        """See `FactRelation`."""
        if self.a is None:
            return FactRelation.ONLY_IN_B
        if self.b is None:
            return FactRelation.ONLY_IN_A
        ran = (self.a.verdict != _NOT_RUN, self.b.verdict != _NOT_RUN)
        if all(ran):
            return FactRelation.SAME if self.a.seen == self.b.seen else FactRelation.DIFFERS
        if not any(ran):
            return FactRelation.NOT_RUN
        return FactRelation.RAN_ONLY_IN_A if ran[0] else FactRelation.RAN_ONLY_IN_B

    @property
    def cost_what(self) -> str:
        """The unit of the cost."""
        return next((record.cost_what for record in (self.b, self.a) if record and record.cost_what), "")

    @property
    def cost_ratio(self) -> float | None:
        """Cost of B as a multiple of that of A; None if one of them has none."""
        if self.a is None or self.b is None or not self.a.cost_ns or self.b.cost_ns is None:
            return None
        return self.b.cost_ns / self.a.cost_ns


@dataclass(frozen=True, slots=True)
class FactsComparison:
    """Two documents, and their facts in numeric order. names: of the files, as given."""

    names: tuple[str, str]
    a: FactsDocument
    b: FactsDocument
    pairs: tuple[FactPair, ...]

    def of(self, *relations: FactRelation) -> list[FactPair]:
        """Return the facts that relate so."""
        return [pair for pair in self.pairs if pair.relation in relations]

    @property
    def costs(self) -> list[FactPair]:
        """The facts that measured a cost on both sides."""
        return [pair for pair in self.pairs if pair.cost_ratio is not None]

    @property
    def counts(self) -> dict[FactRelation, int]:
        """The number of facts of each relation."""
        count = Counter(pair.relation for pair in self.pairs)
        return {relation: count[relation] for relation in FactRelation}

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as plain values, schema loadgen.facts-compare/1."""
        return {
            "schema": SCHEMA,
            "a": _side(self.names[0], self.a),
            "b": _side(self.names[1], self.b),
            "facts": [_plain(pair) for pair in self.pairs],
            "summary": {relation.value.lower().replace(" ", "_"): count for relation, count in self.counts.items()},
        }


def _side(name: str, document: FactsDocument) -> dict[str, str | None]:
    return {"file": name, "kernel": document.kernel, "started_at": document.started_at}


def _plain(pair: FactPair) -> dict[str, Any]:
    return {
        "number": pair.number,
        "title": pair.title,
        "relation": pair.relation.value,
        "a": _result(pair.a),
        "b": _result(pair.b),
        "cost_what": pair.cost_what,
        "cost_ratio": None if pair.cost_ratio is None else round(pair.cost_ratio, 4),
    }


def _result(record: FactRecord | None) -> dict[str, Any] | None:
    if record is None:
        return None
    keys = ("verdict", "seen", "reason", "since", "source", "cost_ns")
    return {key: getattr(record, key) for key in keys}


def compare(a: Path, b: Path) -> FactsComparison:
    """Read two files that `loadgen facts --json` has written, and put their facts side by side.

    Raises: UsageError for a file that is missing, unreadable, or another document.
    """
    documents = read(a), read(b)
    sides = [{record.number: record for record in document.facts} for document in documents]
    numbers = sorted({*sides[0], *sides[1]}, key=order_of)
    pairs = tuple(FactPair(number, sides[0].get(number), sides[1].get(number)) for number in numbers)
    return FactsComparison((str(a), str(b)), *documents, pairs)
