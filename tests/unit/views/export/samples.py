"""A recorded run as an export takes it."""

from __future__ import annotations

from loadgen.views.export.tables import RecordedSeries
from tests import samples

#: 2026-01-31 12:00:00.125 UTC.
BEGAN_NS = 1_769_860_800_125_000_000


def recorded(name: str = "hold", began_ns: int | None = BEGAN_NS) -> RecordedSeries:
    return RecordedSeries(samples.plan(name=name), lambda: samples.series(name), began_ns)
