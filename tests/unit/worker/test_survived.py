"""Failed calls of a worker that cost no connection."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterator

import pytest

from loadgen.worker import survived


@pytest.fixture(autouse=True)
def counts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """The counts, empty before and after; no pause."""
    monkeypatch.setattr(survived, "sleep", lambda _: None)
    survived.counts.clear()
    yield survived.counts
    survived.counts.clear()


class Socket:
    """One whose close() answers with this errno."""

    def __init__(self, number: int) -> None:
        self.number = number

    def close(self) -> None:
        raise OSError(self.number, "x")


@pytest.mark.parametrize("number", [errno.EIO, errno.EINTR, errno.ENOSPC, errno.EDQUOT])
def test_a_socket_is_closed_whatever_close_answers(counts: Counter[str], number: int) -> None:
    survived.close(Socket(number))
    assert counts == {f"close {errno.errorcode[number]}": 1}


def test_waits_may_fail_some_times_in_a_row(counts: Counter[str]) -> None:
    failure, in_a_row = OSError(errno.EINVAL, "Invalid argument"), 0
    for _ in range(19):
        in_a_row = survived.failed_wait(failure, in_a_row)
    with pytest.raises(OSError, match="epoll_wait: Invalid argument"):
        survived.failed_wait(failure, in_a_row)
    assert counts == {"epoll_wait EINVAL": 20}
