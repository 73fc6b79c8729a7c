"""The facts on this machine's kernel: every experiment can be made, and a recent kernel does as expected."""

from __future__ import annotations

import dataclasses
import os
import platform
import re
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from loadgen import facts
from loadgen.facts import Fact, FactFinding, FactVerdict, limits, runner
from loadgen.facts.base import Experiment

from .support import descriptors

#: The kernel that the expectations were written for.
_WRITTEN_FOR = (6, 18)
#: Facts that an ordinary user cannot try: a user namespace of one's own has one user only, and loads no BPF programs.
_FOR_ROOT = {"2.10", "2.17", "14.5"}
#: Facts that not every kernel or host can try, and what it lacks then, as it says itself.
_OF_SOME_HOSTS = {
    "13.2": r"no VRF devices",
    **dict.fromkeys(("14.1", "14.2", "14.3", "14.4"), r"there is no nft on this host"),
    "14.5": r"bpf\(2\) is refused|control group",
}


@pytest.mark.timeout(180)
def test_every_fact_runs_and_holds_on_a_recent_kernel() -> None:
    """Together they are to take less than a minute; ten seconds is usual."""
    started = time.monotonic()
    findings = facts.run_all()
    took_s = time.monotonic() - started
    assert [finding.fact.number for finding in findings] == [fact.number for fact in facts.all_facts()]
    missed = {f.fact.number: f.reason for f in findings if f.verdict is FactVerdict.NOT_RUN}
    may_miss = set() if _is_real_root() else _FOR_ROOT
    for number, reason in missed.items():
        assert number in may_miss or re.search(_OF_SOME_HOSTS.get(number, r"\Z."), reason), f"{number}: {reason}"
    if _kernel() >= _WRITTEN_FOR:
        assert {f.fact.number: f.seen for f in findings if f.verdict is FactVerdict.DIFFERS} == {}
    assert took_s < 60
    measured = [finding for finding in findings if finding.verdict is not FactVerdict.NOT_RUN]
    assert {f.fact.number for f in measured if f.cost} == {f.fact.number for f in measured if f.fact.cost_what}
    assert all(f.cost.each_ns > 0 and f.cost.ratio > 1 for f in measured if f.cost)


def _kernel() -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", platform.release())[:2])


def _is_real_root() -> bool:
    """Whether there are other users to become: the map of the first user namespace has them all."""
    with open("/proc/self/uid_map") as file:
        return any(int(line.split()[2]) > 1 for line in file) and os.geteuid() == 0


def test_programs_of_a_control_group_are_gone_after_their_fact() -> None:
    """Neither the group nor a program is left, and the process is where it was."""
    before = Path("/proc/self/cgroup").read_text()
    facts.run_all(["14.5"])
    assert Path("/proc/self/cgroup").read_text() == before
    assert list(Path("/sys/fs/cgroup").rglob("loadgen-fact-*")) == []


def test_an_ordinary_user_is_told_what_bpf_takes() -> None:
    """The experiment ends before the process has a control group or a program."""
    finding = _run("14.5", before=_without_privileges)
    assert finding.verdict is FactVerdict.NOT_RUN
    assert re.search(r"run as root|it takes root|version 2", finding.reason)


def test_an_experiment_leaves_no_trace_in_its_caller() -> None:
    """Each has a namespace and a process of its own: limits, privileges and sockets end with it."""
    before = (os.readlink("/proc/self/ns/net"), descriptors(), os.getresuid())
    findings = facts.run_all(["7"])
    assert {finding.verdict for finding in findings} == {FactVerdict.HOLDS}
    assert before == (os.readlink("/proc/self/ns/net"), descriptors(), os.getresuid())


def test_a_setting_the_kernel_lacks_is_seen_not_an_error() -> None:
    """An old kernel has no tcp_tw_reuse_delay; that is what it answers."""
    absent = Fact("1.1", "t", "ok", "", "s", "m.", lambda: "ok", {"net.ipv4.tcp_no_such_setting": "1"})
    refused = Fact("1.2", "t", "ok", "", "s", "m.", lambda: "ok", {"net.ipv4.tcp_tw_reuse": "7"})
    findings = runner.run_facts([absent, refused])
    assert [finding.seen for finding in findings] == [
        "no net.ipv4.tcp_no_such_setting",
        "net.ipv4.tcp_tw_reuse 7: EINVAL",
    ]


def _run(number: str, *, before: Experiment = lambda: "", **changes: object) -> FactFinding:
    """Run a fact with changed fields, after another function in its process and namespace."""
    (fact,) = facts.all_facts([number])

    def run() -> object:
        before()
        return fact.run()

    (finding,) = runner.run_facts([dataclasses.replace(fact, run=run, **changes)])  # type: ignore[arg-type]  # a test's
    return finding


def _at_most_500_descriptors() -> str:
    resource.setrlimit(resource.RLIMIT_NOFILE, (500, 500))
    return ""


def _without_privileges() -> str:
    limits._drop_privileges()
    return ""


@pytest.mark.parametrize(
    ("finding", "missing"),
    [
        (lambda: _run("3.16", sysctls={"net.mptcp.enabled": "0"}), "MPTCP"),
        (lambda: _run("12.1", before=_at_most_500_descriptors), "descriptors"),
        (lambda: _run("12.3", before=_at_most_500_descriptors), "descriptors"),
        (lambda: _run("12.6", before=_at_most_500_descriptors), "descriptors"),
        (lambda: _run("8.6", before=_without_privileges), "veth"),
        (lambda: _run("8.5", sysctls={"net.ipv6.conf.lo.disable_ipv6": "1"}), "IPv6"),
        (lambda: _run("3.13", sysctls={"net.ipv6.conf.lo.disable_ipv6": "1"}), "IPv6"),
    ],
)
def test_what_the_host_lacks_is_named(finding: Callable[[], FactFinding], missing: str) -> None:
    """Never "differs": the experiment was not made."""
    result = finding()
    assert result.verdict is FactVerdict.NOT_RUN
    assert missing in result.reason


def test_a_cost_that_does_not_grow_differs() -> None:
    """The word is measured: with one connection in the table the time of the next stays the same."""
    from loadgen.facts import cost

    def connect_once() -> str:
        setattr(cost, "_CONNECTIONS", 1)  # noqa: B010  # a Final; ends with the process of the experiment
        return ""

    finding = _run("12.6", before=connect_once)
    assert finding.seen == "in 65,536 buckets: stays flat, IPv6: stays flat; in 1 bucket: stays flat, IPv6: stays flat"
    assert finding.verdict is FactVerdict.DIFFERS
