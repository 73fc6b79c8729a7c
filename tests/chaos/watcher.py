"""A run as it is seen from outside while it lasts: its processes, its series, and the moments that it has come to."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from . import processes
from .processes import Roles
from .trial import PHASES, Moment, Trial

_POLL_S: Final = 0.005
#: Loading the modules takes about as long; a moment of phase "modules" is a fraction of it.
_MODULES_S: Final = 0.4
#: So is the drain of these small scenarios.
_DRAIN_S: Final = 0.2


@dataclass
class Watcher:
    """Looks at one run. mark: of its processes; popen: what was started; home: where results/ and the streams are."""

    trial: Trial
    popen: subprocess.Popen[bytes]
    mark: str
    home: Path
    deadline: float

    def __post_init__(self) -> None:
        self.began = time.monotonic()
        self._held_since: float | None = None
        #: Set once the other side of the run's terminal is to be closed.
        self.hung_up = False
        self.stop_reading = threading.Event()

    @property
    def stderr(self) -> str:
        """What it has written on stderr, or on its terminal."""
        try:
            return (self.home / "stderr").read_text(errors="replace")
        except OSError:
            return ""

    @property
    def running(self) -> bool:
        """True while the first process has not ended and there is time left."""
        return self.popen.poll() is None and time.monotonic() < self.deadline

    @property
    def run(self) -> Path | None:
        """The run directory, once there is one."""
        return next(self.home.glob("results/*/"), None)

    def roles(self) -> Roles:
        """Its processes now."""
        return processes.roles(self.popen.pid, int(self.trial.scenario.get("sinks", 1)))

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The whole lines of a file of the run directory; none while it is not there."""
        try:
            text = (self.run / name).read_text() if self.run else ""
        except OSError:
            return []
        found = []
        for line in text.splitlines(keepends=True):
            if line.endswith("\n"):
                try:
                    found.append(json.loads(line))
                except ValueError:
                    continue
        return found

    def wait(self, moment: Moment) -> bool:
        """Wait until the run has come to a moment; False if it ended before."""
        return self.until(lambda: self.reached(moment))

    def until(self, look: Callable[[], object]) -> bool:
        """Wait until `look()` is true; False if the run ended before."""
        while not look():
            if not self.running:
                return False
            time.sleep(_POLL_S)
        return True

    def reached(self, moment: Moment) -> bool:
        """Return True if the run has come to this moment, or is past it."""
        match moment.phase:
            case "start":
                return True
            case "modules":
                return time.monotonic() - self.began >= moment.fraction * _MODULES_S
            case "zygote":
                return self.roles().zygote is not None
            case "sinks":
                return bool(self.roles().sinks)
            case "workers":
                return len(self.roles().workers) >= int(self.trial.scenario.get("workers", 1))
            case "ended":
                return any(line.get("event") == "ended" for line in self.lines("events.jsonl"))
            case "summary":
                return self.run is not None and (self.run / "summary.json").exists()
            case _:
                return self._reached_load(moment)

    def _reached_load(self, moment: Moment) -> bool:
        """The same for the phases that the series tells of."""
        lines = self.lines("series.jsonl")
        if not lines:
            return False
        spec, last = self.trial.scenario, lines[-1]
        # A phase writes its last line at its end, so the hold begins when all are answered for.
        held = _seconds(spec["churn"]["duration"]) if "churn" in spec else _seconds(spec["hold"])
        opened = last["phase"] in ("hold", "drain", "done") or (
            "churn" not in spec and last["started"] + last["not_started"] >= spec["connections"]
        )
        if "churn" in spec:
            opened = True
        if opened and self._held_since is None:
            self._held_since = time.monotonic()
        if moment.phase == "opening":
            return opened or bool(last["started"] >= moment.fraction * spec.get("connections", 0))
        if self._held_since is None:
            return False
        since = time.monotonic() - self._held_since
        return since >= (moment.fraction * held if moment.phase == "hold" else held + moment.fraction * _DRAIN_S)


def near_the_end(moment: Moment) -> bool:
    """Return True if the run may be over before a fault of that moment has come, on a machine that is busy."""
    return PHASES.index(moment.phase) >= PHASES.index("hold")


def _seconds(text: str) -> float:
    return float(text.removesuffix("ms")) / 1000 if text.endswith("ms") else float(text.removesuffix("s"))
