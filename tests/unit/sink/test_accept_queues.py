"""Errors of accept4(2) and epoll_ctl(2), on a listening socket and an epoll object that fail as the test says."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from select import EPOLLIN
from typing import Any

import pytest

from loadgen.clock import now_ns
from loadgen.sink.accept_queues import PAUSE_NS, AcceptQueues
from loadgen.sink.counts import SurvivedFailures

ADDRESS = ("127.0.0.1", 40_000)


class ScriptedListener:
    """A listening socket whose accept4() fails with these errnos in turn (0: succeeds), then with EAGAIN."""

    def __init__(self, *numbers: int) -> None:
        self._numbers: Iterator[int] = iter(numbers)

    def _accept(self) -> tuple[int, tuple[str, int]]:
        if number := next(self._numbers, errno.EAGAIN):
            raise OSError(number, os.strerror(number))
        return 9, ADDRESS


class ScriptedEpoll:
    """An epoll object that remembers the events of each descriptor; `failing`: with this errno; 0: it works."""

    def __init__(self) -> None:
        self.watched: dict[int, int] = {}
        self.failing = 0

    def register(self, fd: int, events: int) -> None:
        if self.failing:
            raise OSError(self.failing, os.strerror(self.failing))
        self.watched[fd] = events

    modify = register


class Accepting:
    """Queues over descriptor 5, and what they count."""

    def __init__(self, after_s: float | None = 0, gather_s: float = 0.0, room: int = 65_535) -> None:
        self.poll, self._failures = ScriptedEpoll(), SurvivedFailures()
        self.queues = AcceptQueues(self.poll, self._failures, gather_s)  # type: ignore[arg-type]
        self.queues.add(5, after_s, room)

    def accept(self, *numbers: int) -> list[tuple[int, Any]]:
        return self.queues.accept(ScriptedListener(*numbers))  # type: ignore[arg-type]

    @property
    def survived(self) -> dict[str, int]:
        return self._failures.times


#: accept(2), "Error handling" and ERRORS, with what Linux may report beyond.
OF_ONE = (
    *(errno.ENETDOWN, errno.EPROTO, errno.ENOPROTOOPT, errno.EHOSTDOWN, errno.ENONET, errno.EHOSTUNREACH),
    *(errno.EOPNOTSUPP, errno.ENETUNREACH, errno.EPERM, errno.ETIMEDOUT, errno.ESOCKTNOSUPPORT, errno.EPROTONOSUPPORT),
)


@pytest.mark.parametrize("number", OF_ONE)
def test_an_error_of_one_connection_leaves_the_next_ones_alone(number: int) -> None:
    accepting = Accepting()
    assert accepting.accept(0, number, 0) == [(9, ADDRESS)] * 2
    assert accepting.survived == {f"accept4 {errno.errorcode[number]}": 1}
    assert accepting.poll.watched == {5: EPOLLIN}
    assert accepting.queues.exhausted == 0


def test_a_client_that_left_the_queue_is_no_failure() -> None:
    accepting = Accepting()
    assert accepting.accept(errno.ECONNABORTED, 0) == [(9, ADDRESS)]
    assert accepting.survived == {}


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_without_descriptors_or_memory_accepting_pauses(number: int) -> None:
    """What was accepted before is kept; the pause ends with its time, or as soon as a descriptor is free."""
    for freed, later_ns in ((False, PAUSE_NS + 10**9), (True, 0)):
        accepting = Accepting()
        assert accepting.accept(0, number, 0) == [(9, ADDRESS)]
        assert accepting.survived == {f"accept4 {errno.errorcode[number]}": 1}
        assert (accepting.queues.exhausted, accepting.queues.waiting) == (1, True)
        assert accepting.poll.watched == {5: 0}
        accepting.queues.run(now_ns() - PAUSE_NS, freed=False)
        assert accepting.poll.watched == {5: 0}
        accepting.queues.run(now_ns() + later_ns, freed=freed)
        assert accepting.poll.watched == {5: EPOLLIN}
        assert not accepting.queues.waiting


def test_an_error_that_stays_keeps_no_core_busy() -> None:
    accepting = Accepting()
    assert accepting.accept(*[errno.EINVAL] * 1_000) == []
    assert accepting.poll.watched == {5: 0}
    assert accepting.survived == {"accept4 EINVAL": 16}


def test_listeners_that_cannot_be_watched_are_tried_again() -> None:
    accepting = Accepting()
    accepting.accept(errno.EMFILE)
    accepting.poll.failing = errno.ENOMEM
    accepting.queues.run(now := now_ns() + 2 * PAUSE_NS, freed=False)
    assert accepting.queues.waiting
    accepting.poll.failing = 0
    accepting.queues.run(now + 2 * PAUSE_NS, freed=False)
    assert accepting.poll.watched == {5: EPOLLIN}
    assert accepting.survived == {"accept4 EMFILE": 1, "epoll_ctl ENOMEM": 1}


def test_a_later_listener_that_cannot_be_watched_is_tried_again() -> None:
    accepting = Accepting(after_s=1.0)
    accepting.queues.start(1)
    accepting.poll.failing = errno.ENOSPC
    accepting.queues.run(2 * 10**9, freed=False)
    assert (accepting.poll.watched, accepting.queues.waiting) == ({}, True)
    accepting.poll.failing = 0
    accepting.queues.run(2 * 10**9, freed=False)
    assert (accepting.poll.watched, accepting.queues.waiting) == ({5: EPOLLIN}, False)


def test_the_end_of_gathering_is_tried_again_too() -> None:
    accepting = Accepting(gather_s=0.001)
    assert accepting.accept(0) == [(9, ADDRESS)]
    assert accepting.poll.watched == {5: 0}
    accepting.poll.failing = errno.ENOMEM
    accepting.queues.run(now := now_ns() + 10**9, freed=False)
    accepting.poll.failing = 0
    accepting.queues.run(now + 2 * PAUSE_NS, freed=False)
    assert accepting.poll.watched == {5: EPOLLIN}


def test_connections_gather_only_in_a_long_queue_that_was_emptied() -> None:
    for accepting, gathers in (
        (Accepting(gather_s=0.001), True),
        (Accepting(gather_s=0.001, room=128), False),
        (Accepting(), False),
    ):
        assert len(accepting.accept(*[0] * 200)) == 128  # a full batch
        assert (accepting.queues.gather_until_ns, accepting.poll.watched) == (0, {5: EPOLLIN})
        accepting.accept(0)
        assert (accepting.queues.gather_until_ns > 0, accepting.poll.watched) == (
            gathers,
            {5: 0 if gathers else EPOLLIN},
        )


def test_connections_stop_gathering_for_a_second_where_a_pause_ends_far_too_late() -> None:
    """On a machine that others keep busy; a pause that is a little late changes nothing."""
    for late, gathers in ((1, True), (3, False)):
        accepting = Accepting(gather_s=0.001)
        accepting.accept(0)
        accepting.queues.run(accepting.queues.gather_until_ns + late * 1_000_000, freed=False)
        assert accepting.poll.watched == {5: EPOLLIN}
        accepting.accept(0)
        assert (accepting.queues.gather_until_ns > 0) == gathers
