"""The shape of a remedy that was tried: `loadgen run --prove`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from loadgen.results.schema.values import Amount, Limit, SettingValue, Shape


class ProofResult(Shape, frozen=True, kw_only=True):
    """A remedy, and what a run in a lab of its own came to with it."""

    remedy: str
    """the change in words, as in verdict.remedies"""
    settings: Mapping[str, SettingValue]
    """keys of the scenario and their values in that run, its sysctls and what the remedy needs among them"""
    quantity: Literal["connections", "established", "requests", "occupancy", "cost_us"]
    """the figure that was compared: connections open at once; in churn those established in all, or the requests that
    were answered; occupancy: largest share of the ports in use, 0 to 1; cost_us: CPU time of a connection of the last
    tenth, microseconds"""
    before: Amount
    """without the remedy, in the run that this summary is about"""
    claimed: Amount | None
    """with it, no more than was asked for; null: the remedy has no figure, or no ceiling"""
    measured: Amount | None
    """with it, in the run that tried it; null: it could not run"""
    ok: bool
    """whether the gain came, within a tenth, in churn within a fifth, or the limit was met no more"""
    limit: Limit | None
    """the limit that the run with the remedy met; null: it could not run"""
    run: str
    """its directory, inside that of this run"""
    reason: str | None = None
    """why it could not run"""
