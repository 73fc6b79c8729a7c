"""The end of a process in words; the processes themselves are tested in tests/lab."""

from __future__ import annotations

import pytest

from loadgen.processes.fleet import Member, how_it_was_lost
from loadgen.processes.link import Link


@pytest.mark.parametrize(
    ("known", "text"),
    [
        ({}, "is gone"),
        ({"exit_code": -9}, "was killed by SIGKILL"),
        ({"exit_code": -200}, "was killed by signal 200"),
        ({"exit_code": 3}, "ended with code 3"),
        (
            {"exit_code": 1, "failure": "[Errno 22] epoll_wait: Invalid argument"},
            "could not go on ([Errno 22] epoll_wait: Invalid argument)",
        ),
        ({"exit_code": -9, "given_up": "was stopped for 5 s"}, "was stopped for 5 s and was killed"),
    ],
)
def test_how_a_process_was_lost(known: dict[str, object], text: str) -> None:
    """Its own reason, and that of the orchestrator, say more than an exit code."""
    link, other = Link.pair()
    assert how_it_was_lost(Member("worker", 0, 1, link, **known)) == text  # type: ignore[arg-type]
    link.close()
    other.close()
