"""Figures of the evidence: what moved, what is a number, what is not known."""

from __future__ import annotations

import pytest

from loadgen.explain.case import Case, plain_number
from tests.pasted import read
from tests.unit.explain.samples import case, listing

OVERFLOWS = "TcpExt.ListenOverflows"


def nstat(value: int) -> str:
    return f"$ nstat -az\n#kernel\nTcpExtListenOverflows {value} 0.0\nTcpExtTCPSynRetrans 7 0.0\n"


def test_a_counter_moves_between_two_readings_of_one_file_only() -> None:
    once = case(nstat(5)).movement(OVERFLOWS)
    assert once
    assert (once.value, once.moved, once.text) == (5, None, f"{OVERFLOWS} 5 since boot")
    twice = case(nstat(5), nstat(9)).movement(OVERFLOWS)
    assert twice
    assert (twice.moved, twice.text) == (4, f"{OVERFLOWS} +4")
    two_files = read(nstat(9), file="server", evidence=read(nstat(5), file="client"))
    found = Case(two_files).movement(OVERFLOWS)
    assert found
    assert found.moved is None


def test_a_counter_that_went_back_is_of_another_host_or_boot() -> None:
    found = case(nstat(9), nstat(5)).movement(OVERFLOWS)
    assert found
    assert found.moved is None


def test_the_same_text_twice_is_one_reading_and_one_counter_that_stood_still_is_not() -> None:
    same = case(nstat(5), nstat(5)).movement(OVERFLOWS)
    still = case(nstat(5), nstat(9)).movement("TcpExt.TCPSynRetrans")
    assert same
    assert still
    assert (same.moved, still.moved) == (None, 0)


def test_what_was_not_pasted_is_unknown_and_not_zero() -> None:
    nothing = case("")
    assert (nothing.movement(OVERFLOWS), nothing.gauge("sockstat.tcp_tw"), nothing.sockets, nothing.tracked) == (
        None,
        None,
        None,
        None,
    )
    assert (nothing.lists_tcp, nothing.lists_all, nothing.full_queues) == (False, False, [])


def test_a_listing_of_selected_sockets_does_not_show_all() -> None:
    assert case(listing("ESTAB 10.0.0.5:40000 10.0.0.7:80")).lists_all
    assert not case(listing("ESTAB 10.0.0.5:40000 10.0.0.7:80").replace("-tan", "-tan state established")).lists_all


@pytest.mark.parametrize(
    ("text", "is_one"), [("1", True), ("0", True), ("-1", False), ("9" * 20, False), ("", False), ("٣", False)]
)
def test_a_number_of_a_setting_is_one_that_the_kernel_can_have(text: str, is_one: bool) -> None:
    assert plain_number(text) is is_one
