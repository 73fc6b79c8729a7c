"""Many trials, some at a time, and what came of them."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from . import invariants, perform, processes
from .invariants import Evidence
from .trial import Fault, Trial


@dataclass(frozen=True)
class Failure:
    """A trial after which not every invariant held. broken: by name, what each saw."""

    name: str
    evidence: Evidence
    broken: dict[str, str]


@dataclass
class Outcome:
    """All trials together. tries, failures: by kind of fault; a fault that never came is no try, and is in `missed`."""

    tries: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    failed: list[Failure] = field(default_factory=list)
    missed: list[Fault] = field(default_factory=list)
    reached: set[str] = field(default_factory=set)
    trials: int = 0

    @property
    def faults(self) -> int:
        """How many faults came."""
        return self.tries.total()

    @property
    def never_made(self) -> list[str]:
        """The system calls that were to fail, and that no process of that role has made when they were."""
        return sorted({_call(fault) for fault in self.missed if "call" in fault.how} - self.reached)

    def take(self, name: str, evidence: Evidence) -> Failure | None:
        """Count a trial; returns the failure if it is one."""
        broken = invariants.broken(evidence)
        self.trials += 1
        for fault in evidence.done:
            self.tries[fault.kind] += 1
            self.failures[fault.kind] += bool(broken)
            if "call" in fault.how:
                self.reached.add(_call(fault))
        self.missed += [fault for fault in evidence.trial.faults if fault not in evidence.done]
        if not broken:
            return None
        self.failed.append(Failure(name, evidence, broken))
        return self.failed[-1]


def _call(fault: Fault) -> str:
    return f"{fault.role} {fault.how['call']}"


def run(
    trials: Iterable[tuple[str, Trial]],
    base: Path,
    *,
    jobs: int,
    faults: int,
    shim: Path | None,
    tell: Callable[[str, Evidence, Failure | None, Outcome], None],
    time_s: float = float("inf"),
) -> Outcome:
    """Perform trials, `jobs` at a time, until that many faults have come, the time is over or there are no more.

    The directory of a trial is removed unless it failed. tell: called after each trial.
    """
    outcome = Outcome()
    deadline = time.monotonic() + time_s
    left = iter(trials)
    waiting: dict[Future[Evidence], str] = {}
    with ThreadPoolExecutor(jobs) as pool:
        try:
            while True:
                while len(waiting) < jobs and outcome.faults < faults and time.monotonic() < deadline:
                    following = next(left, None)
                    if following is None:
                        break
                    name, trial = following
                    waiting[pool.submit(perform.perform, trial, base, shim)] = name
                if not waiting:
                    return outcome
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    name, evidence = waiting.pop(future), future.result()
                    failure = outcome.take(name, evidence)
                    if not failure:
                        shutil.rmtree(evidence.home, ignore_errors=True)
                    tell(name, evidence, failure, outcome)
        except BaseException:  # an interrupt: the trials under way end now, and their threads with them
            for mark in tuple(perform.active):
                processes.end(mark)
            raise
