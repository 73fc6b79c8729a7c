"""Estimate the time left of a matrix from the duration of its finished runs; pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence


def left_s(ended: Sequence[tuple[float, float]], ahead: Sequence[float]) -> float | None:
    """Return the seconds until the last run ends; None before the first run has ended.

    ended: (nominal, actual) seconds of each finished run. ahead: nominal seconds of the runs to come.
    The overhead of a run (to start, to open and to report) is estimated by its mean so far.
    """
    if not ended:
        return None
    overhead = sum(actual - nominal for nominal, actual in ended) / len(ended)
    return max(sum(nominal + overhead for nominal in ahead), 0.0)


def left_text(seconds: float) -> str:
    """Return the estimate with fitting precision: `about 40 s left`, `about 2 min left`, `about 3 h left`."""
    if seconds < 90:
        return f"about {max(round(seconds), 1)} s left"
    return f"about {round(seconds / 60)} min left" if seconds < 90 * 60 else f"about {round(seconds / 3600)} h left"
