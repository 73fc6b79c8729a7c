"""Limits that share a symptom, weighed against each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.capacity.limits import LIMITS
from loadgen.results.weighing import Indication, Weight, ruled_out, weigh

NAMES = ("blackhole", "backlog", "syn-loss", "conntrack")


def judged(**weights: Weight | str) -> dict[str, Indication]:
    """Indications by name; a text rules the limit out."""
    return {
        name.replace("_", "-"): ruled_out(given) if isinstance(given, str) else Indication(given)
        for name, given in weights.items()
    }


@pytest.mark.parametrize(
    ("candidates", "limit", "confidence", "named"),
    [
        (judged(blackhole=Weight.NOTHING, backlog=Weight.SHOWN), "backlog", "certain", ()),
        (judged(blackhole=Weight.NOTHING, backlog=Weight.STRONG, syn_loss=Weight.POSSIBLE), "backlog", "likely", ()),
        (judged(backlog=Weight.STRONG, conntrack=Weight.STRONG), "backlog", "open", ("backlog", "conntrack")),
        (judged(backlog=Weight.SUPPORTED, syn_loss=Weight.POSSIBLE), "backlog", "open", ("backlog", "syn-loss")),
        (judged(backlog=Weight.SUPPORTED, syn_loss="never"), "backlog", "likely", ()),
        (judged(blackhole=Weight.NOTHING, backlog="never"), "blackhole", "likely", ()),
        (judged(blackhole="never", backlog="never"), "blackhole", "open", ()),
    ],
)
def test_the_one_with_most_evidence_is_the_limit_and_equals_are_open(
    candidates: dict[str, Indication], limit: str, confidence: str, named: tuple[str, ...]
) -> None:
    found = weigh("blackhole", candidates)
    assert (found.limit, found.confidence, found.candidates) == (limit, confidence, named)


def test_an_errno_is_enough_for_the_limit_that_it_names() -> None:
    assert weigh("refused", {"refused": Indication()}).confidence == "certain"
    assert weigh("blackhole", {"blackhole": Indication()}).confidence == "likely"  # which only says what was seen


@given(st.dictionaries(st.sampled_from(NAMES), st.sampled_from([*Weight, "never"]), min_size=1))
def test_what_is_ruled_out_is_never_named(weights: dict[str, Weight | str]) -> None:
    found = weigh("blackhole", judged(**{name.replace("-", "_"): weight for name, weight in weights.items()}))
    out = {one.limit for one in found.refuted}
    assert out == {name for name, weight in weights.items() if isinstance(weight, str)}
    assert found.limit in LIMITS
    assert not out & set(found.candidates)
    if out != set(weights):
        assert found.limit not in out
