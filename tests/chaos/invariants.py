"""Facts that hold after every trial, whatever hit it. Each is a function; its name stands in the table of failures.

An invariant returns "" if it holds, else what it saw.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from .trial import Fault, Trial
from .watcher import near_the_end

_BUG, _FINE, _HOST, _INCOMPLETE, _EXPECTATION, _INTERRUPTED = 1, 0, 3, 4, 99, 130
#: Faults after which both sides may differ, as far as the summary says so.
_BETWEEN: Final = (
    "link-down",
    "slow-link",
    "rules",
    "garbage",
    "inject",
    "inject-from-start",
    "limit",
    "limit-from-start",
)


#: Calls with which the run directory is written and read.
_FILES: Final = ("write", "read", "openat", "rename", "close", "fstat", "newfstatat", "lseek", "mkdir", "mmap")


@dataclass
class Evidence:
    """All that a trial left.

    done: the faults that came; over: those of them that came when the end of the run was written already; during: those
    after which the load went on, without a doubt. left: what is still there; report: why it cannot be made. rebuilt:
    the summary that it has where no summary.json was written.
    state: of each process of a run that hung. trouble: what went wrong in the harness.
    """

    trial: Trial
    code: int | None
    out: str = ""
    err: str = ""
    summary: Mapping[str, Any] | None = None
    events: tuple[Mapping[str, Any], ...] = ()
    series: tuple[Mapping[str, Any], ...] = ()
    run: str = ""
    done: tuple[Fault, ...] = ()
    over: tuple[Fault, ...] = ()
    during: tuple[Fault, ...] = ()
    left: tuple[str, ...] = ()
    crashes: tuple[str, ...] = ()
    report: str = ""
    rebuilt: Mapping[str, Any] | None = None
    state: str = ""
    seconds: float = 0.0
    home: str = ""
    trouble: tuple[str, ...] = ()

    def hit(self, kind: str, *roles: str) -> list[Fault]:
        """Return the faults of this kind that came, of these roles if any are given."""
        return [fault for fault in self.done if fault.kind == kind and (not roles or fault.role in roles)]

    @property
    def killed(self) -> bool:
        """True if the orchestrator was ended in a way that no process can handle."""
        return bool(self.hit("kill", "orchestrator"))

    @property
    def in_interpreter(self) -> bool:
        """True if a signal came while Python itself may still have been starting, before any line of loadgen."""
        return not self.run and any(fault.moment.phase == "modules" for fault in self.asked_to_end)

    @property
    def asked_to_end(self) -> list[Fault]:
        """The faults that ask the run to end."""
        return [*self.hit("end"), *self.hit("hangup")]

    @property
    def numbers(self) -> Mapping[str, Any] | None:
        """The summary, or what `report` makes of the run directory without one."""
        return self.summary or self.rebuilt


def ended_in_time(it: Evidence) -> str:
    """No run hangs."""
    return f"still there after {it.seconds:.0f} s; {it.state}" if it.code is None else ""


def no_traceback(it: Evidence) -> str:
    """A traceback never reaches a user."""
    for name, text in (("stderr", it.err), ("stdout", it.out)):
        found = "Traceback (most recent call last)" in text or "Fatal Python error" in text
        if found and not (it.in_interpreter and "/loadgen/" not in text):
            return f"on {name}: {_last_line(text)}"
    return ""


def nothing_unforeseen(it: Evidence) -> str:
    """Every error of a call is foreseen, so there is no crash file."""
    if it.crashes:
        return f"crash file: {it.crashes[0]}"
    found = re.search(r"(?:unforeseen |a bug in loadgen)[^\n]*", it.err)
    return found[0] if found else ""


def exit_code_of_the_contract(it: Evidence) -> str:
    """The code is one that the documentation names, or the signal that nothing can handle."""
    if it.code is None or it.code in (_FINE, _HOST, _INCOMPLETE, _EXPECTATION, _INTERRUPTED):
        return ""
    if it.code < 0 and (it.killed or it.in_interpreter):
        return ""
    if it.code == _BUG and it.in_interpreter and "/loadgen/" not in it.err:
        return ""
    return f"exit {it.code}: {_last_line(it.err)}"


def exit_code_fits(it: Evidence) -> str:
    """The code says what became of the run."""
    summary = it.summary
    if it.code is None or it.killed:
        return ""
    if it.code == _FINE and not (summary and summary["complete"]):
        return "exit 0 without a complete summary"
    if it.code == _INCOMPLETE and summary and summary["complete"]:
        return "exit 4 with a complete summary"
    if it.code == _INTERRUPTED and not it.asked_to_end:
        return "exit 130 without an interrupt"
    in_time = [fault for fault in it.asked_to_end if fault not in it.over and not near_the_end(fault.moment)]
    if in_time and it.code in (_FINE, _EXPECTATION):
        return f"exit {it.code} after {in_time[0]}"
    lost = [fault for fault in it.during if _takes_away(fault)]
    if lost and it.code in (_FINE, _EXPECTATION):
        return f"exit {it.code} after {lost[0]}"
    if all(fault.kind == "none" for fault in it.trial.faults) and it.code != _FINE:
        return f"exit {it.code} without any fault: {_last_line(it.err)}"
    return ""


def _takes_away(fault: Fault) -> bool:
    """Return True if it takes a process away that the load needs.

    SIGTERM to one of the others may be ignored; a zygote that stands still has nothing more to do.
    """
    if fault.kind == "kill":
        return bool(fault.how["signal"] != "SIGTERM")
    return fault.kind == "stop" and fault.role != "zygote"


def says_why(it: Evidence) -> str:
    """A run that is not fine says so on stderr in words, where stderr can be written."""
    silent = any(fault.role == "stderr" for fault in it.hit("output")) or it.hit("hangup") or it.killed
    silent = silent or it.in_interpreter or any(map(_writes_nothing, it.done))
    if it.code not in (None, _FINE) and not silent and not it.err.strip():
        return f"exit {it.code} and nothing on stderr"
    return ""


def _writes_nothing(fault: Fault) -> bool:
    """Return True if every write of the orchestrator fails from some moment on, and so that of its last line."""
    if fault.kind not in ("inject", "inject-from-start") or fault.role not in ("orchestrator", "all"):
        return False
    return fault.how["call"] == "write" and not fault.how["times"]


def scheduled_adds_up(it: Evidence) -> str:
    """scheduled = started + not_started."""
    if not it.numbers:
        return ""
    arrivals = it.numbers["arrivals"]
    return "" if arrivals["scheduled"] == arrivals["started"] + arrivals["not_started"] else f"{arrivals}"


def started_adds_up(it: Evidence) -> str:
    """started = established + failed + in_flight."""
    if not it.numbers:
        return ""
    started, ends = it.numbers["arrivals"]["started"], it.numbers["outcomes"]
    if started != ends["established"] + ends["failed"] + ends["in_flight"]:
        return f"started {started}, {ends}"
    if it.numbers["complete"] and ends["in_flight"]:
        return f"complete with {ends['in_flight']} in flight"
    return (
        "" if min(started, *(ends[key] for key in ("established", "failed", "in_flight"))) >= 0 else f"negative: {ends}"
    )


def pairs_add_up(it: Evidence) -> str:
    """The sums per source and target equal the totals, or what is missing is said to be not attributed."""
    if not it.numbers:
        return ""
    for key in ("established", "failed"):
        total, rows = it.numbers["outcomes"][key], sum(row[key] for row in it.numbers["sources"])
        if rows != total and "attributed" not in json.dumps(it.numbers):
            return f"{key}: {rows} in sources, {total} in outcomes"
    return ""


def latencies_add_up(it: Evidence) -> str:
    """Each connection has one latency, or what is missing is said to be not attributed."""
    if not it.numbers or it.trial.scenario.get("engine") == "io_uring":
        return ""
    total, counted = it.numbers["outcomes"]["established"], it.numbers["latency_us"]["connect"]["count"]
    if counted != total and "attributed" not in json.dumps(it.numbers):
        return f"{counted} latencies of {total} connections"
    return ""


def sides_agree(it: Evidence) -> str:
    """Both sides count the same, or the difference is explained."""
    sink = it.numbers["sink"] if it.numbers else None
    if not sink:
        return ""
    if not sink["text"]:
        return "no words on both sides"
    # Only the last line of a run that came to its end counts by source.
    if sink["sources"] and sum(row["accepted"] for row in sink["sources"]) != sink["accepted"]:
        return f"sink's rows do not add up to {sink['accepted']}"
    explained = any(fault.kind in _BETWEEN for fault in it.done) or any(
        fault.kind in ("kill", "stop", "pause") and fault.role in ("sink", "worker", "zygote") for fault in it.done
    )
    explained = explained or any(fault.how.get("times", 1) > 1 for fault in it.hit("end"))  # all are killed at once
    return sink["text"] if sink["agrees"] is False and not explained else ""


def series_only_grows(it: Evidence) -> str:
    """Counters of the series never fall, and its clock never stands."""
    for key in ("t_s", "started", "established", "failed", "not_started"):
        values = [line[key] for line in it.series]
        if any(later < earlier for earlier, later in itertools.pairwise(values)):
            return f"{key} falls in the series"
    return ""


def incomplete_says_why(it: Evidence) -> str:
    """A summary that is not complete names the reason."""
    if it.numbers and not it.numbers["complete"] and not it.numbers["incomplete_because"]:
        return "no incomplete_because"
    return ""


def has_a_summary(it: Evidence) -> str:
    """A run that came to its load leaves a summary, unless it was killed or had no room for it."""
    excused = it.killed or any(_no_room(fault) or _on_files(fault) for fault in it.done)
    if it.series and it.summary is None and it.code is not None and not excused:
        return f"exit {it.code} without summary.json: {_last_line(it.err)}"
    return ""


def _no_room(fault: Fault) -> bool:
    """Return True if there is no room for a summary, or no memory to make it in; descriptors are held in reserve."""
    if fault.kind in ("limit", "limit-from-start"):
        return fault.role in ("orchestrator", "all") and fault.how["limit"] != "NOFILE"
    return fault.kind == "full-disk"


def _on_files(fault: Fault) -> bool:
    """Return True if a call that writes the run directory, or reads it back for the summary, was made to fail."""
    if fault.kind not in ("inject", "inject-from-start") or fault.role not in ("orchestrator", "all"):
        return False
    return fault.how["call"] in _FILES


def report_renders(it: Evidence) -> str:
    """The report of the run directory can be made, from whatever is there."""
    return it.report


def nothing_left(it: Evidence) -> str:
    """No process, namespace, shared memory, temporary file or mount is left."""
    return "; ".join(it.left)


def trust_is_withdrawn(it: Evidence) -> str:
    """A worker that stood still for more than two seconds is not hidden."""
    for fault in it.hit("pause", "worker"):
        if fault.how["for_s"] < 2.5 or fault not in it.during or fault.moment.phase == "workers":  # the load waits
            continue
        if it.summary and it.summary["complete"] and it.summary["generator"]["trustworthy"]:
            return f"trustworthy after {fault}"
    return ""


def terminal_is_restored(it: Evidence) -> str:
    """The cursor of the terminal is shown again at the end."""
    if it.trial.view != "pty" or it.code is None or it.killed or it.hit("hangup"):
        return ""
    return "the cursor stays hidden" if it.err.rfind("\x1b[?25l") > it.err.rfind("\x1b[?25h") else ""


def json_is_whole(it: Evidence) -> str:
    """With --json stdout is nothing or the summary as one object."""
    cut = it.hit("output") or it.killed or any(map(_no_room, it.done))
    if "--json" not in it.trial.options or it.code is None or cut or not (it.out or it.code == _FINE):
        return ""
    try:
        shown = json.loads(it.out)
    except ValueError:
        return f"no JSON on stdout: {it.out[:100]!r}"
    return "stdout is not summary.json" if it.summary is not None and shown != it.summary else ""


def _last_line(text: str) -> str:
    lines = [line for line in re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", text).splitlines() if line.strip()]
    return lines[-1][-300:] if lines else "(nothing)"


ALL: Final[tuple[Callable[[Evidence], str], ...]] = (
    *(ended_in_time, no_traceback, nothing_unforeseen, exit_code_of_the_contract, exit_code_fits, says_why),
    *(scheduled_adds_up, started_adds_up, pairs_add_up, latencies_add_up, sides_agree, series_only_grows),
    *(incomplete_says_why, has_a_summary, report_renders, nothing_left, trust_is_withdrawn),
    *(terminal_is_restored, json_is_whole),
)


def broken(it: Evidence) -> dict[str, str]:
    """Return the invariants that do not hold, by name, with what each saw."""
    return {invariant.__name__: seen for invariant in ALL if (seen := invariant(it))}
