"""Closing in order, by a reset, and against errors."""

from __future__ import annotations

import errno
import os
import socket
from select import EPOLLIN, epoll

import pytest

from loadgen.sink.closing import release, reset_at_close
from loadgen.sink.counts import SurvivedFailures


@pytest.mark.parametrize("number", [errno.EIO, errno.EINTR, errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("released", [True, False])
def test_a_descriptor_whose_close_fails_is_not_watched_any_more(
    monkeypatch: pytest.MonkeyPatch, number: int, released: bool
) -> None:
    """Whether the kernel has released it, as close(2) says, or not."""
    close, failures = os.close, SurvivedFailures()

    def failing(fd: int) -> None:
        if released:
            close(fd)
        raise OSError(number, os.strerror(number))

    ours, theirs = socket.socketpair()
    fd = ours.detach()
    with epoll() as poll, theirs:
        poll.register(fd, EPOLLIN)
        monkeypatch.setattr(os, "close", failing)
        release(fd, poll, failures)
        monkeypatch.undo()
        theirs.shutdown(socket.SHUT_WR) if not released else None
        assert poll.poll(0) == []
    assert failures.times == {f"close {errno.errorcode[number]}": 1}
    if not released:
        close(fd)


def test_a_reset_that_cannot_be_set_is_counted() -> None:
    reading, writing = os.pipe()
    failures = SurvivedFailures()
    reset_at_close(reading, failures)
    os.close(reading)  # the descriptor is still ours to close
    os.close(writing)
    assert failures.times == {"setsockopt ENOTSOCK": 1}
