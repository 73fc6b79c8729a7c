"""The facts on this machine's kernel: every experiment can be made, and a recent kernel does as expected."""

from __future__ import annotations

import os
import platform
import re
import time

import pytest

from loadgen import facts
from loadgen.facts import FactVerdict

from .support import descriptors

#: The kernel that the expectations were written for.
_WRITTEN_FOR = (6, 18)
#: Facts that an ordinary user cannot try, because a user namespace of one's own has one user only.
_FOR_ROOT = {"2.10"}


@pytest.mark.timeout(180)
def test_every_fact_runs_and_holds_on_a_recent_kernel() -> None:
    """Together they are to take less than a minute; ten seconds is usual."""
    started = time.monotonic()
    findings = facts.run_all()
    took_s = time.monotonic() - started
    assert [finding.fact.number for finding in findings] == [fact.number for fact in facts.all_facts()]
    may_miss = set() if _is_real_root() else _FOR_ROOT
    assert {f.fact.number: f.reason for f in findings if f.verdict is FactVerdict.NOT_RUN}.keys() <= may_miss
    if _kernel() >= _WRITTEN_FOR:
        assert {f.fact.number: f.seen for f in findings if f.verdict is FactVerdict.DIFFERS} == {}
    assert took_s < 60


def _kernel() -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", platform.release())[:2])


def _is_real_root() -> bool:
    """Whether there are other users to become: the map of the first user namespace has them all."""
    with open("/proc/self/uid_map") as file:
        return any(int(line.split()[2]) > 1 for line in file) and os.geteuid() == 0


def test_an_experiment_leaves_no_trace_in_its_caller() -> None:
    """Each has a namespace and a process of its own: limits, privileges and sockets end with it."""
    before = (os.readlink("/proc/self/ns/net"), descriptors(), os.getresuid())
    findings = facts.run_all(["7"])
    assert {finding.verdict for finding in findings} == {FactVerdict.HOLDS}
    assert before == (os.readlink("/proc/self/ns/net"), descriptors(), os.getresuid())


def test_a_setting_the_kernel_lacks_is_seen_not_an_error() -> None:
    """An old kernel has no tcp_tw_reuse_delay; that is what it answers."""
    from loadgen.facts import runner
    from loadgen.facts.base import Fact

    absent = Fact("1.1", "t", "ok", "", "m.", lambda: "ok", {"net.ipv4.tcp_no_such_setting": "1"})
    refused = Fact("1.2", "t", "ok", "", "m.", lambda: "ok", {"net.ipv4.tcp_tw_reuse": "7"})
    findings = runner.run_facts([absent, refused])
    assert [finding.seen for finding in findings] == [
        "no net.ipv4.tcp_no_such_setting",
        "net.ipv4.tcp_tw_reuse 7: EINVAL",
    ]
