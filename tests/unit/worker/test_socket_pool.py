"""Sockets prepared in turn, with the reason where that fails, and given back in order. No network."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any

import pytest

from loadgen.outcomes import Syscall, error_key
from loadgen.worker import socket_pool
from loadgen.worker.socket_pool import SocketPool

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


def pool(ports: Ports, pairs: int = 3) -> SocketPool:
    """A pool whose turns go round robin; the order itself is tested with the lifecycle."""
    turns = cycle(range(pairs))
    return SocketPool([2] * pairs, ports, lambda count: list(islice(turns, max(count, 0))))


def test_pairs_take_turns_and_no_more_is_prepared_than_is_missing() -> None:
    some = pool(Ports())
    some.fill(2)
    some.fill(5)
    assert [(pair, port) for _, pair, port in some.ready] == [(0, 1), (1, 2), (2, 3), (0, 4), (1, 5)]
    some.fill(3)
    assert len(Fake.made) == 5


def test_without_a_turn_no_socket_is_made() -> None:
    some = SocketPool([2], Ports(), lambda _count: [])
    some.fill(4)
    assert (some.ready, Fake.made) == ([], [])


def test_a_failure_waits_in_its_place_with_its_reason() -> None:
    some = pool(Ports(-errno.EACCES, OSError(errno.EINVAL, "option")), pairs=1)
    some.fill(3)
    assert [key for sock, _, key in some.ready if sock is None] == [
        error_key(Syscall.BIND, errno.EACCES),
        error_key(Syscall.SETSOCKOPT, errno.EINVAL),
    ]
    assert [sock.closed for sock in Fake.made] == [True, True, False]
    Fake.fails = errno.EMFILE
    some.fill(4)
    assert some.ready[-1] == (None, 0, error_key(Syscall.SOCKET, errno.EMFILE))


def test_one_search_of_a_full_range_is_enough_for_a_batch() -> None:
    some = pool(Ports(-errno.EADDRINUSE), pairs=1)
    some.fill(4)
    assert [(sock, key) for sock, _, key in some.ready] == [(None, IN_USE)]
    assert all(sock.closed for sock in Fake.made)


def test_sockets_that_are_not_needed_are_given_back_the_last_first() -> None:
    ports = Ports()
    some = pool(ports)
    some.fill(3)
    some.give_back(some.ready[1:])
    assert ports.back == [(2, 3), (1, 2)]
    some.clear()
    assert some.ready == []
    assert all(sock.closed for sock in Fake.made)
