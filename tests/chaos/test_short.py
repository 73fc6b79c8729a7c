"""The short form of `make chaos`: a fault of each of the kinds that users meet most, and what must hold after them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from . import generate, runner

#: Trials of a seed by kind; another number is another scenario, and another moment.
TRIALS: Final = {"kill": (1, 2), "end": (1, 2), "pause": (1,), "limit": (1,), "garbage": (1,), "output": (1,)}
JOBS: Final = 2


@pytest.fixture(autouse=True)
def _all_load_stays_inside(_network_namespaces: None) -> None:
    """Every run makes a lab of its own."""


def test_what_must_hold_holds_after_faults(tmp_path: Path) -> None:
    trials = [
        (f"--seed {seed} --only 0 --kinds {kind}", generate.trial(seed, 0, (kind,)))
        for kind, seeds in TRIALS.items()
        for seed in seeds
    ]
    outcome = runner.run(trials, tmp_path, jobs=JOBS, faults=100, shim=None, tell=lambda *_: None)
    assert not [(failure.name, failure.broken) for failure in outcome.failed]
    assert outcome.faults >= len(TRIALS)
