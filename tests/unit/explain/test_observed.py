"""Symptoms that nobody complains of."""

from __future__ import annotations

from loadgen.explain import observed
from tests.unit.explain.samples import RANGE, case, listing, space


def seen(*texts: str) -> list[tuple[str, str, bool]]:
    """(source, target, complained) of each symptom."""
    return [(one.source, one.to, one.complained) for one in observed.of_case(case(*texts))]


def test_full_spaces_are_seen_and_others_are_not() -> None:
    assert seen(RANGE, listing(*space("ESTAB", 90))) == [("10.0.0.5", "10.0.0.7:80", False)]
    assert seen(RANGE, listing(*space("ESTAB", 89))) == []


def test_attempts_without_an_answer_are_seen_beyond_those_just_under_way() -> None:
    assert seen(listing(*space("SYN-SENT", 10))) == [("10.0.0.5", "10.0.0.7:80", False)]
    assert seen(listing(*space("SYN-SENT", 9))) == []
    assert seen(listing(*space("SYN-SENT", 10), *space("ESTAB", 100, low=41_000))) == []


def test_healthy_settings_and_counters_are_no_symptom() -> None:
    assert seen("net.ipv4.tcp_tw_reuse = 1\nnet.ipv4.tcp_timestamps = 1\nnet.core.somaxconn = 4096\n") == []
