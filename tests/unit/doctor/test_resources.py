"""Descriptors, tables, memory, processes and processors, from values to findings; and the queues of listeners."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.doctor import listening, resources
from loadgen.doctor.finding import Grade, LimitCheck, Purpose
from loadgen.kernel.cgroup import CgroupLimits, CgroupUsage, CpuQuota

from .reading import found


def test_descriptors_are_counted_per_process() -> None:
    finding = found(resources.descriptors_hard)
    assert (finding.value, finding.verdict) == ("20,000", Grade.TIGHT)  # six workers share two processors
    assert finding.judgement.allows == "19,936 connections per process (20,000 - 64); 100,000 take 6 workers"
    assert finding.judgement.gains == "1 worker instead of 6"
    assert finding.judgement.change.now == ("prlimit --pid $$ --nofile=131072:131072",)
    assert finding.judgement.change.for_good == (
        "printf '%s\\n' '* - nofile 131072' 'root - nofile 131072' > /etc/security/limits.d/90-loadgen.conf",
        "LimitNOFILE=131072   # [Service] of a systemd unit",
    )


@pytest.mark.parametrize(
    ("hard", "connections", "verdict"),
    [
        (64, 1, Grade.WALL),
        (74, 100, Grade.TIGHT),
        (74, 101, Grade.WALL),  # ten workers of ten connections are all that the orchestrator can have
        (1_048_576, 100_000, Grade.GOOD),
        (60_000, 100_000, Grade.GOOD),
    ],
)
def test_descriptors_are_a_wall_only_when_no_number_of_workers_helps(
    hard: int, connections: int, verdict: Grade
) -> None:
    assert found(resources.descriptors_hard, Purpose(connections), descriptors=(hard, hard)).verdict is verdict


@given(st.integers(1, 10**8), st.integers(65, 10**6))
def test_so_many_workers_hold_so_many_connections_and_one_fewer_does_not(connections: int, descriptors: int) -> None:
    workers, each = resources.workers_for(connections, descriptors), descriptors - 64
    assert (workers - 1) * each < connections <= workers * each


def test_a_limit_beyond_nr_open_says_what_comes_first() -> None:
    finding = found(resources.descriptors_hard, Purpose(2_000_000))
    assert finding.judgement.gains == "1 worker instead of 101 (after fs.nr_open)"
    assert found(resources.nr_open, Purpose(2_000_000)).verdict is Grade.TIGHT
    assert found(resources.nr_open).verdict is Grade.GOOD


@pytest.mark.parametrize(
    ("connections", "processes", "descriptors", "verdict", "command"),
    [
        (900, 1, (1024, 20_000), Grade.GOOD, "ulimit -Sn 20000"),
        (1_000, 1, (1024, 20_000), Grade.TIGHT, "ulimit -Sn 20000"),
        (4_096, 1, (1024, 20_000), Grade.TIGHT, "ulimit -Sn 20000"),
        (4_096, 1, (1024, 1024), Grade.WALL, "prlimit --pid $$ --nofile=8192:8192"),
        (4_096, 5, (1024, 1024), Grade.GOOD, "ulimit -Sn 1024"),
        (100_000, 1, (1024, 20_000), Grade.WALL, "prlimit --pid $$ --nofile=131072:131072"),
        (100_000, 6, (1024, 20_000), Grade.TIGHT, "ulimit -Sn 20000"),
    ],
)
def test_descriptors_of_a_program_that_is_no_loadgen(
    connections: int, processes: int, descriptors: tuple[int, int], verdict: Grade, command: str
) -> None:
    """One process can have as many as its hard limit, if it raises the soft one; loadgen starts more processes."""
    purpose = Purpose(connections, processes=processes)
    judgement = found(resources.descriptors_soft, purpose, descriptors=descriptors).judgement
    assert (judgement.verdict, judgement.change.now) == (verdict, (command,))
    soft, hard = descriptors
    assert f"ends at {soft - 3:,} connections (EMFILE)" in judgement.allows
    assert (f"hard one of {hard:,}, as loadgen does" in judgement.allows) is (soft < hard)


@pytest.mark.parametrize(
    ("limit", "verdict", "gain"),
    [("100658", Grade.WALL, 1), ("100659", Grade.TIGHT, 0), ("200659", Grade.GOOD, 0)],
)
def test_files_of_the_machine(limit: str, verdict: Grade, gain: int) -> None:
    finding = found(resources.file_max, sysctls={"fs.file-max": limit})
    assert (finding.verdict, finding.judgement.gain) == (verdict, gain)


def test_a_limit_beyond_all_counting_is_called_none() -> None:
    finding = found(resources.file_max, sysctls={"fs.file-max": str(2**63 - 1)})
    assert finding.judgement.allows == "no limit to speak of; 659 are open now in the whole machine"
    assert finding.verdict is Grade.GOOD


@pytest.mark.parametrize(
    ("limit", "setting", "value", "verdict"),
    [
        (resources.epoll_watches, "fs.epoll.max_user_watches", "99999", Grade.WALL),
        (resources.epoll_watches, "fs.epoll.max_user_watches", "100000", Grade.TIGHT),
        (resources.epoll_watches, "fs.epoll.max_user_watches", "200000", Grade.GOOD),
        (listening.somaxconn, "net.core.somaxconn", "4096", Grade.GOOD),
        (listening.somaxconn, "net.core.somaxconn", "128", Grade.TIGHT),
        (listening.syncookies, "net.ipv4.tcp_syncookies", "0", Grade.TIGHT),
        (listening.syncookies, "net.ipv4.tcp_syncookies", "1", Grade.GOOD),
        (listening.syncookies, "net.ipv4.tcp_syncookies", "2", Grade.TIGHT),
        (listening.netdev_backlog, "net.core.netdev_max_backlog", "1000", Grade.GOOD),
        (listening.netdev_backlog, "net.core.netdev_max_backlog", "300", Grade.TIGHT),
    ],
)
def test_a_setting_is_judged_by_its_value(limit: LimitCheck, setting: str, value: str, verdict: Grade) -> None:
    assert found(limit, sysctls={setting: value}).verdict is verdict


@pytest.mark.parametrize(
    ("maximum", "count", "verdict", "gain", "says"),
    [
        ("262144", "0", Grade.GOOD, 0, "not in the way"),
        ("65536", "0", Grade.TIGHT, 0, "not in the way"),
        ("65536", "536", Grade.WALL, 35_000, "in the way: 536 are tracked here, so 65,536 - 536 = 65,000"),
        ("262144", "144", Grade.GOOD, 0, "in the way"),
    ],
)
def test_connection_tracking_is_a_wall_where_it_tracks(
    maximum: str, count: str, verdict: Grade, gain: int, says: str
) -> None:
    names = ("net.netfilter.nf_conntrack_max", "net.netfilter.nf_conntrack_count")
    finding = found(resources.conntrack, sysctls=dict(zip(names, (maximum, count), strict=True)))
    assert (finding.verdict, finding.judgement.gain) == (verdict, gain)
    assert finding.judgement.allows.startswith(says)


def test_pages_become_bytes_and_connections() -> None:
    finding = found(resources.tcp_mem)
    assert finding.verdict is Grade.GOOD
    assert "575,802 pages x 4,096 = 2.2 GiB" in finding.judgement.allows
    assert "575,802 connections with one page each" in finding.judgement.allows
    assert found(resources.tcp_mem, Purpose(1_000_000)).verdict is Grade.TIGHT
    assert "65,536 = 35.1 GiB" in found(resources.tcp_mem, page_bytes=65_536).judgement.allows


def test_least_buffers_are_summed_up() -> None:
    assert "390.6 MiB for 100,000" in found(resources.tcp_rmem).judgement.allows
    assert found(resources.tcp_rmem, memory_available_bytes=400_000_000).verdict is Grade.TIGHT
    assert found(resources.tcp_wmem).judgement.change.now == ('sysctl -w net.ipv4.tcp_wmem="4096 16384 4194304"',)


@given(st.integers(1, 10**7))
def test_memory_is_a_wall_below_one_end_and_tight_below_both(connections: int) -> None:
    needed = resources.memory_for(connections, 20_000)
    assert needed > connections * resources.BYTES_PER_END
    expected = {needed - 1: Grade.WALL, needed: Grade.TIGHT, 2 * needed: Grade.GOOD}
    for available, verdict in expected.items():
        assert found(resources.memory, Purpose(connections), memory_available_bytes=available).verdict is verdict


def test_memory_of_the_control_group() -> None:
    assert found(resources.group_memory).value == "no limit"
    use = CgroupUsage(400_000_000, 300_000_000, "/sys/fs/cgroup/load/memory.max")
    finding = found(resources.group_memory, group=CgroupLimits(memory=use))
    assert (finding.value, finding.verdict) == ("381.5 MiB", Grade.WALL)
    assert finding.judgement.allows.startswith(
        "381.5 MiB - 286.1 MiB used = 95.4 MiB: about 26,315 connections of 3,800 bytes"
    )
    assert finding.judgement.gain == 100_000 - 26_315
    assert finding.judgement.change.now == ("echo max > /sys/fs/cgroup/load/memory.max",)
    first = replace(use, file="/sys/fs/cgroup/memory/load/memory.limit_in_bytes")
    assert (
        found(resources.group_memory, group=CgroupLimits(memory=first)).judgement.change.now[0].startswith("echo -1 > ")
    )


@pytest.mark.parametrize(("maximum", "verdict"), [("135", Grade.WALL), ("136", Grade.TIGHT), ("152", Grade.GOOD)])
def test_processes_of_a_run_with_both_ends(maximum: str, verdict: Grade) -> None:
    """Six workers, six sinks and four others, beside 120 that run already."""
    for limit, name in ((resources.threads_max, "kernel.threads-max"), (resources.pid_max, "kernel.pid_max")):
        finding = found(limit, sysctls={name: maximum})
        assert finding.verdict is verdict
        assert "100,000 take 16" in finding.judgement.allows
    group = CgroupLimits(pids=CgroupUsage(int(maximum), 120, "pids.max"))
    assert found(resources.group_pids, group=group).verdict is verdict


def test_processors() -> None:
    assert found(resources.cpus).verdict is Grade.GOOD
    assert found(resources.cpus, cpus=1).verdict is Grade.TIGHT
    assert found(resources.group_cpu).value == "no limit"
    finding = found(resources.group_cpu, group=CgroupLimits(cpu=CpuQuota(1.5, "/sys/fs/cgroup/cpu.max")))
    assert (finding.value, finding.verdict) == ("1.5", Grade.TIGHT)
    assert finding.judgement.change.now == ("echo max > /sys/fs/cgroup/cpu.max",)
    version_1 = CgroupLimits(cpu=CpuQuota(4.0, "/sys/fs/cgroup/cpu/cpu.cfs_quota_us"))
    assert found(resources.group_cpu, group=version_1).verdict is Grade.GOOD


def test_the_queue_of_a_listener() -> None:
    assert "4,096 + 1 connections" in found(listening.somaxconn).judgement.allows


def test_the_backlog_of_syns_is_asked_only_without_cookies() -> None:
    assert found(listening.syn_backlog).judgement.allows.startswith("not asked")
    off = {"net.ipv4.tcp_syncookies": "0"}
    finding = found(listening.syn_backlog, sysctls=off)
    assert finding.judgement.allows.startswith("1,536 half-open connections")
    assert finding.verdict is Grade.GOOD
    assert found(listening.syn_backlog, sysctls={**off, "net.ipv4.tcp_max_syn_backlog": "128"}).verdict is Grade.TIGHT
