"""Run experiments, each in a process and a network namespace of its own.

A fact may fill a port range, lower its descriptor limit or drop its capabilities without affecting the next one,
because its process and its namespace end with it. A fact that crashes or hangs is reported as not run, and the others
continue.

The processes are forked from the calling process, which should have no other threads at that moment.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import select
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NoReturn

from loadgen import shortage
from loadgen.clock import NS_PER_S, now_ns
from loadgen.errors import HostError, LabForbiddenError
from loadgen.facts.base import CannotRunError, Cost, Fact, FactFinding, FactVerdict, Measured, SeenError
from loadgen.kernel import sysctl
from loadgen.lab import namespace
from loadgen.processes.lifetime import die_with_parent, holding_signals_back, ignore_signals_of_groups

TIME_LIMIT_S: Final = 10.0
#: A message has to fit a pipe (64 KiB), so that a child never waits for the parent to read.
_TEXT_MAX: Final = 2000

Enter = Callable[[Mapping[str, str]], object]


@dataclass(slots=True)
class _Child:
    fact: Fact
    pid: int
    started_ns: int
    deadline_ns: int
    answer: bytes = b""


def run_facts(
    facts: Sequence[Fact],
    on_finding: Callable[[FactFinding], None] = lambda _: None,
    *,
    jobs: int | None = None,
    time_limit_s: float = TIME_LIMIT_S,
    enter: Enter = namespace.enter,
) -> list[FactFinding]:
    """Run these facts, `jobs` at a time (default: one per core), and return the findings in numeric order.

    on_finding: called in this process with each finding, in the order of completion.
    enter: moves the calling process into a new namespace.

    Raises: LabForbiddenError if the first result is that no namespace can be made here.
    """
    at_once = jobs or len(os.sched_getaffinity(0))
    waiting, running = deque(facts), dict[int, _Child]()
    findings: list[FactFinding] = []
    poll = select.poll()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                fd, child = _start(waiting.popleft(), time_limit_s, enter)
                running[fd] = child
                poll.register(fd, select.POLLIN)
            for fd in _ended(poll, running):
                poll.unregister(fd)
                finding = _finish(fd, running.pop(fd), time_limit_s, anything_ran=bool(findings))
                findings.append(finding)
                on_finding(finding)
    finally:
        for fd, child in running.items():
            _reap(fd, child)
    return sorted(findings, key=lambda finding: finding.fact.order)


def _start(fact: Fact, time_limit_s: float, enter: Enter) -> tuple[int, _Child]:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    parent, started_ns = os.getpid(), now_ns()
    with holding_signals_back():
        pid = shortage.fork()
        if pid == 0:
            _become_child(fact, parent, writer, enter)
    os.close(writer)
    return reader, _Child(fact, pid, started_ns, started_ns + round(time_limit_s * NS_PER_S))


def _ended(poll: select.poll, running: dict[int, _Child]) -> list[int]:
    """Wait; return the pipes of children that have finished or exceeded their time limit."""
    wait_ns = min(child.deadline_ns for child in running.values()) - now_ns()
    ended = []
    for fd, _ in poll.poll(max(0, wait_ns // 1_000_000 + 1)):
        data = os.read(fd, 1 << 16)
        running[fd].answer += data
        if not data:
            ended.append(fd)
    now = now_ns()
    return ended + [fd for fd, child in running.items() if child.deadline_ns <= now and fd not in ended]


def _finish(fd: int, child: _Child, time_limit_s: float, *, anything_ran: bool) -> FactFinding:
    late = child.deadline_ns <= now_ns()
    status = _reap(fd, child)
    seconds = (now_ns() - child.started_ns) / NS_PER_S
    try:
        answer: dict[str, Any] = json.loads(child.answer)
    except ValueError:
        ended = f"signal {-status}" if status < 0 else f"exit code {status}"
        answer = {"not run": f"no answer within {time_limit_s:g} s" if late else f"its process ended with {ended}"}
    if "forbidden" in answer and not anything_ran:
        raise LabForbiddenError(answer["forbidden"])
    if "seen" not in answer:
        reason = answer.get("not run") or answer["forbidden"]
        return FactFinding(child.fact, "", FactVerdict.NOT_RUN, reason, seconds)
    seen, cost = answer["seen"], Cost(**answer["cost"]) if "cost" in answer else None
    if seen == child.fact.expected:
        return FactFinding(child.fact, seen, FactVerdict.HOLDS, "", seconds, cost)
    return FactFinding(child.fact, seen, FactVerdict.DIFFERS, older_than(child.fact.since), seconds, cost)


def _reap(fd: int, child: _Child) -> int:
    """Close the child's pipe and kill it if it runs; return its exit code, or the negated signal that ended it."""
    os.close(fd)
    os.kill(child.pid, signal.SIGKILL)  # the pid stays valid until waitpid(); no effect on a process that has ended
    return os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])


def older_than(since: str, release: str | None = None) -> str:
    """Return why a fact known from Linux `since` may not hold here; "" if this kernel is at least as new."""
    release = release or platform.release()
    if since and _version(release) < _version(since):
        return f"Linux {release} is older than {since}"
    return ""


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])


def _become_child(fact: Fact, parent: int, writer: int, enter: Enter) -> NoReturn:
    code = 1
    try:
        ignore_signals_of_groups()  # the parent reports them, and kills this process
        answer = _answer(fact, parent, enter)
        os.write(writer, json.dumps(answer).encode())
        code = 0
    finally:
        os._exit(code)


def _answer(fact: Fact, parent: int, enter: Enter) -> dict[str, Any]:
    try:
        die_with_parent(parent)
        enter({})
        die_with_parent(parent)  # entering a user namespace changes credentials, which clears the first request
        _set(fact.sysctls)
        result = fact.run()
        if isinstance(result, Measured):
            return {"seen": result.seen[:_TEXT_MAX], "cost": asdict(result.cost)}
        return {"seen": result[:_TEXT_MAX]}
    except SeenError as error:
        return {"seen": str(error)[:_TEXT_MAX]}
    except LabForbiddenError as error:
        return {"forbidden": str(error)[:_TEXT_MAX]}
    except (CannotRunError, HostError) as error:
        return {"not run": str(error)[:_TEXT_MAX]}
    except BaseException as error:
        return {"not run": f"{_place(error)}{type(error).__name__}: {error}"[:_TEXT_MAX]}


def _set(sysctls: Mapping[str, str]) -> None:
    """Set these sysctls. A setting or value that this kernel does not know is a result, not a failure."""
    for name, value in sysctls.items():
        if sysctl.read(name) is None:
            raise SeenError(f"no {name}")
        try:
            sysctl.write(name, value)
        except HostError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EINVAL:
                raise SeenError(f"{name} {value}: EINVAL") from error
            raise


def _place(error: BaseException) -> str:
    """Return the place in the experiment where an error was raised: "buckets.py:48: "."""
    trace: Any = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}: " if trace else ""
