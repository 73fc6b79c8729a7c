"""The command to collect: a line for a POSIX shell that only reads."""

from __future__ import annotations

import shutil
import subprocess

from loadgen.explain import collect


def test_it_is_one_line_that_a_posix_shell_understands() -> None:
    command = collect.command()
    assert "\n" not in command
    shell = shutil.which("dash") or shutil.which("sh")
    assert shell
    assert subprocess.run([shell, "-n", "-c", command], check=False, timeout=10).returncode == 0


def test_it_writes_nothing() -> None:
    command = collect.command()
    assert command.count(">") == command.count(">/dev/null")
