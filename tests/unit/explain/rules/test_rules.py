"""Every limit that a symptom may have has a rule."""

from __future__ import annotations

from loadgen.capacity.limits import EVERY_LIMIT
from loadgen.explain.rules import RULES
from loadgen.explain.symptoms import CANDIDATES


def test_every_candidate_has_a_rule_and_every_rule_a_limit() -> None:
    assert {name for names in CANDIDATES.values() for name in names} <= set(RULES)
    assert set(RULES) <= set(EVERY_LIMIT)
