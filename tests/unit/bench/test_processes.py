"""What is read from /proc of a tree of processes, and which looks count."""

import os

import pytest

from bench.processes import Group, Look, cpu_s, descendants, kind_of, pss_bytes, watched, while_held
from loadgen.errors import LoadgenError

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def test_the_memory_of_a_tree_leaves_out_whoever_else_is_there() -> None:
    assert sorted(descendants({2: 1, 3: 2, 4: 3, 5: 1, 6: 5, 7: 3}, 2)) == [2, 3, 4, 7]
    assert descendants({}, 2) == [2]


def test_memory_is_pss_and_not_one_of_its_parts() -> None:
    text = "5566-7ffe ---p 00000000 00:00 0   [rollup]\nRss:   11000 kB\nPss:    4321 kB\nPss_Anon:   900 kB\n"
    assert pss_bytes(text) == 4321 * 1024
    assert pss_bytes("") == 0


def test_a_process_is_what_its_block_says() -> None:
    """The orchestrator reads the blocks of workers and sinks alike and is neither; nor is the zygote."""
    worker = "7f00-7f01 rw-s 00000000 00:01 5  /memfd:loadgen-workers (deleted)\n"
    sink = "7f02-7f03 rw-s 00000000 00:01 6  /memfd:loadgen-sinks (deleted)\n"
    assert [kind_of(maps) for maps in (worker, sink, worker + sink, "")] == ["worker", "sink", "other", "other"]


def test_processor_time_is_user_and_system_whatever_the_name() -> None:
    stat = f"12 (a) b) S 1 12 12 0 -1 4194560 9 8 7 6 {2 * TICKS_PER_S} {TICKS_PER_S} 99 99 20 0 1 0 5 6 7"
    assert cpu_s(stat) == pytest.approx(3.0)


def test_groups_add_up() -> None:
    assert Group(1, 10, 0.5) + Group(1, 20, 0.25) == Group(2, 30, 0.75)


def at(at_s: float, sockets: int) -> Look:
    return Look(at_s, sockets, Group(), Group())


def test_a_hold_lasts_from_the_second_look_at_all_sockets_to_the_last() -> None:
    looks = [at(0, 50), at(1, 203), at(2, 203), at(3, 203), at(4, 203), at(5, 40)]
    assert while_held(looks, 100) == (looks[2], looks[4])


def test_two_looks_are_no_hold() -> None:
    with pytest.raises(LoadgenError, match="2 looks"):
        while_held([at(1, 200), at(2, 200), at(3, 199)], 100)


def test_nothing_is_seen_of_what_is_over_at_once() -> None:
    with watched(lambda: 1) as seen:
        pass
    assert seen == []
