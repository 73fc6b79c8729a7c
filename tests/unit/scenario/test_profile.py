"""The phases of a load: the schedule that follows from them, and the keys that contradict them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loadgen.arrivals import due_ns_of, due_within
from loadgen.model import LoadProfile, Stage
from loadgen.scenario import parse
from loadgen.scenario.profile import IN_LAB, ON_HOST, stages_of

from .support import SMALLEST, refusal

CHURN = SMALLEST.replace("connections: 100\n", "churn: {concurrency: 8}\n")


def test_a_profile_of_churn_is_a_rate_that_rises_stays_and_falls() -> None:
    spec = parse(CHURN + "arrival: {rate: 100/s}\nprofile: {init: 1s, ramp: 2s, sustain: 10s, ramp_down: 4s}\n", "s")
    assert spec.stages == (Stage(0.0, 100.0, 2.0), Stage(100.0, 100.0, 10.0), Stage(100.0, 0.0, 4.0))
    assert (spec.churn_s, spec.held_s) == (16.0, 0.0)
    assert spec.phases == LoadProfile(1.0, 2.0, 10.0, 4.0)
    assert due_within(spec.stages, spec.churn_s) == 1300


def test_a_profile_of_a_closed_loop_has_a_duration_and_no_rate() -> None:
    spec = parse(CHURN + "profile: {ramp: 2s, sustain: 10s, ramp_down: 0s}\n", "s")
    assert (spec.stages, spec.churn_s) == ((), 12.0)


def test_a_profile_of_held_connections_is_a_ramp_and_a_hold() -> None:
    text = SMALLEST + "arrival: {rate: 100/s}\nprofile: {ramp: 2s, sustain: 10s, ramp_down: 4s}\n"
    spec = parse(text, "s")
    assert spec.stages == (Stage(0.0, 100.0, 2.0), Stage(100.0, 100.0, None))
    assert (spec.churn_s, spec.held_s) == (0.0, 10.0)


def test_what_is_left_out_is_long_on_a_host_and_short_in_a_lab() -> None:
    rate = "arrival: {rate: 100/s}\nprofile: {}\n"
    assert parse(CHURN + rate, "s").phases == ON_HOST
    assert parse(CHURN + rate + "lab: {}\n", "s").phases == IN_LAB
    plain = parse(SMALLEST + "profile: {}\n", "s").phases
    assert plain
    assert (plain.ramp_s, plain.ramp_down_s) == (0.0, ON_HOST.ramp_down_s), "as fast as possible: no rate to rise to"


def test_without_a_profile_all_is_as_it_was() -> None:
    spec = parse(SMALLEST + "arrival: {rate: 100/s, ramp: 2s}\nhold: 3s\n", "s")
    assert spec.phases is None
    assert (spec.stages, spec.held_s) == ((Stage(0.0, 100.0, 2.0), Stage(100.0, 100.0, None)), 3.0)


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        (SMALLEST + "hold: 3s\nprofile: {}\n", 5, "hold: profile.sustain says it; leave hold out"),
        (SMALLEST + "arrival: {rate: 9/s, ramp: 1s}\nprofile: {}\n", 5, "arrival.ramp: profile.ramp says it"),
        (SMALLEST + "arrival: {stages: [{to: 9/s, over: 1s}]}\nprofile: {}\n", 5, "arrival.stages: the profile makes"),
        (CHURN.replace("8}", "8, duration: 9s}") + "profile: {}\n", 4, "churn.duration: it is the sum of profile.ramp"),
        (SMALLEST + "profile: {ramp: 1s}\n", 5, "profile.ramp: there is no rate to rise to; add arrival"),
        (
            SMALLEST.replace('9000"', '9000", sink: true') + "close: target\nprofile: {ramp_down: 1s}\n",
            6,
            "profile.ramp_down: with close: target the sinks close what is held",
        ),
        (CHURN, 4, 'churn: duration is missing; add duration: "10s"'),
        (CHURN + "arrival: {rate: 1/h}\nprofile: {sustain: 1s}\n", 6, "profile.sustain: 0 connections are due"),
        (SMALLEST + "profile: {sustain: 1ms}\n", 5, "profile.sustain: write a duration from 100ms to 8760h"),
        (SMALLEST + "profile: {rampdown: 1s}\n", 5, 'unknown key "rampdown"; did you mean "ramp_down"'),
    ],
)
def test_a_contradiction_is_one_message_with_place_and_fix(text: str, place: int, words: str) -> None:
    message = str(refusal(text))
    assert message.startswith(f"s.yaml:{place}:")
    assert words in message


@example(rate=1.0, ramp_s=0.0, sustain_s=0.0, down_s=0.0, carry=1 - 2**-52)
@given(
    st.floats(0.1, 5000.0),
    *[st.floats(0.0, 20.0).map(lambda value: round(value, 3))] * 3,
    st.floats(0.0, 1.0, exclude_max=True),
)
def test_all_that_are_due_have_a_time_within_the_phases(
    rate: float, ramp_s: float, sustain_s: float, down_s: float, carry: float
) -> None:
    stages = stages_of(rate, LoadProfile(0.0, ramp_s, sustain_s, down_s), falls=True)
    whole_s = ramp_s + sustain_s + down_s
    count = min(due_within(stages, whole_s, carry=carry), 3000)
    due_ns = due_ns_of(stages, np.arange(count, dtype=np.int64), carry=carry)
    assert (np.diff(due_ns) >= 0).all()
    assert not count or due_ns[-1] <= whole_s * 1e9 + 1
