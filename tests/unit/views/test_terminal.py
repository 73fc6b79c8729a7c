"""Whose a terminal is."""

from __future__ import annotations

import io
import os

import pytest
from rich.console import Console

from loadgen.views import terminal


def test_without_job_control_no_program_is_in_the_background() -> None:
    assert not terminal.in_background(Console(file=io.StringIO()))
    master, slave = os.openpty()
    try:
        with os.fdopen(slave, "w") as file:  # not the controlling terminal of this process: ENOTTY
            assert not terminal.in_background(Console(file=file))
    finally:
        os.close(master)


@pytest.mark.parametrize(("group", "expected"), [(0, False), (4711, False), (4712, True)])
def test_the_group_in_the_foreground(monkeypatch: pytest.MonkeyPatch, group: int, expected: bool) -> None:
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: group)
    monkeypatch.setattr(os, "getpgrp", lambda: 4711)
    with open(os.devnull, "w") as file:
        assert terminal.in_background(Console(file=file)) is expected
