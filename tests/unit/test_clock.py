"""The clock and its alarm. Waits are limited and normally end at once."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from datetime import timedelta
from time import clock_gettime_ns

import pytest

from loadgen.clock import NS_PER_S, NS_PER_US, Alarm, now_ns, wall_clock

CLOCK_MONOTONIC = 1
FAR_NS = 3600 * NS_PER_S


@pytest.fixture
def alarm() -> Iterator[Alarm]:
    made = Alarm()
    yield made
    os.close(made.fileno())


def rings(alarm: Alarm, *, within_ms: int = 0) -> bool:
    poll = select.poll()
    poll.register(alarm.fileno(), select.POLLIN)
    return bool(poll.poll(within_ms))


def test_the_clock_is_the_one_of_the_whole_machine() -> None:
    before = clock_gettime_ns(CLOCK_MONOTONIC)
    assert before <= now_ns() <= clock_gettime_ns(CLOCK_MONOTONIC)
    assert NS_PER_S == 1000 * 1000 * NS_PER_US == 10**9


def test_wall_time_is_utc() -> None:
    assert wall_clock().utcoffset() == timedelta(0)


def test_an_alarm_that_was_never_set_does_not_expire(alarm: Alarm) -> None:
    assert not rings(alarm)
    alarm.clear()
    assert not rings(alarm)


@pytest.mark.parametrize("at_ns", [-1, 0, 1, NS_PER_S])
def test_a_time_that_has_passed_expires_at_once(alarm: Alarm, at_ns: int) -> None:
    """0 too, though to timerfd_settime(2) it means "never"."""
    alarm.set(at_ns)
    assert rings(alarm)
    alarm.clear()
    assert not rings(alarm)


def test_it_expires_at_its_time_and_not_before(alarm: Alarm) -> None:
    at_ns = now_ns() + 3_000_000
    alarm.set(at_ns)
    assert rings(alarm, within_ms=5000)
    assert now_ns() >= at_ns


def test_a_later_setting_replaces_an_earlier_one(alarm: Alarm) -> None:
    alarm.set(1)
    alarm.set(now_ns() + FAR_NS)
    assert not rings(alarm)
    alarm.clear()
    alarm.set(now_ns() + FAR_NS)
    alarm.set(1)
    assert rings(alarm)


def test_it_does_not_expire_again_until_it_is_set(alarm: Alarm) -> None:
    for _ in range(3):
        alarm.set(now_ns())
        assert rings(alarm, within_ms=5000)
        alarm.clear()
        assert not rings(alarm)


def test_its_descriptor_is_not_inherited(alarm: Alarm) -> None:
    assert not os.get_inheritable(alarm.fileno())
    assert not os.get_blocking(alarm.fileno())
