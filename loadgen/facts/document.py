"""The document of `loadgen facts --json`, schema loadgen.facts/1: made from findings, and read again."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from loadgen import format as fmt
from loadgen.errors import UsageError
from loadgen.facts.base import FactFinding, FactVerdict
from loadgen.results import stored
from loadgen.results.schema import files
from loadgen.results.schema.json_schema import schema_of
from loadgen.results.schema.values import Amount, Count, Shape, Time

SCHEMA: Final = "loadgen.facts/1"
#: Of a hundred facts there are 60 kB.
_BYTES_MAX: Final = 8 << 20
#: Keys of a fact that came later, with the value of a document that lacks them.
_ADDED: Final = {"source": "", "cost_ns": None, "cost_what": "", "cost_count": None, "cost_growth": None}


class FactRecord(Shape, frozen=True, kw_only=True):
    """One fact, and the result of its experiment."""

    number: Annotated[str, Meta(pattern=r"^[0-9]{1,4}\.[0-9]{1,4}$")]
    """section and fact, "2.10"; stable"""
    title: str
    """what the kernel does, in words"""
    expected: str
    """the result of a recent kernel"""
    seen: str
    """the result of this kernel; empty if the experiment could not be made"""
    verdict: Literal["holds", "differs", "not run"]
    """whether it is the expected one"""
    reason: str
    """why the experiment could not be made, or what explains the difference; empty otherwise"""
    since: str
    """the first kernel that is known to do so; empty: no kernel in use is known to do otherwise"""
    source: str
    """where it is written: selftests and files of the kernel, commits, RFCs, manual pages"""
    seconds: Amount
    """how long the experiment took"""
    cost_ns: Amount | None
    """nanoseconds for each of what `cost_what` names; null: nothing was measured"""
    cost_what: str
    """the unit of the cost; empty: the fact measures none"""
    cost_count: Count | None
    """the number of these in the measurement"""
    cost_growth: Amount | None
    """time of the call with all of them, as a multiple of its time with none, or with one"""


class FactCounts(Shape, frozen=True, kw_only=True):
    """Facts by their verdict."""

    holds: Count
    differs: Count
    not_run: Count


class FactsDocument(Shape, frozen=True, kw_only=True):
    """The facts of one kernel."""

    schema: Annotated[str, Meta(extra_json_schema={"const": SCHEMA})]
    """name and version of this shape"""
    kernel: str
    """its release, as uname(1) -r prints it"""
    started_at: Time
    """when the experiments began"""
    facts: tuple[FactRecord, ...]
    """in numeric order"""
    summary: FactCounts


def counts(findings: Iterable[FactFinding]) -> FactCounts:
    """Return the number of findings with each verdict."""
    count = Counter(finding.verdict for finding in findings)
    return FactCounts(
        holds=count[FactVerdict.HOLDS], differs=count[FactVerdict.DIFFERS], not_run=count[FactVerdict.NOT_RUN]
    )


def to_json(findings: Sequence[FactFinding], *, started_at: datetime) -> Any:
    """Return the findings on this kernel as plain values, see `FactsDocument`."""
    document = FactsDocument(
        schema=SCHEMA,
        kernel=platform.release(),
        started_at=started_at.isoformat(timespec="seconds"),
        facts=tuple(map(_record, findings)),
        summary=counts(findings),
    )
    return files.plain(document)


def _record(finding: FactFinding) -> FactRecord:
    cost = finding.cost
    return FactRecord(
        number=finding.fact.number,
        title=finding.fact.title,
        expected=finding.fact.expected,
        seen=finding.seen,
        verdict=finding.verdict.value,
        reason=finding.reason,
        since=finding.fact.since,
        source=finding.fact.source,
        seconds=round(finding.seconds, 3),
        cost_ns=round(cost.each_ns, 1) if cost else None,
        cost_what=finding.fact.cost_what,
        cost_count=cost.count if cost else None,
        cost_growth=round(cost.ratio, 2) if cost else None,
    )


def read(path: Path) -> FactsDocument:
    """Read a file that `loadgen facts --json` has written.

    Raises: UsageError if there is none, it cannot be read, or it is another document.
    """
    text = stored.read(path, _BYTES_MAX)
    if not text:
        raise UsageError(f"{path} is {'empty' if path.exists() else 'not there'}; {_REMEDY.format(path=path)}")
    try:
        data = files.read(text, dict)
    except ValueError as error:
        raise _not_facts(path, str(error)) from error
    if data.get("schema") != SCHEMA:
        name = fmt.on_one_line(str(data.get("schema")))[:80]
        raise _not_facts(path, f"its schema is {name}, not {SCHEMA}")
    try:
        return files.convert(_lifted(data), FactsDocument)
    except ValueError as error:
        raise _not_facts(path, str(error)) from error


_REMEDY: Final = "make it with `loadgen facts --json > {path}` on the host in question"


def _not_facts(path: Path, reason: str) -> UsageError:
    return UsageError(f"{path} is no document of `loadgen facts --json`: {reason}; {_REMEDY.format(path=path)}")


def _lifted(data: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a document of any version 1 with the keys that came later."""
    facts = data.get("facts")
    if not isinstance(facts, list):
        return data
    return data | {"facts": [_ADDED | fact if isinstance(fact, dict) else fact for fact in facts]}


def facts_schema() -> dict[str, Any]:
    """Return the JSON Schema of `loadgen facts --json`."""
    return schema_of(FactsDocument, "loadgen facts", "What `loadgen facts --json` prints.")
