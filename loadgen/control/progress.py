"""How long a matrix will still take, from how long its runs have taken so far; pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence


def left_s(ended: Sequence[tuple[float, float]], ahead: Sequence[float]) -> float | None:
    """Seconds until the last run has ended; None before the first has, because then nobody knows.

    ended: (nominal, actual) seconds of each run so far. ahead: nominal seconds of the runs to come.
    What a run takes beyond its nominal time, to start, to open and to report, is taken to be the mean so far.
    """
    if not ended:
        return None
    overhead = sum(actual - nominal for nominal, actual in ended) / len(ended)
    return max(sum(nominal + overhead for nominal in ahead), 0.0)


def left_text(seconds: float) -> str:
    """In words no more exact than the estimate: `about 40 s left`, `about 2 min left`, `about 3 h left`."""
    if seconds < 90:
        return f"about {max(round(seconds), 1)} s left"
    return f"about {round(seconds / 60)} min left" if seconds < 90 * 60 else f"about {round(seconds / 3600)} h left"
