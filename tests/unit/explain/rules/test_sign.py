"""A sign is an indication whose facts have a place."""

from __future__ import annotations

from loadgen.explain.evidence import Where
from loadgen.explain.explanation import Proof
from loadgen.explain.rules.sign import against, sign
from loadgen.results.weighing import Weight


def test_the_words_of_the_proofs_are_what_supports_it() -> None:
    one = sign(Weight.STRONG, Proof("a", Where("-", 1)), Proof("b"), reason="absent")
    assert (one.supports, one.refuted, one.reason) == (("a", "b"), "", "absent")
    assert (against("never").refuted, against("never").weight) == ("never", Weight.NOTHING)
