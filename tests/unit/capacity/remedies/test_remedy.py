"""A remedy is plain values, and its sentence has the gain where there is one."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from loadgen.capacity.limits import EVERY_LIMIT
from loadgen.capacity.remedies.remedy import Claim, Quantity, Remedy, settings_in_words, sysctl_command, sysctl_commands
from loadgen.model import Strategy
from loadgen.results.schema import files
from loadgen.results.schema.run import RemedyResult

from .situations import ONE, values_of


def test_a_remedy_is_plain_values_that_a_summary_takes() -> None:
    for limit in EVERY_LIMIT:
        for remedy in values_of(replace(ONE, strategy=Strategy.KERNEL, routes=("127.0.0.2",)), 9, limit=limit):
            plain = remedy.to_json()
            assert json.loads(json.dumps(plain)) == plain
            assert plain["text"]
            assert files.convert(plain, RemedyResult).text == plain["text"]


@pytest.mark.parametrize(("gain", "sentence"), [(None, "do it"), (0, "do it"), (1_800, "do it: +1,800")])
def test_a_gain_of_nothing_is_not_told(gain: int | None, sentence: str) -> None:
    assert Remedy("do it", gain=gain).sentence == sentence


def test_a_claim_without_an_end_has_null() -> None:
    plain = Remedy("do it", claim=Claim(Quantity.CHURN, 3.33, None)).to_json()
    assert plain["claim"] == {"quantity": "connections_per_s", "before": 3.33, "after": None}


def test_sysctls_are_a_command_and_words() -> None:
    assert sysctl_command("a.b", "1 2") == 'sysctl -w a.b="1 2"'
    assert sysctl_commands({"a.b": "1", "c.d": "2"}) == "sysctl -w a.b=1; sysctl -w c.d=2"
    assert settings_in_words({"a.b": "1", "c.d": "2"}) == "a.b=1 and c.d=2"


def test_what_is_added_to_a_text_is_added_for_the_owner_of_a_program_as_well() -> None:
    both = Remedy("use `close: rst`", program="SO_LINGER 0").adding(": 2/s becomes 3/s")
    assert both.for_program
    assert (both.text, both.for_program.text) == (
        "use `close: rst`: 2/s becomes 3/s",
        "SO_LINGER 0: 2/s becomes 3/s",
    )
    assert Remedy("add 1 target").adding(", too").for_program == Remedy("add 1 target, too")
    assert Remedy("use `workers: 3`", program=None).adding(": more").for_program is None
