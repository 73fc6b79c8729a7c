"""matrix.json: the cells that a matrix is to run, written before the first of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct

from loadgen.results.schema.values import Settings

ROUNDS_MAX = 100


class CellPlan(Struct, frozen=True, kw_only=True):
    """One cell to run."""

    settings: Settings
    """values by dotted path"""


class ResolvedName(Struct, frozen=True, kw_only=True):
    """The addresses of a host name among the targets, which hold for all runs of the matrix."""

    addresses: tuple[str, ...]
    """in the resolver's order"""
    resolved_at: str
    """time of the look-up, ISO 8601 in UTC"""


class MatrixPlan(Struct, frozen=True, kw_only=True):
    """The cells of a matrix, and how to go on with it."""

    scenario: str
    started_at: str
    kernel: str | None = None
    """release of the kernel that all cells have to run on"""
    overrides: tuple[str, ...] | None = None
    """`--set` lines that the scenario was begun with"""
    repeat: Annotated[int, Meta(ge=1, le=ROUNDS_MAX)] = 1
    """rounds of each cell"""
    cells: tuple[CellPlan, ...]
    resolved: Mapping[str, ResolvedName] = {}
    expect: tuple[str, ...] = ()
    """conditions on single cells"""
