"""Sockets made ready: round robin, passed over where there is no port, given back in order. No network."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import pytest

from loadgen.outcomes import Syscall, error_key
from loadgen.worker import socket_pool
from loadgen.worker.backoff import Exhaustion
from loadgen.worker.socket_pool import Ready

IN_USE = error_key(Syscall.BIND, errno.EADDRINUSE)


class Fake:
    """A socket that only knows whether it is closed; every one that was made is in `made`."""

    made: list[Fake]
    fails = 0

    def __init__(self, _family: int, _kind: int) -> None:
        if Fake.fails:
            raise OSError(Fake.fails, "no socket")
        self.closed = False
        Fake.made.append(self)

    def close(self) -> None:
        self.closed = True


class Ports:
    """Numbers ports from 1 on; `answers` are what the next calls return instead, an OSError being raised."""

    retried = 0

    def __init__(self, *answers: int | OSError) -> None:
        self.answers: list[int | OSError] = list(answers)
        self.next = 0
        self.back: list[tuple[int, int]] = []

    def prepare(self, _sock: Any, _pair: int) -> int:
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, OSError):
                raise answer
            return answer
        self.next += 1
        return self.next

    def unused(self, pair: int, port: int) -> None:
        self.back.append((pair, port))

    def another(self, sock: Any, pair: int) -> int:
        raise AssertionError(sock, pair)

    def release(self, pair: int, port: int) -> None:
        raise AssertionError(pair, port)

    def denied(self, pair: int, ports: Sequence[int]) -> None:
        raise AssertionError(pair, ports)


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    Fake.made, Fake.fails = [], 0
    monkeypatch.setattr(socket_pool, "Socket", Fake)
    monkeypatch.setattr(socket_pool, "now_ns", lambda: 0)


def made(ports: Ports, pairs: int = 3, first_pair: int = 0) -> tuple[Ready, Exhaustion]:
    exhausted = Exhaustion(pairs)
    return Ready([2] * pairs, ports, exhausted, first_pair=first_pair), exhausted


def test_pairs_take_turns_and_no_more_is_made_than_is_missing() -> None:
    some, _ = made(Ports(), first_pair=1)
    some.make(2)
    some.make(5)
    assert [(pair, port) for _, pair, port in some.waiting] == [(1, 1), (2, 2), (0, 3), (1, 4), (2, 5)]
    some.make(3)
    assert len(Fake.made) == 5


def test_another_order_of_the_pairs_is_kept_and_goes_on_where_it_was() -> None:
    some = Ready([2] * 3, Ports(), Exhaustion(3), first_pair=1, order=cycle([0, 2, 0, 1]))
    some.make(3)
    some.make(6)
    assert [pair for _, pair, _ in some.waiting] == [0, 2, 0, 1, 0, 2]


def test_in_another_order_too_those_that_rest_give_way_to_the_next_in_number() -> None:
    exhausted = Exhaustion(3)
    some = Ready([2] * 3, Ports(), exhausted, first_pair=0, order=cycle([0, 2, 0, 1]))
    exhausted.denied(0, 0)
    some.make(5)
    assert [pair for _, pair, _ in some.waiting] == [1, 2, 1, 1, 1]


def test_a_pair_that_rests_is_passed_over_and_a_doubtful_one_gets_one_socket() -> None:
    some, exhausted = made(Ports())
    exhausted.denied(0, 0)  # rests from now on
    exhausted.denied(1, -(10**9))  # has rested
    some.make(6)
    assert [pair for _, pair, _ in some.waiting] == [1, 2, 2, 2, 2, 2]


def test_when_every_pair_rests_nothing_is_made() -> None:
    some, exhausted = made(Ports(), pairs=2)
    exhausted.denied(0, 0)
    exhausted.denied(1, 0)
    some.make(4)
    assert some.waiting == []


def test_what_fails_waits_in_its_place_with_its_reason() -> None:
    some, _ = made(Ports(-errno.EACCES, OSError(errno.EINVAL, "option")), pairs=1)
    some.make(3)
    assert [key for sock, _, key in some.waiting if sock is None] == [
        error_key(Syscall.BIND, errno.EACCES),
        error_key(Syscall.SETSOCKOPT, errno.EINVAL),
    ]
    assert [sock.closed for sock in Fake.made] == [True, True, False]
    Fake.fails = errno.EMFILE
    some.make(4)
    assert some.waiting[-1] == (None, 0, error_key(Syscall.SOCKET, errno.EMFILE))


def test_one_search_of_a_full_range_is_enough_for_a_batch() -> None:
    some, _ = made(Ports(-errno.EADDRINUSE), pairs=1)
    some.make(4)
    assert [(sock, key) for sock, _, key in some.waiting] == [(None, IN_USE)]
    assert all(sock.closed for sock in Fake.made)


def test_what_is_not_needed_is_given_back_the_last_first() -> None:
    ports = Ports()
    some, _ = made(ports)
    some.make(3)
    some.give_back(some.waiting[1:])
    assert ports.back == [(2, 3), (1, 2)]
    some.clear()
    assert some.waiting == []
    assert all(sock.closed for sock in Fake.made)
