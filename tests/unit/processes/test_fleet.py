"""Exit codes in words; the processes themselves are tested in tests/lab."""

from __future__ import annotations

import pytest

from loadgen.processes.fleet import Member, how_it_was_lost
from loadgen.processes.link import Link


@pytest.mark.parametrize(
    ("exit_code", "text"),
    [(None, "gone"), (-9, "killed by SIGKILL"), (-200, "killed by signal 200"), (3, "ended with code 3")],
)
def test_how_a_process_ended(exit_code: int | None, text: str) -> None:
    link, other = Link.pair()
    assert how_it_was_lost(Member("worker", 0, 1, link, exit_code=exit_code)) == text
    link.close()
    other.close()
