"""The files of a search: find.json, a line of trials.jsonl, and the shape of its summary."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, Struct

from loadgen.results.schema.matrix_plan import CellPlan, ResolvedName
from loadgen.results.schema.run import ExpectationResult
from loadgen.results.schema.values import Amount, Count, Limit, MatrixLimit, Settings, Shape, Time

#: Bounds of what a key can be varied over.
VALUE_MIN: Final = 1e-9
VALUE_MAX: Final = 1e15
_Value = Annotated[float, Meta(ge=VALUE_MIN, le=VALUE_MAX)]
#: Name and version of the shape of a search's summary.json.
FIND_SCHEMA: Final = "loadgen.find/1"


class FindKind(StrEnum):
    """How a search ended."""

    #: A value that holds and one that fails, both confirmed, as close as the precision says.
    FOUND = "found"
    #: Not even the lowest value holds.
    BELOW = "below"
    #: The highest value that was to be tried holds.
    ABOVE = "above"
    #: See `loadgen.find.goal.Undecided`.
    UNDECIDED = "undecided"


class TrialStatus(StrEnum):
    """The outcome of one trial."""

    HELD = "held"
    FAILED = "failed"
    #: The trial itself did not work, which says nothing about its value.
    UNKNOWN = "unknown"


class FindPlan(Struct, frozen=True, kw_only=True):
    """A search as it was begun, and how to go on with it."""

    scenario: str
    started_at: str
    kernel: str
    """release of the kernel that all trials have to run on"""
    overrides: tuple[str, ...] = ()
    """`--set` lines that the scenario was begun with"""
    key: str
    """dotted path of what varies"""
    unit: str
    """behind its number, as the scenario writes it"""
    whole: bool
    """whether it takes whole numbers only"""
    start: _Value
    stop: _Value
    precision: float
    agree: int
    trials_max: Annotated[int, Meta(ge=1, le=100_000)]
    mode: str
    at_least: float | None = None
    expect: tuple[str, ...] = ()
    """conditions on the answers"""
    cells: tuple[CellPlan, ...] = (CellPlan(settings={}),)
    resolved: Mapping[str, ResolvedName] = {}
    scenario_sha256: str
    """of scenario.yaml as it was written, since all trials have to be of one scenario"""


class FailedCondition(Shape, frozen=True, kw_only=True):
    """An expectation that a trial did not meet."""

    expression: str
    """PATH OP VALUE"""
    observed: int | float | str | None
    """the number at PATH over the steady part, or the name where VALUE is one; null: there is none"""


class TrialResult(Shape, frozen=True, kw_only=True):
    """One trial."""

    number: Count
    """from 1, in the order they were made"""
    cell: Count = 0
    """of a search for each cell of a matrix: number of the cell, from 0"""
    value: _Value
    """of the key, without its unit"""
    outcome: TrialStatus
    """held: every expectation was met"""
    stage: str
    """doubling, narrowing or confirming; step: a plateau of a run that goes on"""
    reason: str | None
    """why it failed, or says nothing; null of one that held"""
    failed: tuple[FailedCondition, ...] = ()
    """expectations that were not met"""
    run: str | None
    """its run directory, below that of the search; null: it never began"""
    duration_s: Amount = 0.0
    """seconds"""
    steady_s: tuple[Amount, Amount] | None = None
    """from and to of its steady part, seconds after its start; absent: judged by all of it"""
    established_per_s: Amount | None = None
    """connections per second, of the steady part"""
    failed_share: Amount | None = None
    """attempts that failed, as a share of those that ended, 0 to 1, of the steady part"""
    connect_p99_us: Amount | None = None
    """99th percentile of the time to connect, microseconds, of the steady part"""
    limit: Limit | None = None
    """of its verdict"""
    verdict: str | None = None
    """the sentence of its verdict"""
    remedy: str | None = None
    """the first remedy of its verdict"""
    predicted: Amount | None = None
    """the highest value that its plan has room for; absent: the plan does not say"""
    for_ever: Amount | None = None
    """of a rate: what can go on for ever by the plan, where the run is too short to meet it; absent: it is not"""


class SearchResult(Shape, frozen=True, kw_only=True):
    """The result of one search."""

    settings: Settings
    """of its cell, by dotted path; empty without a matrix"""
    kind: FindKind
    """how it ended"""
    value: Amount | None
    """the highest value that held, and was confirmed where kind is found; null: none held"""
    low: Amount | None
    """the lower end of the interval that the limit lies in, a value that held; null: none did"""
    high: Amount | None
    """the upper end, a value that failed; null: none did"""
    limit: MatrixLimit
    """behind the failing trials, by their verdicts; mixed where they differ; none: they met no limit of loadgen's"""
    remedy: str | None
    """the first remedy of these"""
    predicted: Amount | None
    """by the plan, before the trials; null: it does not say"""
    for_ever: Amount | None = None
    """of a rate: what can go on for ever by the plan, where trials are too short to meet it; absent: they are not"""
    against: Count
    """trials whose outcome the ends contradict: held above the upper, or failed below the lower"""
    trials: tuple[TrialResult, ...]
    """in the order they were made"""
    text: str
    """one or two sentences for people"""


class FindVerdict(Shape, frozen=True, kw_only=True):
    """The answer in words."""

    limit: MatrixLimit
    """behind all searches, or mixed"""
    text: str
    """one or two sentences for people"""


FindSchemaName = Annotated[str, Meta(extra_json_schema={"const": FIND_SCHEMA})]


class FindSummary(Shape, frozen=True, kw_only=True):
    """A search in one object."""

    schema: FindSchemaName
    """name and version of this shape"""
    scenario: str
    """its name"""
    run: str
    """name of the directory"""
    started_at: Time
    """UTC"""
    duration_s: Amount
    """seconds"""
    complete: bool
    """whether the search came to its end"""
    incomplete_because: str | None
    """if not, why"""
    key: str
    """dotted path of what varied"""
    unit: str
    """behind its numbers, as the scenario writes it"""
    start: Amount
    """the lowest value that was to be tried"""
    stop: Amount
    """the highest"""
    precision: Amount
    """width of an interval that is good enough, as a share of its upper end"""
    agree: Count
    """by how many trials one outcome leads at each end of an interval that was found"""
    mode: str
    """trials or continuous"""
    kind: FindKind | None
    """of a search without a matrix, as in cells; null with one"""
    value: Amount | None
    """of a search without a matrix, as in cells"""
    low: Amount | None
    """of a search without a matrix, as in cells"""
    high: Amount | None
    """of a search without a matrix, as in cells"""
    limit: MatrixLimit | None
    """of a search without a matrix, as in cells"""
    predicted: Amount | None
    """of a search without a matrix, as in cells"""
    trials: tuple[TrialResult, ...]
    """of all searches, in the order they were made"""
    searches: tuple[SearchResult, ...]
    """one, or one for each cell of the matrix"""
    effects: tuple[str, ...] = ()
    """of a search for each cell: what each value changes, in words"""
    expect: tuple[ExpectationResult, ...]
    """whether the value is as high as it was to be at least, then the conditions on the answers"""
    verdict: FindVerdict
