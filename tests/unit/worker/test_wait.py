"""Waits end at their instant, or when there is something to read. They are limited and normally end at once."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from errno import EINVAL
from types import SimpleNamespace

import pytest

from loadgen.clock import NS_PER_S, now_ns
from loadgen.worker import survived
from loadgen.worker.wait import be_exact, readable

FAR_NS = 60 * NS_PER_S


@pytest.fixture
def pipes() -> Iterator[list[tuple[int, int]]]:
    made = [os.pipe() for _ in range(3)]
    yield made
    for pipe in made:
        for fd in pipe:
            os.close(fd)


def test_what_is_readable_ends_a_wait(pipes: list[tuple[int, int]]) -> None:
    fds = [reading for reading, _ in pipes]
    os.write(pipes[1][1], b"x")
    assert readable(fds, FAR_NS) == [pipes[1][0]]
    os.write(pipes[0][1], b"x")
    assert readable(fds, FAR_NS) == [pipes[0][0], pipes[1][0]]
    os.read(pipes[0][0], 1)
    assert readable(fds, 0) == [pipes[1][0]]


@pytest.mark.parametrize("limit_ns", [-1, 0, 1, 3_000_000])
def test_a_wait_lasts_as_long_as_asked_and_not_shorter(pipes: list[tuple[int, int]], limit_ns: int) -> None:
    begun = now_ns()
    assert readable([pipes[0][0]], limit_ns) == []
    assert now_ns() - begun >= limit_ns


def test_a_descriptor_that_no_wait_can_have_is_refused() -> None:
    with pytest.raises(ValueError, match="out of range"):
        readable([1024], 0)  # FD_SETSIZE


def test_timer_slack_that_cannot_be_set_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, int | None]] = []
    monkeypatch.setattr(survived, "add", lambda call, error: told.append((call, error.errno)))
    be_exact()
    assert told == []
    monkeypatch.setattr(
        ctypes, "CDLL", lambda *_, **__: SimpleNamespace(prctl=lambda *_: ctypes.set_errno(EINVAL) or -1)
    )
    be_exact()
    assert told == [("prctl", EINVAL)]
