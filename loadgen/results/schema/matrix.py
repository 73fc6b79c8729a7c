"""The shape of the summary of a matrix."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from loadgen.results.schema.carried import Ceiling
from loadgen.results.schema.run import Expected, RunSummary
from loadgen.results.schema.values import Amount, Count, MatrixLimit, SchemaName, Time, strict


@strict
class Figure(TypedDict):
    """One figure over the complete runs of a cell."""

    median: Amount
    low: Amount
    high: Amount
    runs: Count
    """how many have it"""


@strict
class Figures(TypedDict):
    """The figures of a cell; one that no run has is left out."""

    rate_per_s: NotRequired[Figure]
    """connections established per second; of churn the sustained rate"""
    established: NotRequired[Figure]
    """connections"""
    failed: NotRequired[Figure]
    """attempts"""
    recycled: NotRequired[Figure]
    """sockets taken out of TIME-WAIT for another connection"""
    time_wait_peak: NotRequired[Figure]
    """the most sockets in TIME-WAIT at once"""
    connect_p50_us: NotRequired[Figure]
    """median time to connect, microseconds"""
    connect_p99_us: NotRequired[Figure]
    """99th percentile of the time to connect, microseconds"""


@strict
class Change(TypedDict):
    """A cell beside the one that differs in one key and has the first value of its list."""

    key: str
    """dotted path"""
    value: Any
    """here"""
    instead_of: Any
    """there"""
    cell: Count
    """number of the other cell, from 0"""
    noise: bool
    """whether the two cannot be told apart"""
    text: str
    """in words"""


@strict
class Cell(TypedDict):
    """One combination of settings."""

    settings: dict[str, Any]
    """values by dotted path"""
    status: Literal["done", "skipped", "incomplete"]
    """only done says anything about the settings"""
    reason: str | None
    """why it is not done"""
    rounds: list[int]
    """numbers of its runs, from 1"""
    runs: list[RunSummary]
    """the summary of each of its runs"""
    figures: Figures | None
    """null without a complete run"""
    predicted: Ceiling | None
    """of churn: what the arithmetic foretold"""
    as_predicted: bool | None
    """of churn: whether that held in more than half of the runs"""
    changes: list[Change]
    """beside each cell that differs in one key"""


@strict
class Strongest(TypedDict):
    """Where a value makes a difference, and which."""

    cell: Count
    """number of the cell, from 0"""
    instead_of_cell: Count
    """number of the cell it is compared with"""
    under: dict[str, Any]
    """the settings that both have"""
    text: str
    """in words"""


@strict
class Effect(TypedDict):
    """What one value changes, the strongest first."""

    key: str
    """dotted path"""
    value: Any
    """the one that is looked at"""
    instead_of: Any
    """the first value of the list"""
    name: str
    """KEY=VALUE instead of VALUE"""
    combinations: Count
    """in how many it was compared"""
    noise: Count
    """in how many of these it makes no difference beyond noise"""
    strongest: list[Strongest]
    """where it makes the most of one"""
    more: Count
    """how many sentences are left out"""
    text: str
    """how much of it is noise, in words"""


@strict
class MatrixVerdict(TypedDict):
    """What matters most between the cells."""

    limit: MatrixLimit
    """the limit that all cells met, or mixed"""
    text: str
    """one or two sentences for people"""


@strict
class MatrixSummary(TypedDict):
    """The runs of a matrix in one object."""

    schema: SchemaName
    """name and version of this shape"""
    scenario: str
    """its name"""
    run: str
    """name of the run directory"""
    started_at: Time
    """UTC"""
    duration_s: Amount
    """seconds"""
    complete: bool
    """whether every cell came to its end or was skipped"""
    incomplete_because: str | None
    """if not, why"""
    repeat: Count
    """rounds there were to be"""
    cells: list[Cell]
    """in the order of the matrix, the first key changes slowest"""
    effects: list[Effect]
    """what the values change, the strongest first"""
    expect: list[Expected]
    """what was expected of single cells: cells.N.PATH, the median of its runs"""
    verdict: MatrixVerdict
