"""A piece keeps as many readings as there is room for, and says which lines were too many."""

from __future__ import annotations

import pytest

from loadgen.explain.evidence import Unread
from loadgen.explain.formats import lines
from loadgen.explain.formats.routes import ROUTES
from tests.explained import evidence_of


def test_readings_beyond_the_maximum_are_named_as_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "KEPT_MAX", 2)
    found = evidence_of("".join(f"10.0.{number}.0/24 dev eth0 scope link\n" for number in range(5)), [ROUTES])
    assert [route.network for route in found.routes] == ["10.0.0.0/24", "10.0.1.0/24"]
    assert found.unread == [Unread("-", 3, 5, "not kept: beyond the first 2 of ip route")]
