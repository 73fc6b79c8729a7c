"""Descriptors, memory, processes, tables and TIME-WAIT: the demand of a plan, and where each of them ends."""

from __future__ import annotations

from typing import Any

import pytest

from loadgen import scenario as scenarios
from loadgen.capacity import Allowances, assess
from loadgen.kernel.host import HostFacts
from loadgen.kernel.limits import HostLimit, HostLimits

from .samples import FACTS, LAB, SOURCE, assessed, churned, plan, refused


def test_the_host_must_have_descriptors_for_both_ends() -> None:
    error = refused(1_000, sink=True, files_free=1_999)
    assert error.resource == "descriptors of the whole host (fs.file-max)"
    assert (error.needed, error.available) == (2_000, 1_999)
    assert plan(1_000, files_free=1_999)


def test_epoll_may_watch_both_ends_and_with_io_uring_those_of_the_sinks() -> None:
    few = {"fs.epoll.max_user_watches": "1500"}
    both = assessed(1_000, sink=True, sysctls=few)
    assert (both.prediction.limit, both.prediction.at, both.prediction.slack) == ("watches", 750, 750)
    assert str(both.refusal).startswith(
        "sockets watched by epoll (fs.epoll.max_user_watches): need 2,000, have 1,500; "
    )
    assert assessed(1_000, sysctls=few).possible
    assert assessed(1_000, sink=True, sysctls=few, more="engine: io_uring").possible
    alone = assessed(1_000, sysctls=few, more="engine: io_uring")  # nothing of ours is watched
    assert "watches" not in {resource.limit for resource in alone.resources}
    assert assessed(1_000, sink=True, sysctls=few, more='expect: ["verdict.limit == watches"]').refusal is None


def test_memory_is_that_of_the_ends_and_of_the_processes() -> None:
    """A sink doubles the ends; a process costs some 25 MB before it holds a connection."""
    needed = {line.resource: line.needed for line in plan(10_000, sink=True).headroom}["memory, bytes"]
    alone = {line.resource: line.needed for line in plan(10_000).headroom}["memory, bytes"]
    assert 2 * 10_000 * 3_000 < needed < 300_000_000
    assert alone < needed
    error = refused(10_000, sink=True, memory_available_bytes=needed - 1)
    assert (error.resource, error.needed, error.available) == ("bytes of memory", needed, needed - 1)
    assert plan(10_000, sink=True, memory_available_bytes=needed)


def test_descriptors_of_a_fixed_number_of_workers_end_where_each_is_full() -> None:
    found = assessed(1_000, more="workers: 2\ndescriptors: 264", allowances=Allowances(in_lab=True, force=True))
    assert (found.prediction.limit, found.prediction.at, found.prediction.slack) == ("descriptors", 400, 128)
    assert assessed(1_000, descriptors=264).possible  # by more workers


def test_processes_have_to_be_allowed() -> None:
    room = HostLimits(processes=HostLimit(limit=100, used=98, name="pids.max"))
    found = assessed(2_000, limits=room)
    assert str(found.refusal) == (
        "processes: need 3, have 2; raise pids.max (docker run --pids-limit), or use fewer workers and sinks"
    )
    assert assessed(100, limits=room).possible


def test_estimates_make_nothing_impossible() -> None:
    tight: dict[str, Any] = {
        "sysctls": {"net.core.somaxconn": "1", "net.ipv4.tcp_max_tw_buckets": "1"},
        "limits": HostLimits(tcp_memory=HostLimit(limit=10, used=9, name="net.ipv4.tcp_mem")),
        "sink": True,
        "more": "protocol: echo",
    }
    found = assessed(100, **tight)
    assert found.possible
    over = {resource.name for resource in found.resources if (resource.share or 0) > 1}
    assert over == {"accept queues", "TIME-WAIT sockets", "tcp_mem, pages"}


def test_in_an_open_loop_the_schedule_says_when_the_ports_are_at_rest() -> None:
    more = "churn: {duration: 10s, concurrency: 8}\narrival: {rate: 50/s}"
    found = churned(more, tcp_tw_reuse="0")
    assert found.verdict == (
        "impossible: every port is in TIME-WAIT after 100 of 500 connections, in second 2.0; 1.67/s can go on for ever"
    )
    assert (found.prediction.limit, found.refusal) == ("time-wait", None)
    soon = churned(more, tcp_tw_reuse="1")
    assert soon.possible
    assert (soon.first.name, soon.first.needed, soon.first.available) == ("ports in TIME-WAIT", 50, 100)


def test_the_ports_may_last_for_a_pass_and_not_for_the_next() -> None:
    """A hundred ports that rest a second serve 90/s, and then 110/s, whose hundred and first comes too early."""
    stages = "arrival: {stages: [{from: 90/s, to: 90/s, over: 4s}, {from: 110/s, to: 110/s, over: 4s}]}"
    found = churned(f"churn: {{duration: 8s, concurrency: 8}}\n{stages}", tcp_tw_reuse="1")
    assert found.prediction.at_s == pytest.approx(4.5, abs=0.3)
    assert (found.first.needed or 0) > 100


def test_a_sink_that_never_accepts_has_room_for_its_backlog() -> None:
    never = "{address: '127.0.0.1:9000', sink: true, backlog: 9, accept: false}"
    text = f"name: x\nsources: {{addresses: 127.0.0.2}}\ntargets: [{never}]\nconnections: 20\n"
    facts = HostFacts(**{**FACTS, "sysctls": {"net.core.somaxconn": "4096"}})
    found = assess(scenarios.parse(text), SOURCE, facts, LAB)
    assert (found.prediction.limit, found.prediction.at, found.refusal) == ("backlog", 10, None)
