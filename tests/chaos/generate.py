"""Trials out of a seed: trial `index` of seed `seed` is the same on every machine."""

from __future__ import annotations

import random

from . import faults, scenarios
from .trial import Trial


def trial(seed: int, index: int, only: tuple[str, ...] = ()) -> Trial:
    """Return one trial. only: rows of the table to draw from; none: all that this host has the programs for."""
    rng = random.Random(f"{seed}:{index}")
    spec, options = scenarios.draw(rng)
    chosen = faults.draw(rng, spec, only)
    kinds = {fault.kind for fault in chosen}
    view = "pty" if "hangup" in kinds else rng.choices(("pipe", "pty", "quiet"), (5, 3, 1))[0]
    if "output" in kinds and view == "pty":
        view = "pipe"
    options = (*options, *(["--json"] if rng.random() < 0.4 else []))
    if rng.random() < 0.2 or any(fault.role == "dashboard" for fault in chosen):
        options = (*options, "--dashboard")
    return Trial(spec, chosen, view, options)
