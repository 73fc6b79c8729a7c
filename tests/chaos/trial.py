"""A trial: one scenario, how it is run, and the faults that hit it. Data only, made of a seed, printed as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

#: Moments in the order in which a run comes to them, see `watcher.Watcher.reached`.
PHASES = ("start", "modules", "zygote", "sinks", "workers", "opening", "hold", "drain", "ended", "summary")


@dataclass(frozen=True, slots=True)
class Moment:
    """When a fault comes: a state of the run that is seen from outside, and a fraction of what it lasts."""

    phase: str
    fraction: float = 0.0

    def __str__(self) -> str:
        return f"{self.phase}+{self.fraction:.2f}"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. kind: a row of `faults.TABLE`. role: the process that it hits. how: numbers and names of that row."""

    kind: str
    moment: Moment
    role: str = "orchestrator"
    how: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        how = " ".join(f"{key}={value}" for key, value in self.how.items())
        return f"{self.kind} {self.role} at {self.moment}{' ' if how else ''}{how}"


@dataclass(frozen=True, slots=True)
class Trial:
    """One run with its faults. scenario: as YAML has it. view: pipe, pty or quiet."""

    scenario: Mapping[str, Any]
    faults: tuple[Fault, ...]
    view: str = "pipe"
    options: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The trial in one line, which `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Trial:
        """The same trial again. Raises: KeyError, TypeError, ValueError."""
        data = json.loads(text)
        faults = tuple(Fault(one["kind"], Moment(**one["moment"]), one["role"], one["how"]) for one in data["faults"])
        return cls(data["scenario"], faults, data["view"], tuple(data["options"]))
