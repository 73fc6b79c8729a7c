"""The runner, with experiments that open no socket; the real ones are in tests/lab."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Mapping
from typing import NoReturn

import pytest

from loadgen.errors import HostError, LabForbiddenError
from loadgen.facts import runner
from loadgen.facts.base import CannotRunError, Cost, Experiment, Fact, FactFinding, FactVerdict, Measured, SeenError


def stay(_: Mapping[str, str]) -> None:
    """Enter no namespace."""


def make(number: str, run: Experiment, *, expected: str = "ok", since: str = "") -> Fact:
    return Fact(number, f"title of {number}", expected, since, f"source of {number}", f"meaning of {number}.", run)


def run_one(run: Experiment, *, since: str = "", time_limit_s: float = 10) -> FactFinding:
    (finding,) = runner.run_facts([make("1.1", run, since=since)], enter=stay, time_limit_s=time_limit_s)
    return finding


def nap(seconds: float) -> str:
    time.sleep(seconds)
    return "ok"


def fail(error: BaseException) -> NoReturn:
    raise error


def test_the_expected_result_holds() -> None:
    finding = run_one(lambda: "ok")
    assert (finding.seen, finding.verdict, finding.reason) == ("ok", FactVerdict.HOLDS, "")
    assert 0 < finding.seconds < 10


def test_another_result_differs() -> None:
    finding = run_one(lambda: "bind EADDRINUSE")
    assert (finding.seen, finding.verdict, finding.reason) == ("bind EADDRINUSE", FactVerdict.DIFFERS, "")


@pytest.mark.parametrize(("seen", "verdict"), [("ok", FactVerdict.HOLDS), ("no", FactVerdict.DIFFERS)])
def test_a_cost_comes_with_the_finding_and_does_not_decide_it(seen: str, verdict: FactVerdict) -> None:
    cost = Cost(each_ns=38.25, count=1000, ratio=24.125)
    finding = run_one(lambda: Measured(seen, cost))
    assert (finding.seen, finding.verdict, finding.cost) == (seen, verdict, cost)
    assert run_one(lambda: seen).cost is None


def test_a_difference_on_an_older_kernel_is_explained() -> None:
    assert re.fullmatch(r"Linux \S+ is older than 999\.1", run_one(lambda: "no", since="999.1").reason)


@pytest.mark.parametrize(
    ("since", "release", "older"),
    [
        ("6.18", "6.9.3-arch1", True),
        ("6.18", "6.18.0-rc1", False),
        ("6.3", "5.15.0-91-generic", True),
        ("4.19", "6.1.0-18-amd64", False),
        ("", "2.6.32", False),
    ],
)
def test_kernel_versions_compare_as_numbers(since: str, release: str, older: bool) -> None:
    assert bool(runner.older_than(since, release)) is older


def test_an_experiment_may_end_early_with_a_result() -> None:
    """A kernel that lacks an option differs."""
    finding = run_one(lambda: fail(SeenError("setsockopt ENOPROTOOPT")))
    assert (finding.seen, finding.verdict) == ("setsockopt ENOPROTOOPT", FactVerdict.DIFFERS)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (CannotRunError("needs a second user id"), "needs a second user id"),
        (HostError("cannot set sysctl"), "cannot set sysctl"),
        (ZeroDivisionError("by zero"), r"test_runner.py:\d+: ZeroDivisionError: by zero"),
        (KeyboardInterrupt(), r"test_runner.py:\d+: KeyboardInterrupt: "),
    ],
)
def test_an_experiment_that_fails_is_not_run(error: BaseException, reason: str) -> None:
    finding = run_one(lambda: fail(error))
    assert finding.verdict is FactVerdict.NOT_RUN
    assert finding.seen == ""
    assert re.fullmatch(reason, finding.reason)


def test_a_crash_is_not_run_and_affects_no_other_fact() -> None:
    crashing = [
        make("1.1", lambda: os.kill(os.getpid(), signal.SIGKILL) or "never"),  # type: ignore[func-returns-value]  # that is the point
        make("1.2", lambda: os._exit(7)),
        make("1.3", lambda: "ok"),
    ]
    findings = runner.run_facts(crashing, enter=stay)
    assert [finding.verdict for finding in findings] == [FactVerdict.NOT_RUN, FactVerdict.NOT_RUN, FactVerdict.HOLDS]
    assert findings[0].reason == "its process ended with signal 9"
    assert findings[1].reason == "its process ended with exit code 7"


def test_an_experiment_that_hangs_is_ended_by_its_time_limit() -> None:
    finding = run_one(lambda: nap(60), time_limit_s=0.2)
    assert (finding.verdict, finding.reason) == (FactVerdict.NOT_RUN, "no answer within 0.2 s")
    assert 0.2 <= finding.seconds < 10


def test_findings_are_sorted_and_reported_at_once() -> None:
    reported: list[str] = []
    numbers = ["2.10", "10.1", "2.9", "1.1"]
    findings = runner.run_facts(
        [make(number, lambda: "ok") for number in numbers],
        lambda finding: reported.append(finding.fact.number),
        jobs=2,
        enter=stay,
    )
    assert [finding.fact.number for finding in findings] == ["1.1", "2.9", "2.10", "10.1"]
    assert sorted(reported) == sorted(numbers)


def test_at_most_jobs_experiments_run_at_once() -> None:
    """Three that take 0.2 s each, one at a time, take 0.6 s."""
    started = time.monotonic()
    runner.run_facts([make(f"1.{n}", lambda: nap(0.2)) for n in range(3)], jobs=1, enter=stay)
    assert time.monotonic() - started >= 0.6


def test_a_long_result_is_cut() -> None:
    assert len(run_one(lambda: "x" * 10_000_000).seen) == 2000


def forbid(_: Mapping[str, str]) -> None:
    raise LabForbiddenError("no namespaces here")


def test_a_host_without_namespaces_cannot_run_facts() -> None:
    with pytest.raises(LabForbiddenError, match="no namespaces here"):
        runner.run_facts([make("1.1", lambda: "ok"), make("1.2", lambda: "ok")], enter=forbid)


def test_an_exception_of_the_observer_leaves_no_process_behind() -> None:
    """Ctrl-C arrives in the parent; its children are gone when it is passed on."""
    hanging = [make("1.1", lambda: "ok"), make("1.2", lambda: nap(60))]
    with pytest.raises(KeyboardInterrupt):
        runner.run_facts(hanging, lambda _: fail(KeyboardInterrupt()), jobs=2, enter=stay)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
