"""How long connect() waits for an answer, by the settings of this host, and ECN."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadgen.doctor import handshake
from loadgen.doctor.finding import Grade, Purpose

from .reading import HOST, found


@pytest.mark.parametrize(
    ("sysctls", "says"),
    [
        ({}, "given up after 131 s"),
        ({"tcp_syn_retries": "1"}, "again after 1, 2 s, given up after 3 s"),
        ({"tcp_rto_max_ms": "1000"}, "again after 1, 2, 3, 4, 5, 6 s, given up after 7 s"),
        ({"tcp_syn_linear_timeouts": "0", "tcp_syn_retries": "2"}, "again after 1, 3 s, given up after 7 s"),
    ],
)
def test_the_wait_for_an_answer_is_computed_from_three_settings(sysctls: dict[str, str], says: str) -> None:
    assert says in found(handshake.syn_retries, sysctls=sysctls).judgement.allows


@pytest.mark.parametrize(
    ("linear", "says"), [("4", "first 5 pauses"), ("0", "twice the one before"), ("1", "first 2 pauses")]
)
def test_pauses_are_a_second_each_at_first(linear: str, says: str) -> None:
    assert says in found(handshake.syn_linear, sysctls={"tcp_syn_linear_timeouts": linear}).judgement.allows


def test_the_longest_pause_is_named() -> None:
    assert "longer than 2.5 s" in found(handshake.rto_max, sysctls={"tcp_rto_max_ms": "2500"}).judgement.allows


def test_kernels_without_a_setting_have_no_row_for_it() -> None:
    old = replace(HOST, sysctls={"net.ipv4.tcp_syn_retries": "6"})
    assert not any(row.asked(old, Purpose()) for row in (handshake.syn_linear, handshake.rto_max))
    assert "given up after 127 s" in handshake.syn_retries.find(old, Purpose()).judgement.allows


@pytest.mark.parametrize(("value", "asks"), [("0", False), ("1", True), ("2", False), ("3", True), ("4", True)])
def test_a_syn_that_asks_for_ecn_may_be_dropped(value: str, *, asks: bool) -> None:
    finding = found(handshake.ecn, sysctls={"tcp_ecn": value})
    assert ("looks like loss" in finding.judgement.allows) is asks
    assert finding.verdict is Grade.GOOD
