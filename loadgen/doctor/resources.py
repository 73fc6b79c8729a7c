"""Resources of a connection besides its four-tuple: descriptors, entries in tables, memory, processes, processors.

Sources: getrlimit(2), limits.conf(5), systemd.exec(5), epoll(7), tcp(7), proc_sys_fs(5), proc_sys_kernel(5);
nf_conntrack-sysctl.rst; sk_mem_charge() in include/net/sock.h. The bytes of a connection are those that
`loadgen.capacity` plans with.
"""

from __future__ import annotations

import math
from typing import Final

from loadgen.capacity import KERNEL_BYTES_PER_END, PROCESS_BYTES, RESERVED_DESCRIPTORS, USER_BYTES_PER_END
from loadgen.doctor.finding import (
    LIMITS_FILE,
    ChangeCommands,
    Grade,
    LimitCheck,
    LimitJudgement,
    Purpose,
    judged,
    more,
    roomy,
    set_sysctl,
    setting,
)
from loadgen.doctor.reading import Reading
from loadgen.format import count, size

BYTES_PER_END: Final = KERNEL_BYTES_PER_END + USER_BYTES_PER_END
#: Processes of a run beside workers and sinks: the orchestrator, the zygote, and what they fork for a moment.
_OTHER_PROCESSES: Final = 4


def workers_for(connections: int, descriptors: int) -> int:
    """Return the workers that hold these connections; `descriptors`: limit of each. 0: a worker can hold none."""
    each = descriptors - RESERVED_DESCRIPTORS
    return math.ceil(connections / each) if each > 0 else 0


def _hard(host: Reading, purpose: Purpose) -> LimitJudgement:
    """Fact 7.1; loadgen raises the soft limit and starts as many workers as it takes."""
    hard, connections = host.descriptors[1], purpose.connections
    each = max(hard - RESERVED_DESCRIPTORS, 0)
    workers = workers_for(connections, hard)
    after = max(roomy(connections + RESERVED_DESCRIPTORS), hard)
    change = _set_descriptors(after)
    if not each:
        allows = f"no connection: loadgen keeps {RESERVED_DESCRIPTORS} of them for each process itself"
        return LimitJudgement(Grade.WALL, allows, change, connections, f"{connections:,} connections in one process")
    allows = f"{each:,} connections per process ({hard:,} - {RESERVED_DESCRIPTORS}); {connections:,} take "
    allows += "1 worker" if workers == 1 else f"{workers:,} workers"
    most = each * each  # the orchestrator has a descriptor for each worker
    verdict = Grade.WALL if connections > most else Grade.TIGHT if workers > host.cpus else Grade.GOOD
    gains = f"1 worker instead of {workers:,}" if workers > 1 else ""
    if after > host.number("fs.nr_open", after):
        gains += " (after fs.nr_open)"
    return LimitJudgement(verdict, allows, change, more(connections, most, connections), gains)


def _set_descriptors(number: int) -> ChangeCommands:
    lines = " ".join(f"'{who} - nofile {number}'" for who in ("*", "root"))
    return ChangeCommands(
        (f"prlimit --pid $$ --nofile={number}:{number}",),
        (f"printf '%s\\n' {lines} > {LIMITS_FILE}", f"LimitNOFILE={number}   # [Service] of a systemd unit"),
    )


def _soft(host: Reading, purpose: Purpose) -> LimitJudgement:
    """The limit of a process of any program. loadgen raises its own, and starts more processes."""
    (soft, hard), connections = host.descriptors, purpose.per_process
    needed, comfortable = connections + _STANDARD_STREAMS, connections + RESERVED_DESCRIPTORS
    program = "a program of one process" if purpose.processes == 1 else "each process"
    allows = f"{program} ends at {count(max(soft - _STANDARD_STREAMS, 0))} connections (EMFILE)"
    if soft < hard:
        allows += f", unless it raises its limit to the hard one of {count(hard)}, as loadgen does"
    change = ChangeCommands((f"ulimit -Sn {hard}",), (f"echo '* soft nofile {hard}' >> {LIMITS_FILE}",))
    if needed <= hard:
        verdict = judged(0, soft, comfortable)
        return LimitJudgement(verdict, allows, change, gains=f"{count(hard)} instead of {count(soft)}")
    processes = math.ceil(purpose.connections / max(hard - _STANDARD_STREAMS, 1))
    allows += f"; {count(connections)} in one process are more than the hard limit of {count(hard)}, too"
    gains = (
        f"one process can have {count(connections)}; or spread them over {count(processes)} processes, as loadgen does"
    )
    return LimitJudgement(Grade.WALL, allows, _set_descriptors(max(roomy(comfortable), hard)), 0, gains)


#: Descriptors that every process has, and a program of one process beside its connections at least.
_STANDARD_STREAMS: Final = 3


descriptors_hard = LimitCheck("RLIMIT_NOFILE hard", lambda host: f"{host.descriptors[1]:,}", _hard)
descriptors_soft = LimitCheck("RLIMIT_NOFILE soft", lambda host: f"{host.descriptors[0]:,}", _soft)


@setting("fs.nr_open")
def nr_open(host: Reading, purpose: Purpose) -> LimitJudgement:
    """proc_sys_fs(5): the maximum for the hard limit of open files."""
    limit = host.number("fs.nr_open")
    needed = purpose.connections + RESERVED_DESCRIPTORS
    allows = (
        f"RLIMIT_NOFILE can be raised to {limit:,}: {max(limit - RESERVED_DESCRIPTORS, 0):,} connections in one process"
    )
    verdict = judged(0, limit, needed)
    gains = f"one process can have {purpose.connections:,}"
    return LimitJudgement(verdict, allows, set_sysctl("fs.nr_open", max(roomy(needed), 1 << 20)), 0, gains)


@setting("fs.file-max")
def file_max(host: Reading, purpose: Purpose) -> LimitJudgement:
    """proc_sys_fs(5); CAP_SYS_ADMIN is exempt."""
    limit = host.number("fs.file-max")
    free = max(limit - host.files_used, 0)
    allows = f"{limit:,} - {host.files_used:,} open now = {free:,} connections in the whole machine{_both(free)}"
    if limit > _COUNTLESS:
        allows = f"no limit to speak of; {host.files_used:,} are open now in the whole machine"
    after = host.files_used + 2 * roomy(purpose.connections)
    gain = more(purpose.connections, free, after - host.files_used)
    gains = "room for both ends of all connections"
    verdict = judged(purpose.connections, free, 2 * purpose.connections)
    return LimitJudgement(verdict, allows, set_sysctl("fs.file-max", max(after, limit)), gain, gains)


def _both(room: int) -> str:
    return f", or both ends of {room // 2:,}"


#: 2^63 - 1, which is the default of fs.file-max, says nothing to a reader.
_COUNTLESS: Final = 1 << 50


@setting("fs.epoll.max_user_watches")
def epoll_watches(host: Reading, purpose: Purpose) -> LimitJudgement:
    """epoll(7): for all epoll instances of one user; every held connection is watched, at each end of ours."""
    limit = host.number("fs.epoll.max_user_watches")
    allows = f"{limit:,} sockets watched by one user{_both(limit)}"
    after = 2 * roomy(purpose.connections)
    gain = more(purpose.connections, limit, after)
    change = set_sysctl("fs.epoll.max_user_watches", max(after, limit))
    verdict = judged(purpose.connections, limit, 2 * purpose.connections)
    return LimitJudgement(verdict, allows, change, gain, "both ends can be watched")


@setting("net.netfilter.nf_conntrack_max")
def conntrack(host: Reading, purpose: Purpose) -> LimitJudgement:
    """nf_conntrack-sysctl.rst: one table for the machine, filled only where a rule makes this namespace track."""
    limit, tracked = (host.number(f"net.netfilter.nf_conntrack_{name}") for name in ("max", "count"))
    free = max(limit - tracked, 0)
    to = max(2 * roomy(purpose.connections), limit)
    change = set_sysctl("net.netfilter.nf_conntrack_max", to)
    gains = f"{to:,} fit; or leave the load untracked (nft: notrack in a raw chain)"
    if not host.tracks:
        why = "nothing is tracked here now" if host.tracks is False else "not known whether anything is tracked here"
        allows = f"not in the way: {why}; if a rule came to track, {limit:,} connections fit"
        return LimitJudgement(judged(0, free, purpose.connections), allows, change, 0, gains)
    allows = f"in the way: {tracked:,} are tracked here, so {limit:,} - {tracked:,} = {free:,} connections fit"
    gain = more(purpose.connections, free, purpose.connections)
    return LimitJudgement(judged(purpose.connections, free, 2 * purpose.connections), allows, change, gain, gains)


@setting("net.ipv4.tcp_mem")
def tcp_mem(host: Reading, purpose: Purpose) -> LimitJudgement:
    """Pages for data on its way, of all TCP sockets of the machine: low, pressure, high."""
    _, pressure, high = host.numbers("net.ipv4.tcp_mem")
    page = host.page_bytes
    allows = (
        f"{high:,} pages x {page:,} = {size(high * page)} of data that waits in sockets: {high:,} connections "
        f"with one page each, thrifty from {pressure:,} on; an idle connection has none"
    )
    after = roomy(2 * purpose.connections)
    gains = "every connection can have data waiting at once"
    change = set_sysctl("net.ipv4.tcp_mem", f"{after // 2} {after} {2 * after}")
    return LimitJudgement(judged(0, high, purpose.connections), allows, change, 0, gains)


def _buffer(name: str, what: str) -> LimitCheck:
    setting_name = f"net.ipv4.tcp_{name}"

    @setting(setting_name)
    def judge(host: Reading, purpose: Purpose) -> LimitJudgement:
        """tcp(7): minimum, default and maximum of a socket's buffer."""
        least, default, most = host.numbers(setting_name)
        whole = least * purpose.connections
        allows = (
            f"{least:,} bytes to {what} are sure for each, {size(whole)} for {purpose.connections:,}; "
            f"it may grow from {default:,} to {most:,}"
        )
        gains = f"under pressure {size(4096 * purpose.connections)} are kept, not {size(whole)}"
        change = set_sysctl(setting_name, f"4096 {default} {most}")
        return LimitJudgement(judged(0, host.memory_available_bytes, whole), allows, change, 0, gains)

    return judge


tcp_rmem, tcp_wmem = _buffer("rmem", "receive"), _buffer("wmem", "send")


def memory_for(connections: int, descriptors: int) -> int:
    """Return the bytes of one end of these connections, with the workers that hold them."""
    return connections * BYTES_PER_END + max(workers_for(connections, descriptors), 1) * PROCESS_BYTES


def _room(available: int, host: Reading, purpose: Purpose) -> tuple[Grade, str]:
    """Return the verdict on these bytes, and what they allow; both ends on this host take twice as many."""
    needed = memory_for(purpose.connections, host.descriptors[1])
    fit = available // BYTES_PER_END
    allows = f"about {fit:,} connections of {BYTES_PER_END:,} bytes each, or both ends of {fit // 2:,}"
    return judged(needed, available, 2 * needed), allows


def _memory(host: Reading, purpose: Purpose) -> LimitJudgement:
    return LimitJudgement(*_room(host.memory_available_bytes, host, purpose))


memory = LimitCheck("MemAvailable", lambda host: size(host.memory_available_bytes), _memory)


def _group_memory(host: Reading, purpose: Purpose) -> LimitJudgement:
    use = host.group.memory
    if use is None:
        return LimitJudgement(Grade.GOOD, "no control group above this process limits its memory")
    verdict, allows = _room(use.free, host, purpose)
    allows = f"{size(use.limit)} - {size(use.used)} used = {size(use.free)}: {allows}"
    gain = more(purpose.connections, use.free // BYTES_PER_END, host.memory_available_bytes // BYTES_PER_END)
    change = _set_group(use.file, "max" if use.file.endswith(("max", "high")) else "-1", "MemoryMax=infinity")
    return LimitJudgement(verdict, allows, change, gain, "as much as the machine has")


def _set_group(file: str, value: str, unit: str) -> ChangeCommands:
    return ChangeCommands((f"echo {value} > {file}",), (f"{unit}   # [Service] of a systemd unit",))


group_memory = LimitCheck(
    "memory.max of the cgroup",
    lambda host: size(host.group.memory.limit) if host.group.memory else "no limit",
    _group_memory,
)


def processes_for(purpose: Purpose, descriptors: int) -> int:
    """Return the most processes that a run with both ends on this host has."""
    return 2 * max(workers_for(purpose.connections, descriptors), 1) + _OTHER_PROCESSES


def _processes(host: Reading, purpose: Purpose, limit: int, used: int) -> tuple[Grade, str]:
    needed = processes_for(purpose, host.descriptors[1])
    free = max(limit - used, 0)
    allows = f"{limit:,} - {used:,} = {free:,} processes and threads; {purpose.connections:,} take {needed:,}"
    return judged(needed, free, 2 * needed), allows


@setting("kernel.threads-max")
def threads_max(host: Reading, purpose: Purpose) -> LimitJudgement:
    """proc_sys_kernel(5)."""
    verdict, allows = _processes(host, purpose, host.number("kernel.threads-max"), host.tasks)
    return _more_processes(verdict, allows, "kernel.threads-max", host, purpose)


@setting("kernel.pid_max")
def pid_max(host: Reading, purpose: Purpose) -> LimitJudgement:
    """proc_sys_kernel(5); threads have numbers, too."""
    verdict, allows = _processes(host, purpose, host.number("kernel.pid_max"), host.tasks)
    return _more_processes(verdict, allows, "kernel.pid_max", host, purpose)


def _more_processes(verdict: Grade, allows: str, name: str, host: Reading, purpose: Purpose) -> LimitJudgement:
    to = max(roomy(host.tasks + 2 * processes_for(purpose, host.descriptors[1])), 1 << 17, host.number(name))
    gain = purpose.connections if verdict is Grade.WALL else 0
    return LimitJudgement(verdict, allows, set_sysctl(name, to), gain, "all workers and sinks can be started")


def _pids(host: Reading, purpose: Purpose) -> LimitJudgement:
    use = host.group.pids
    if use is None:
        return LimitJudgement(Grade.GOOD, "no control group above this process limits its processes")
    verdict, allows = _processes(host, purpose, use.limit, use.used)
    gain = purpose.connections if verdict is Grade.WALL else 0
    change = _set_group(use.file, "max", "TasksMax=infinity")
    return LimitJudgement(verdict, allows, change, gain, "all workers and sinks can be started")


group_pids = LimitCheck(
    "pids.max of the cgroup", lambda host: f"{host.group.pids.limit:,}" if host.group.pids else "no limit", _pids
)


def _cpus(host: Reading, _: Purpose) -> LimitJudgement:
    allows = f"{_many(host.cpus)} in sched_getaffinity, each for one worker or sink at a time"
    change = ChangeCommands(
        ("taskset -cp 0-$(($(nproc --all) - 1)) $$",), ("CPUAffinity=   # [Service] of a systemd unit",)
    )
    gains = "with two, workers and their targets do not wait for each other"
    return LimitJudgement(Grade.TIGHT if host.cpus < _CPUS else Grade.GOOD, allows, change, 0, gains)


#: With one processor every other program of the host delays the clock of the load.
_CPUS: Final = 2


def _many(number: int) -> str:
    return "1 processor" if number == 1 else f"{number:,} processors"


cpus = LimitCheck("CPUs", lambda host: f"{host.cpus:,}", _cpus)


def _group_cpu(host: Reading, _: Purpose) -> LimitJudgement:
    quota = host.group.cpu
    if quota is None:
        return LimitJudgement(Grade.GOOD, "no control group above this process limits its processor time")
    allows = (
        f"time of {quota.cpus:g} processors, of {_many(host.cpus)}; used up, every process of the group stands still"
    )
    value = "max" if quota.file.endswith("cpu.max") else "-1"
    verdict = Grade.TIGHT if quota.cpus < min(host.cpus, _CPUS) else Grade.GOOD
    gains = "no pauses, which show as lateness"
    return LimitJudgement(verdict, allows, _set_group(quota.file, value, "CPUQuota="), 0, gains)


group_cpu = LimitCheck(
    "cpu.max of the cgroup", lambda host: f"{host.group.cpu.cpus:g}" if host.group.cpu else "no limit", _group_cpu
)
