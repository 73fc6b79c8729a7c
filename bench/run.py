"""loadgen beside a C client: both open and hold the same connections, in the same run, in turn.

    python -m bench.run [--rounds 5] [--quick] [--only CASE] [--reference-only] [--slow] [--million]

A speed in connections per second says little about a program and much about the machine, so every
claim here is a ratio to `bench/reference/client.c`, measured seconds apart. The harness moves itself
into a network namespace of its own first: it changes no setting of the host, and no packet leaves.

    open-hold     2 C clients against loadgen with 2 workers, both with the same C sinks
    whole         the same, but loadgen brings its own sink
    last-quarter  64,000 connections from one source address: is the last quarter of the port range
                  as fast as the first?
    churn         a C client and a loadgen worker, each against one C sink, close every connection with
                  RST as soon as it is open
    churn-whole   the same, but loadgen brings its own sink
    million       only with --million: 1,000,000 connections by 53 processes to 56 sinks, loadgen with its
                  own; how much longer does it take than C, and how much memory?

Exit code 0 when everything was measured, even below target; 1 when a program failed; 3 when this host
has no C compiler or allows no network namespace.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import platform
import select
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from loadgen.errors import ExitCode, HostError, LoadgenError, UsageError

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "bench" / "build"
TARGET = "127.0.0.1:9000"
#: From "go" to the first attempt of the C clients: about what loadgen needs to start its workers, so
#: that the memory freed by the sample before has had equally long to go cold for both.
START_DELAY_S = 1.0
#: How long one ramp may take. With the kernel choosing ports, the second half of 64,000 needs minutes; so
#: may a million.
GIVE_UP_S, GIVE_UP_LONG_S = 60, 300
#: How many connections churn has open at a time: what `--window` of the C client is without being given.
CHURN_CONCURRENCY = 256
#: Time between two looks at the memory of loadgen's processes, where a case asks for it.
MEMORY_EVERY_S = 1.0
QUIET_TIMEOUT_S = 15.0

# netdevice(7); a struct ifreq is 16 bytes of name and 24 of union.
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1

METHOD = """\
Each round runs both programs, one after the other, taking turns at being first; every sample has fresh
sinks and starts when no socket of the sample before is left. Rate: established connections / (last
established - first attempt), over all processes; the sinks accept on the same cores meanwhile. In churn
the C client opens and closes a number of connections and loadgen goes on for a time; its rate is
churn.mean_per_s. "by round" is the median of the ratios inside each round, which the drift of a shared
machine disturbs least."""


# --- what is measured -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison.

    processes: C clients, and loadgen's workers. ports: the range of source ports, both ends included.
    own_sink: loadgen listens itself instead of meeting the C sinks. target: the least ratio to be
    content with, of rates to the reference (`by_quarter` False) or of last to first quarter (True).
    churn_s: 0 to hold the connections; else each is closed at once, the reference opens `connections` of
    them and loadgen goes on for so long. give_up_s: how long the ramp may take. memory: look at the
    memory of loadgen's processes, too.
    """

    name: str
    strategy: str
    connections: int
    processes: int
    sinks: int
    sources: tuple[str, ...]
    target: float
    ports: tuple[int, int] = (1024, 65535)
    own_sink: bool = False
    by_quarter: bool = False
    reference_only: bool = False
    churn_s: float = 0.0
    give_up_s: int = GIVE_UP_S
    memory: bool = False

    @property
    def label(self) -> str:
        """Name for people; the strategy tells the cases of last-quarter apart."""
        return f"{self.name}, {self.strategy}"

    @property
    def at_once(self) -> int:
        """How many connections are open at a time."""
        return CHURN_CONCURRENCY if self.churn_s else self.connections

    @property
    def size(self) -> str:
        """How much there is to do, for people."""
        return f"{self.connections:,}" + (f" or {self.churn_s:g} s" if self.churn_s else "")

    def small(self) -> Case:
        """An eighth of the connections, ports and duration: for a look, not for a claim."""
        low, high = self.ports
        ports = (low, low + (high - low + 1) // 8 - 1)
        return replace(self, connections=self.connections // 8, ports=ports, churn_s=self.churn_s / 8)


FOUR_SOURCES = ("127.0.1.1", "127.0.1.2", "127.0.1.3", "127.0.1.4")
OPEN_HOLD = Case("open-hold", "late-range", 36_000, 2, 2, FOUR_SOURCES, target=0.80)
# 64,000 of the 64,512 ports: each process has 128 to spare, the listener's own port is among them.
LAST_QUARTER = Case("last-quarter", "late-range", 64_000, 4, 4, ("127.0.1.1",), target=0.80, by_quarter=True)
CHURN = Case("churn", "late-range", 150_000, 1, 1, ("127.0.1.1",), target=0.75, churn_s=5.0)
CASES = (
    OPEN_HOLD,
    replace(OPEN_HOLD, name="whole", own_sink=True, target=0.70),
    LAST_QUARTER,
    replace(LAST_QUARTER, strategy="explicit"),
    CHURN,
    replace(CHURN, name="churn-whole", own_sink=True),
)
#: Only with --slow, only for the reference: what both other strategies are there to avoid.
SLOW_CASES = (replace(LAST_QUARTER, strategy="kernel", reference_only=True, give_up_s=GIVE_UP_LONG_S),)
#: Only with --million. At most 1.3 times as long as C is a rate of 1 / 1.3. A process that may open 20,000
#: files holds 18,868 of the connections, and a sink, whose share is by hash, about 17,857.
MILLION = Case(
    "million",
    "late-range",
    1_000_000,
    processes=53,
    sinks=56,
    sources=tuple(f"127.0.1.{last}" for last in range(1, 21)),
    target=0.77,
    own_sink=True,
    give_up_s=GIVE_UP_LONG_S,
    memory=True,
)


@dataclass(frozen=True, slots=True)
class Sample:
    """What one program did once. tenths_s: how long each tenth of the connections took, empty if unknown.

    peak: connections the C sinks held at once, all together; None when they were not the sinks.
    memory_bytes: the most that all loadgen's processes together took, the kernel's part not included;
    None when nobody looked.
    """

    program: str
    rate_per_s: float
    established: int
    failed: int
    lost: int
    tenths_s: tuple[float, ...] = ()
    cpu_s: float | None = None
    connect_p50_us: float | None = None
    peak: int | None = None
    memory_bytes: int | None = None
    note: str = ""

    def trouble(self, case: Case) -> str:
        """Why this sample must not be read as a speed; empty when it may."""
        # Churn by loadgen ends with its time, not with a number; and nobody holds what is closed at once.
        by_time = bool(case.churn_s) and self.program == "loadgen"
        if self.failed or self.lost or (self.established != case.connections and not by_time):
            wanted = "" if by_time else f" of {case.connections:,}"
            return (
                f"{self.established:,}{wanted} established, {self.failed:,} failed, "
                f"{self.lost:,} lost{'; ' + self.note if self.note else ''}"
            )
        if self.peak is not None and self.peak != case.connections and not case.churn_s:
            return f"the sinks never held more than {self.peak:,} of {case.connections:,} at once"
        return ""


@dataclass(slots=True)
class Result:
    """All samples of one case, round by round."""

    case: Case
    reference: list[Sample] = field(default_factory=list)
    loadgen: list[Sample] = field(default_factory=list)


# --- arithmetic -------------------------------------------------------------------------------------------


def port_slices(low: int, high: int, count: int) -> list[tuple[int, int]]:
    """Cut ports low..high (both included) into `count` neighbouring slices, equal but for one port."""
    size = high - low + 1
    edges = [low + size * index // count for index in range(count + 1)]
    return [(edges[index], edges[index + 1] - 1) for index in range(count)]


def shares(total: int, count: int) -> list[int]:
    """`total` cut into `count` whole numbers that differ by one at most."""
    return [total * (index + 1) // count - total * index // count for index in range(count)]


def merge_tenths(
    offsets_s: Sequence[float], counts: Sequence[int], tenths_s: Sequence[Sequence[float]]
) -> tuple[float, ...]:
    """The tenths of several processes together, from the tenths of each.

    offsets_s: when each process made its first attempt, seconds after the earliest (which is 0).
    counts: connections each established. Inside one tenth of one process the rate is taken as constant.

    Returns: ten durations in seconds that add up to "earliest first attempt to last established".
    """
    curves = [
        (offset + np.concatenate(([0.0], np.cumsum(tenths))), np.linspace(0, count, 11))
        for offset, count, tenths in zip(offsets_s, counts, tenths_s, strict=True)
    ]
    instants = np.unique(np.concatenate([when for when, _ in curves]))
    open_count = np.sum([np.interp(instants, when, done) for when, done in curves], axis=0)
    reached = np.interp(np.linspace(0, sum(counts), 11), open_count, instants)
    reached[0] = 0.0  # the clock starts at the first attempt, whoever made it
    return tuple(float(step) for step in np.diff(reached))


def quarter_rates(tenths_s: Sequence[float], connections: int) -> tuple[float, float, float, float]:
    """Connections per second in each quarter; a quarter that ends inside a tenth takes its part of it."""
    reached = np.interp([0, 2.5, 5, 7.5, 10], np.arange(11), np.concatenate(([0.0], np.cumsum(tenths_s))))
    q1, q2, q3, q4 = (connections / 4 / max(float(step), 1e-9) for step in np.diff(reached))
    return q1, q2, q3, q4


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, smallest and largest of some numbers."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Raises: statistics.StatisticsError when there is no value."""
        return cls(statistics.median(values), min(values), max(values))


def ratio_by_round(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Spread of ours / theirs, taken inside each round."""
    return Spread.of([a / b for a, b in zip(ours, theirs, strict=True)])


def descendants(parents: Mapping[int, int], ancestor: int) -> list[int]:
    """`ancestor` and every process below it. parents: process id -> its parent's."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    found = [ancestor]
    for pid in found:  # grows meanwhile
        found += children.get(pid, [])
    return found


def pss_bytes(smaps_rollup: str) -> int:
    """Memory of one process, bytes, what it shares divided by the number of sharers; 0 if the text has none."""
    for line in smaps_rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


# --- the namespace ----------------------------------------------------------------------------------------


def enter_namespace(arguments: Sequence[str]) -> None:
    """Start this program again in a new network namespace; does not return.

    Raises: HostError when util-linux's unshare is missing or the kernel refuses.
    """
    # Root without CAP_SYS_ADMIN exists in containers; a user namespace may still be open to it.
    ways = [["--map-root-user", "--net"]] if os.geteuid() else [["--net"], ["--map-root-user", "--net"]]
    if shutil.which("unshare") is None:
        raise HostError("bench needs a network namespace: install util-linux, which brings `unshare`")
    said = ""
    for way in ways:
        tried = subprocess.run(["unshare", *way, "true"], capture_output=True, text=True, check=False, timeout=30)
        if tried.returncode == 0:
            os.chdir(ROOT)
            command = [sys.executable, "-m", "bench.run", "--inside", *arguments]
            os.execvp("unshare", ["unshare", *way, *command])
        said = tried.stderr.strip()
    raise HostError(f"bench needs a network namespace and this host refuses one ({said}); try as root")


def set_up_namespace() -> None:
    """Loopback up, listen queues long enough.

    Raises: UsageError when this is no fresh namespace, so that no flag can put this load on the host.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(sock, SIOCGIFFLAGS, struct.pack("16sH22x", b"lo", 0))
        flags: int = struct.unpack("16sH22x", answer)[1]
        if flags & IFF_UP:
            raise UsageError("--inside is for the harness itself: loopback is up, so this namespace is in use")
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | IFF_UP))
    write_sysctl("core/somaxconn", "65535")
    unprivileged = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if int(unprivileged.read_text()) > 1024:  # the port range must not begin below it
        unprivileged.write_text("1024")


def write_sysctl(name: str, value: str) -> None:
    """Set one sysctl below net/. Raises: HostError when the kernel refuses."""
    try:
        Path("/proc/sys/net", name).write_text(value)
    except OSError as error:
        raise HostError(f"cannot set net/{name} to {value!r} in the namespace: {error.strerror}") from error


def sockets_left(sockstat: str) -> int:
    """TCP sockets that still exist, TIME-WAIT included, from the text of /proc/net/sockstat."""
    for line in sockstat.splitlines():
        if line.startswith("TCP:"):
            words = line.split()
            return sum(int(words[words.index(key) + 1]) for key in ("inuse", "orphan", "tw"))
    return 0


def wait_until_quiet() -> int:
    """Wait until no TCP socket is left in the namespace; returns how many are after QUIET_TIMEOUT_S."""
    deadline = time.monotonic() + QUIET_TIMEOUT_S
    while (left := sockets_left(Path("/proc/net/sockstat").read_text())) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


# --- the C programs ---------------------------------------------------------------------------------------


def build_reference() -> None:
    """Compile client.c and sink.c into bench/build. Raises: HostError without a working C compiler."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise HostError("bench compares with a C program and found no C compiler; install gcc or set CC")
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in ("client", "sink"):
        source = ROOT / "bench" / "reference" / f"{name}.c"
        command = [compiler, "-std=c11", "-O2", "-Wall", "-Wextra", str(source), "-o", str(BUILD / name)]
        built = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if built.returncode:
            raise HostError(f"{compiler} could not build {source.name}: {built.stderr.strip()}")


@contextmanager
def c_programs(name: str, argument_lists: Sequence[Sequence[str]]) -> Iterator[list[subprocess.Popen[str]]]:
    """Run bench/build/NAME once per argument list; whatever still runs at the end is killed.

    Each ends by itself when its standard input is closed, so nothing survives this process either.
    """
    with ExitStack() as stack:
        children = []
        for arguments in argument_lists:
            child = subprocess.Popen(
                [str(BUILD / name), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            stack.enter_context(child)
            stack.callback(child.kill)  # runs before the wait of Popen.__exit__; no harm when it has ended
            children.append(child)
        yield children


def first_line(child: subprocess.Popen[str], timeout_s: float) -> dict[str, Any]:
    """The JSON that a C program writes when it is ready. Raises: LoadgenError when none comes in time."""
    assert child.stdout is not None
    if not select.select([child.stdout], [], [], timeout_s)[0]:
        raise LoadgenError(f"{child.args!r} said nothing for {timeout_s:g} s")
    line = child.stdout.readline()
    if not line:
        raise LoadgenError(f"{child.args!r} ended at once, with code {child.wait(timeout=10)}")
    answer: dict[str, Any] = json.loads(line)
    return answer


def last_line(child: subprocess.Popen[str], timeout_s: float = 60) -> dict[str, Any]:
    """Close the program's standard input, which ends it; the JSON that it writes then."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.close()
    try:
        child.wait(timeout_s)  # the line fits into the pipe, so nobody has to read meanwhile
        # Not communicate(): it reads the pipe itself and would miss a line that readline() has buffered,
        # which happens in churn, where the client writes both lines at once.
        answer: dict[str, Any] = json.loads(child.stdout.read())
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise LoadgenError(f"{child.args!r} did not end as it should: {error}") from error
    return answer


@contextmanager
def c_sinks(case: Case) -> Iterator[list[subprocess.Popen[str]]]:
    """Fresh C sinks that listen on TARGET, sharing its connections by hash."""
    # The hash does not share evenly: a sink's part is binomial, so five standard deviations more.
    part = 1 / case.sinks
    expect = int(case.at_once * part + 5 * (case.at_once * part * (1 - part)) ** 0.5)
    arguments = ["--listen", TARGET, "--backlog", "65535", "--expect", str(expect)]
    with c_programs("sink", [arguments] * case.sinks) as sinks:
        for sink in sinks:
            first_line(sink, 10)
        yield sinks


def run_reference(case: Case) -> Sample:
    """One sample of the C clients against C sinks."""
    with ExitStack() as stack:
        sinks = stack.enter_context(c_sinks(case))
        start_at_ns = time.monotonic_ns() + int(START_DELAY_S * 1e9)
        argument_lists = [
            [
                *("--target", TARGET, "--sources", ",".join(case.sources), "--strategy", case.strategy),
                *("--connections", str(count), "--ports", f"{low}-{high}", "--close", "rst"),
                *("--start-at", str(start_at_ns), "--give-up-ms", str(case.give_up_s * 1000)),
                *(["--churn", "--window", str(CHURN_CONCURRENCY)] if case.churn_s else []),
            ]
            for count, (low, high) in zip(
                shares(case.connections, case.processes),
                port_slices(*case.ports, case.processes),
                strict=True,
            )
        ]
        clients = stack.enter_context(c_programs("client", argument_lists))
        ramps = [first_line(client, START_DELAY_S + case.give_up_s + 30) for client in clients]
        # Hold: the sinks take what is still in the accept queues.
        time.sleep(max(0.5, case.at_once / 200_000))
        ends = [last_line(client) for client in clients]
        peak = sum(last_line(sink)["peak"] for sink in sinks)
    first_ns = min(ramp["first_ns"] for ramp in ramps)
    counts = [ramp["established"] for ramp in ramps]
    return Sample(
        program="reference",
        rate_per_s=sum(counts) / max((max(ramp["last_ns"] for ramp in ramps) - first_ns) / 1e9, 1e-9),
        established=sum(counts),
        failed=sum(ramp["failed"] for ramp in ramps),
        lost=sum(end["lost"] for end in ends),
        tenths_s=merge_tenths(
            [(ramp["first_ns"] - first_ns) / 1e9 for ramp in ramps],
            counts,
            [[tenth / 1e9 for tenth in ramp["tenths_ns"]] for ramp in ramps],
        ),
        cpu_s=sum(ramp["cpu_ns"] for ramp in ramps) / 1e9,
        connect_p50_us=statistics.median(ramp["connect_p50_ns"] for ramp in ramps) / 1e3,
        peak=peak,
        note=next((ramp["first_error"] for ramp in ramps if ramp["first_error"]), ""),
    )


# --- loadgen ----------------------------------------------------------------------------------------------


def scenario(case: Case) -> str:
    """The case as loadgen reads it. No `lab:` section: the harness is in a namespace of its own already."""
    sources = case.sources[0] if len(case.sources) == 1 else f"{case.sources[0]}-{case.sources[-1]}"
    lines = [
        f"name: bench-{case.name}",
        f"sources: {{addresses: [{sources}], strategy: {case.strategy}}}",
        f"targets: [{{address: {TARGET}, sink: {str(case.own_sink).lower()}}}]",
        *(
            [f"churn: {{duration: {case.churn_s:g}s, concurrency: {CHURN_CONCURRENCY}}}"]
            if case.churn_s
            else [f"connections: {case.connections}", "hold: 1s"]
        ),
        f"workers: {case.processes}",
        *([f"sinks: {case.sinks}"] if case.own_sink else []),
        "close: rst",
    ]
    return "\n".join(lines) + "\n"


def loadgen_command(file: Path, out: Path) -> list[str]:
    """The command line whose standard output is summary.json and nothing else."""
    # The namespace is the harness's own, so `explicit` is in nobody's way.
    flags = ["--json", "--quiet", "--allow-port-blocking"]
    return [sys.executable, "-m", "loadgen", "run", str(file), *flags, "--out", str(out)]


def read_summary(summary: dict[str, Any]) -> Sample:
    """A sample from the keys of summary.json that are compared. Raises: KeyError when one is missing."""
    connect = summary.get("latency_us", {}).get("connect", {})
    churn = summary.get("churn")
    return Sample(
        program="loadgen",
        rate_per_s=churn["mean_per_s"] if churn else summary["rate_per_s"]["established_mean"],
        established=summary["outcomes"]["established"],
        failed=summary["outcomes"]["failed"],
        lost=summary["open"]["lost"],
        tenths_s=tuple(summary.get("tenths_s") or ()),
        cpu_s=summary.get("generator", {}).get("cpu_s"),
        connect_p50_us=connect.get("p50"),
        note=str(summary.get("verdict", {}).get("text", "")),
    )


def memory_of(pid: int) -> int:
    """Memory of a process and all below it, bytes: the sum of their Pss. Those that just ended count 0.

    What the kernel needs for their sockets is not in it.
    """
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in brackets, may have brackets itself; the state and the parent follow the last one.
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # ended meanwhile
            continue
    total = 0
    for one in descendants(parents, pid):
        try:
            total += pss_bytes(Path("/proc", str(one), "smaps_rollup").read_text())
        except OSError:  # ended meanwhile
            continue
    return total


@contextmanager
def memory_watched(pid: int) -> Iterator[list[int]]:
    """Meanwhile, memory_of(pid) every MEMORY_EVERY_S, each added to the list.

    A thread of the harness does it, on the cores of what is measured. A look at 110 processes takes about
    90 ms of processor time, on two cores a twentieth of what there is, which loadgen lacks and C does not.
    """
    readings: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(MEMORY_EVERY_S):
            readings.append(memory_of(pid))

    thread = threading.Thread(target=watch, name="memory")
    thread.start()
    try:
        yield readings
    finally:
        over.set()
        thread.join()


def run_loadgen(case: Case) -> Sample:
    """One sample of loadgen, through its command line like any user.

    Raises: LoadgenError with what loadgen said, when it failed or its summary is not one.
    """
    with tempfile.TemporaryDirectory(prefix="loadgen-bench-") as folder, ExitStack() as stack:
        file = Path(folder, "scenario.yaml")
        file.write_text(scenario(case))
        sinks = [] if case.own_sink else stack.enter_context(c_sinks(case))
        command = loadgen_command(file, Path(folder, "results"))
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        stack.enter_context(child)
        stack.callback(child.kill)  # as in c_programs; its workers and sinks end with it
        readings = stack.enter_context(memory_watched(child.pid)) if case.memory else []
        try:
            answer, complaint = child.communicate(timeout=case.give_up_s + 60)
        except subprocess.TimeoutExpired as error:
            raise LoadgenError(f"loadgen run did not end within {error.timeout:g} s") from error
        if child.returncode:
            said = " / ".join(complaint.strip().splitlines()[-3:])
            raise LoadgenError(f"loadgen run ended with code {child.returncode}: {said}")
        try:
            sample = read_summary(json.loads(answer))
        except (ValueError, KeyError) as error:
            raise LoadgenError(f"loadgen's summary cannot be compared: {error!r}") from error
        peak = sum(last_line(sink)["peak"] for sink in sinks) if sinks else None
        return replace(sample, peak=peak, memory_bytes=max(readings, default=None))


# --- the run ----------------------------------------------------------------------------------------------


def measure(result: Result, rounds: int, *, reference_only: bool, log: Console) -> None:
    """All rounds of one case, added to `result` one by one, so that a failure keeps what was measured.

    Raises: LoadgenError when a program fails, HostError when the host refuses.
    """
    case = result.case
    write_sysctl("ipv4/ip_local_port_range", f"{case.ports[0]} {case.ports[1]}")
    for number in range(rounds):
        turns = [(run_reference, result.reference), (run_loadgen, result.loadgen)]
        if reference_only or case.reference_only:
            turns.pop()
        for run, samples in turns if number % 2 == 0 else reversed(turns):
            if left := wait_until_quiet():
                log.print(f"[yellow]{left:,} sockets of the sample before are still there[/]")
            sample = run(case)
            samples.append(sample)
            trouble = sample.trouble(case)
            log.print(
                f"{case.label}: round {number + 1} of {rounds}, {sample.program}: {sample.rate_per_s:,.0f}/s"
                + (f", {sample.memory_bytes / 2**30:.2f} GiB" if sample.memory_bytes else "")
                + (f" [yellow]({trouble})[/]" if trouble else ""),
                highlight=False,
            )


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    facts = {
        key.strip(): value.strip()
        for key, _, value in (line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines())
    }
    return {
        "kernel": platform.release(),
        "cpu": facts.get("model name", platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
    }


def quarters(samples: Sequence[Sample]) -> tuple[list[float], list[float]]:
    """Median rate of each quarter, conn/s, and last / first quarter of each sample that knows its tenths."""
    rates = [quarter_rates(s.tenths_s, s.established) for s in samples if len(s.tenths_s) == 10]
    medians = [statistics.median(column) for column in zip(*rates, strict=True)]
    return medians, [rate[3] / rate[0] for rate in rates]


def summarise(result: Result) -> dict[str, Any]:
    """One case as plain values: every spread, ratio and verdict that the tables show.

    `met` is None when there is nothing to judge or a sample is not what the case asked for.
    """
    case = result.case
    troubles = [
        f"{sample.program}: {trouble}"
        for sample in result.reference + result.loadgen
        if (trouble := sample.trouble(case))
    ]
    summary: dict[str, Any] = {"case": asdict(case), "size": case.size, "met": None, "troubles": troubles}
    for program, samples in (("reference", result.reference), ("loadgen", result.loadgen)):
        if not samples:
            continue
        summary[program] = {"rate_per_s": asdict(Spread.of([s.rate_per_s for s in samples]))}
        by_quarter, ratios = quarters(samples)
        if ratios:
            summary[program] |= {"quarters_per_s": by_quarter, "last_to_first": asdict(Spread.of(ratios))}
    if looks := [sample.memory_bytes for sample in result.loadgen if sample.memory_bytes is not None]:
        summary["loadgen"]["memory_bytes"] = asdict(Spread.of(looks))
    rounds = list(zip(result.loadgen, result.reference, strict=False))  # a failure may have cut the last short
    if rounds:
        ours, theirs = [ours.rate_per_s for ours, _ in rounds], [theirs.rate_per_s for _, theirs in rounds]
        summary["ratio_of_medians"] = statistics.median(ours) / statistics.median(theirs)
        summary["ratio_by_round"] = asdict(ratio_by_round(ours, theirs))
        judged = (
            summary["loadgen"].get("last_to_first", {}).get("median")
            if case.by_quarter
            else summary["ratio_by_round"]["median"]
        )
        if not troubles and judged is not None:
            summary["met"] = bool(judged >= case.target)
    return summary


def _verdict(summary: dict[str, Any]) -> str:
    target = summary["case"]["target"]
    words = {True: "[green]met[/]", False: "[red]below target[/]", None: "not judged"}
    return f"{words[summary['met']]} ({target:.2f})"


def _range(spread: dict[str, float], form: str) -> str:
    if spread["low"] == spread["high"]:  # one round
        return f"{spread['median']:{form}}"
    return f"{spread['median']:{form}} ({spread['low']:{form}} - {spread['high']:{form}})"


def print_tables(summaries: Sequence[dict[str, Any]], out: Console) -> None:
    """The result for people: rates beside the reference, then the quarters."""
    rates = [summary for summary in summaries if not summary["case"]["by_quarter"] and "reference" in summary]
    if rates:
        table = Table(title="connections opened per second: median (least - most)", title_justify="left")
        for heading in ("case", "C reference", "loadgen", "ratio of medians", "by round", "target"):
            table.add_column(heading, justify="left" if heading in ("case", "target") else "right")
        for summary in rates:
            ours = "ratio_by_round" in summary
            table.add_row(
                f"{summary['case']['name']} ({summary['size']})",
                _range(summary["reference"]["rate_per_s"], ",.0f"),
                _range(summary["loadgen"]["rate_per_s"], ",.0f") if ours else "-",
                f"{summary['ratio_of_medians']:.2f}" if ours else "-",
                _range(summary["ratio_by_round"], ".2f") if ours else "-",
                _verdict(summary),
            )
        out.print(table)
    by_quarter = [summary for summary in summaries if summary["case"]["by_quarter"]]
    if by_quarter:
        table = Table(title="connections per second by quarter of the port range", title_justify="left")
        for heading in ("strategy", "program", "first", "second", "third", "last", "last / first", "target"):
            left = heading in ("strategy", "program", "target")
            table.add_column(heading, justify="left" if left else "right")
        for summary in by_quarter:
            for program in ("reference", "loadgen"):
                part = summary.get(program, {})
                if "last_to_first" in part:
                    table.add_row(
                        summary["case"]["strategy"],
                        "C reference" if program == "reference" else program,
                        *(f"{rate:,.0f}" for rate in part["quarters_per_s"]),
                        _range(part["last_to_first"], ".2f"),
                        _verdict(summary) if program == "loadgen" else "",
                    )
        out.print(table)
    for summary in summaries:
        if memory := summary.get("loadgen", {}).get("memory_bytes"):
            gib = _range({key: size / 2**30 for key, size in memory.items()}, ".2f")
            told = f"loadgen's processes together took {gib} GiB at most (Pss, without the kernel's sockets)"
            out.print(f"{summary['case']['name']}: {told}", markup=False, highlight=False)
        for trouble in summary["troubles"]:
            out.print(f"{summary['case']['name']}, not judged, {trouble}", markup=False, highlight=False)


def write_results(results: Sequence[Result], summaries: Sequence[dict[str, Any]], host: dict[str, Any]) -> Path:
    """Everything that was measured, as results/bench/<UTC>.json."""
    now = datetime.now(UTC)
    file = ROOT / "results" / "bench" / f"{now:%Y%m%dT%H%M%SZ}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "schema": "loadgen.bench/1",
        "finished_at": now.isoformat(timespec="seconds"),
        "machine": host,
        "method": METHOD,
        "summaries": summaries,
        "samples": [
            {"case": result.case.label, "round": number + 1, **asdict(sample)}
            for result in results
            for samples in (result.reference, result.loadgen)
            for number, sample in enumerate(samples)
        ],
    }
    file.write_text(json.dumps(content, indent=1) + "\n")
    return file


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The flags; argparse ends the program with code 2 by itself when they make no sense."""
    parser = argparse.ArgumentParser(prog="bench.run", description="loadgen beside a C client, in the same run")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each case (default 5; 1 of million)")
    parser.add_argument("--quick", action="store_true", help="one round of an eighth of the size: a look, no claim")
    parser.add_argument("--only", choices=sorted({case.name for case in (*CASES, MILLION)}), help="this case alone")
    parser.add_argument("--reference-only", action="store_true", help="only the C programs: what can this host do?")
    parser.add_argument("--slow", action="store_true", help="also the kernel's own choice of ports (minutes)")
    parser.add_argument("--million", action="store_true", help="also 1,000,000 connections (minutes, and 11 GB free)")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.rounds is not None and not 1 <= options.rounds <= 1000:
        parser.error("--rounds must be 1 to 1000")
    if options.only == MILLION.name and not options.million:
        parser.error("--only million needs --million, too: it takes minutes and much memory")
    return options


def cases_of(options: argparse.Namespace) -> list[tuple[Case, int]]:
    """What to measure, and in how many rounds each."""
    chosen = []
    for case in (*CASES, *(SLOW_CASES if options.slow else ()), *([MILLION] if options.million else [])):
        # Without loadgen, these cases are the same as open-hold and churn.
        doubled = options.reference_only and case.own_sink and case != MILLION
        if options.only == case.name or (options.only is None and not doubled):
            few = options.quick or case in SLOW_CASES
            rounds = 1 if few else options.rounds or (1 if case == MILLION else 5)
            chosen.append((case.small() if options.quick else case, rounds))
    return chosen


def run(options: argparse.Namespace) -> int:
    """Measure, print, write; the exit code. Runs inside the namespace."""
    out = Console(width=None if sys.stdout.isatty() else 120)
    log = Console(stderr=True, soft_wrap=True)
    build_reference()
    set_up_namespace()
    host, failure = machine(), ""
    results: list[Result] = []
    for case, rounds in cases_of(options):
        try:
            results.append(Result(case))
            measure(results[-1], rounds, reference_only=options.reference_only, log=log)
        except HostError:
            raise
        except LoadgenError as error:  # the other cases may still say something
            failure = f"{case.label}: {error}"
            log.print(failure, style="red", markup=False, highlight=False)
    summaries = [summarise(result) for result in results]
    print_tables(summaries, out)
    out.print(
        f"Linux {host['kernel']}, {host['cpu']}, {host['cores']} cores, {host['memory_gib']} GiB, Python "
        f"{host['python']}, load average {host['load_average']:.1f} before the run",
        highlight=False,
    )
    out.print(METHOD, highlight=False)
    if options.quick:
        out.print("--quick: one small round says that it works, not how fast it is.", style="yellow")
    file = write_results(results, summaries, host)
    out.print(f"Written to {file.relative_to(ROOT)}", highlight=False, soft_wrap=True)
    return ExitCode.BUG if failure else ExitCode.FINE


def main(arguments: Sequence[str]) -> int:
    """Parse, move into a namespace, measure; every failure is one sentence on stderr and an exit code."""
    options = parse(arguments)
    try:
        if not options.inside:
            enter_namespace(arguments)
        return run(options)
    except LoadgenError as error:
        print(f"bench: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
