"""Processes that are stopped, as /proc shows them."""

from __future__ import annotations

import pytest

from loadgen.processes import lifetime
from loadgen.processes.lifetime import Stops


def test_looks_in_a_row_that_found_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it ran in between, if only for a tick as under a tracer, the count begins again."""
    seen = iter(["", "3 1", "3 1", "3 2", "3 2", "3 2", ""])
    monkeypatch.setattr(lifetime, "_stopped", lambda _: next(seen))
    stops = Stops()
    assert [stops.look(7) for _ in range(7)] == [0, 1, 2, 1, 2, 3, 0]


def test_a_process_that_is_not_there_is_not_stopped() -> None:
    assert not lifetime.is_stopped(2**22 + 1)
