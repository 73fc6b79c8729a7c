"""loadgen on a pseudo terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.terminals import PseudoTerminal

from .conftest import Loadgen, environment


class Terminal(PseudoTerminal):
    """loadgen, at home where its fixture is, in the foreground of a pseudo terminal."""

    def __init__(
        self,
        loadgen: Loadgen,
        scenario: Path | None,
        *args: str,
        command: Sequence[str | Path] = (),
        width: int = 100,
        height: int = 30,
        stdout: int | None = None,
        stderr: int | None = None,
        **env: str,
    ) -> None:
        """args: of `run`. command: to run instead of `loadgen run SCENARIO`."""
        super().__init__(
            command or [*loadgen.command, "run", str(scenario), *args],
            cwd=loadgen.home,
            env=environment(**({"TERM": "xterm-256color"} | env)),
            width=width,
            height=height,
            stdout=stdout,
            stderr=stderr,
        )
