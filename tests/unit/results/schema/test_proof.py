"""A proof is part of an event, and of the summary folded from it."""

from __future__ import annotations

import pytest

from loadgen.results.schema import files
from loadgen.results.schema.event import Event
from loadgen.results.schema.proof import ProofResult

PROOF = ProofResult(
    remedy="use late-range: +100",
    settings={"sources.strategy": "late-range"},
    quantity="connections",
    before=100,
    claimed=200,
    measured=200,
    ok=True,
    limit="none",
    run="proofs/1",
)


def test_an_event_keeps_what_a_trial_came_to() -> None:
    event = Event(event="proof", text=PROOF.remedy, proof=PROOF)
    assert files.read(files.line_of(event), Event) == event


def test_a_reason_is_left_out_where_there_is_none() -> None:
    assert "reason" not in files.plain(PROOF)


def test_a_quantity_has_one_of_the_names() -> None:
    with pytest.raises(ValueError, match="quantity"):
        files.convert({**files.plain(PROOF), "quantity": "pace"}, ProofResult)
