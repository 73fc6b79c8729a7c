"""The shape of the summary of a matrix."""

from __future__ import annotations

from enum import StrEnum

from loadgen.model import Ceiling
from loadgen.results.schema.run import ExpectationResult, RunSummary
from loadgen.results.schema.values import Amount, Count, MatrixLimit, SchemaName, Setting, Settings, Shape, Time


class CellStatus(StrEnum):
    """How a cell ended. Only `done` says anything about its settings."""

    DONE = "done"
    SKIPPED = "skipped"
    INCOMPLETE = "incomplete"


class CellFigure(Shape, frozen=True, kw_only=True):
    """One figure over the complete runs of a cell."""

    median: Amount
    low: Amount
    high: Amount
    runs: Count
    """how many have it"""


class CellFigures(Shape, frozen=True, kw_only=True):
    """The figures of a cell; one that no run has is left out."""

    rate_per_s: CellFigure | None = None
    """connections established per second; of churn the sustained rate"""
    established: CellFigure | None = None
    """connections"""
    failed: CellFigure | None = None
    """attempts"""
    recycled: CellFigure | None = None
    """sockets taken out of TIME-WAIT for another connection"""
    time_wait_peak: CellFigure | None = None
    """the most sockets in TIME-WAIT at once"""
    connect_p50_us: CellFigure | None = None
    """median time to connect, microseconds"""
    connect_p99_us: CellFigure | None = None
    """99th percentile of the time to connect, microseconds"""


class CellChange(Shape, frozen=True, kw_only=True):
    """A cell beside the one that differs in one key and has the first value of its list."""

    key: str
    """dotted path"""
    value: Setting
    """here"""
    instead_of: Setting
    """there"""
    cell: Count
    """number of the other cell, from 0"""
    noise: bool
    """whether the two cannot be told apart"""
    text: str
    """in words"""


class CellResult(Shape, frozen=True, kw_only=True):
    """One combination of settings."""

    settings: Settings
    """values by dotted path"""
    status: CellStatus
    """only done says anything about the settings"""
    reason: str | None
    """why it is not done"""
    rounds: tuple[int, ...]
    """numbers of its runs, from 1"""
    runs: tuple[RunSummary, ...]
    """the summary of each of its runs"""
    figures: CellFigures | None
    """null without a complete run"""
    predicted: Ceiling | None
    """of churn: the ceiling that was predicted"""
    as_predicted: bool | None
    """of churn: whether that held in more than half of the runs"""
    changes: tuple[CellChange, ...]
    """beside each cell that differs in one key"""


class Strongest(Shape, frozen=True, kw_only=True):
    """Where a value makes a difference, and which."""

    cell: Count
    """number of the cell, from 0"""
    instead_of_cell: Count
    """number of the cell it is compared with"""
    under: Settings
    """the settings that both have"""
    text: str
    """in words"""


class SettingEffect(Shape, frozen=True, kw_only=True):
    """The effect of one value, the strongest difference first."""

    key: str
    """dotted path"""
    value: Setting
    """the one that is looked at"""
    instead_of: Setting
    """the first value of the list"""
    name: str
    """KEY=VALUE instead of VALUE"""
    combinations: Count
    """in how many it was compared"""
    noise: Count
    """in how many of these it makes no difference beyond noise"""
    strongest: tuple[Strongest, ...]
    """where it makes the most of one"""
    more: Count
    """how many sentences are left out"""
    text: str
    """how much of it is noise, in words"""


class MatrixVerdict(Shape, frozen=True, kw_only=True):
    """The most important difference between the cells."""

    limit: MatrixLimit
    """the limit that all cells met, or mixed"""
    text: str
    """one or two sentences for people"""


class MatrixSummary(Shape, frozen=True, kw_only=True):
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
    cells: tuple[CellResult, ...]
    """in the order of the matrix, the first key changes slowest"""
    effects: tuple[SettingEffect, ...]
    """what the values change, the strongest first"""
    expect: tuple[ExpectationResult, ...]
    """what was expected of single cells: cells.N.PATH, the median of its runs"""
    verdict: MatrixVerdict
