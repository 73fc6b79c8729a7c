"""Other load generators beside loadgen: how far past the walls, and how fast they open and close.

    python -m bench.peers [--only NAME] [--seconds 10] [--json]

    hold   open connections to ONE address and port and keep them: 28,232 from one source address, the default range
           of source ports; where a tool can be told its source address, 4 x 28,232 from four. The server is silent.
    churn  one connection for every request, over and over, against one small HTTP server that closes first.

Everything is counted from outside the tools, ten times a second: by the server, in memory it shares with the harness,
and in /proc/net/sockstat. What a tool says itself is kept beside it. Every measurement has a network and process
namespace of its own, which ends with everything in it; no packet leaves and no setting of the host changes. Tools
that are not installed are listed as such.

Exit code 0 when all that is installed was measured, however far it came; 1 when a measurement failed; 3 when this host
has no C compiler or allows no namespace.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import mmap
import os
import re
import resource
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench.host import ROOT, machine, set_up_namespace, write_sysctl
from loadgen.errors import ExitCode, HostError, LoadgenError

HOST, PORT = "127.0.0.1", 9000
URL = f"http://{HOST}:{PORT}/"
SERVER = ROOT / "bench" / "build" / "http"
SOURCES = ("127.0.1.1", "127.0.1.2", "127.0.1.3", "127.0.1.4")
#: The default range. It is set in the namespace, too, so that it is the same wherever this runs.
RANGE = (32768, 60999)
RANGE_SIZE = RANGE[1] - RANGE[0] + 1
#: A process may have 20,000 files, so one destination's worth of ports takes two processes of each tool.
DESCRIPTORS = 20_000
PROCESSES_PER_SOURCE = 2
#: The kernel spreads connections over the servers by hash, so each has room for a quarter more than its part.
HELD_PER_SERVER = 15_000
CHURN_CONCURRENCY = 64
#: loadgen's exchange sends and reads back this many bytes; the server's whole answer is as long.
EXCHANGE_BYTES = 64
SAMPLE_EVERY_S = 0.1
#: How long a tool may take from its start to its first connection (the virtual machine of tsung needs seconds).
START_UP_S = 20.0
#: Churn: how much of the beginning is left out of the rate.
SETTLE_S = 1.0

METHOD = f"""\
One run each, against the same C server, both ends on the same cores. Hold: two processes of a tool for each source \
address, because {DESCRIPTORS:,} files are all that one process may have; time runs from the first connection; "lost" \
was accepted and is gone at the end. Churn: answers of the server per second, its first second left out. "others": \
tasks of somebody else that wanted a core just before; 0.0 is a machine of one's own."""


# --- what is asked of a tool ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Job:
    """One process of a tool: what it has to do.

    connections: hold: how many to open; churn: how many at a time. source: the address to bind to, None to leave
    it to the kernel. sources: all of them, for a tool whose one process can use several. index: which of the
    processes this is. folder: its own, for files.
    """

    connections: int
    seconds: float
    folder: Path
    index: int = 0
    source: str | None = None
    sources: tuple[str, ...] = ()

    @property
    def whole_seconds(self) -> int:
        """For tools that know no fractions."""
        return math.ceil(self.seconds)


@dataclass(frozen=True, slots=True)
class Said:
    """What a tool says of its churn itself; None where it says nothing."""

    requests: int | None = None
    rate_per_s: float | None = None
    errors: int | None = None


Command = Callable[[Job], list[str]]


@dataclass(frozen=True, slots=True)
class Tool:
    """A load generator. hold_mode and churn_mode: how it is used here, and what differs, in words.

    binds: whether it can be told its source address. alone: whether one process of it has workers of its own, so
    that it is started once and given everything. package: where apt has it. asks_first: whether it opens one
    connection and waits for an answer before it opens the others.
    """

    name: str
    hold: Command
    churn: Command
    parse: Callable[[str], Said]
    hold_mode: str
    churn_mode: str
    version: tuple[str, ...]
    package: str | None = None
    binds: bool = False
    alone: bool = False
    asks_first: bool = False


def _wrk_hold(job: Job) -> list[str]:
    return ["wrk", "-t1", f"-c{job.connections}", "-d3600s", URL]  # its time-out is counted and closes nothing


def _wrk_churn(job: Job) -> list[str]:
    return ["wrk", "-t1", f"-c{job.connections}", f"-d{job.whole_seconds}s", "-H", "Connection: close", URL]


def _ab_hold(job: Job) -> list[str]:
    bound = ["-B", job.source] if job.source else []
    return ["ab", "-q", "-r", "-s", "3600", f"-c{job.connections}", f"-n{job.connections}", *bound, URL]


def _ab_churn(job: Job) -> list[str]:
    # -t implies -n 50000, so -n comes after it.
    return ["ab", "-q", "-d", "-S", f"-c{job.connections}", f"-t{job.whole_seconds}", "-n2000000", URL]


def _hey_hold(job: Job) -> list[str]:
    return ["hey", "-c", str(job.connections), "-n", str(job.connections), "-t", "0", URL]


def _hey_churn(job: Job) -> list[str]:
    return ["hey", "-c", str(job.connections), "-z", f"{job.seconds:g}s", "-disable-keepalive", URL]


def _httperf(job: Job, *, rate: int, connections: int, timeout_s: int) -> list[str]:
    where = ["--server", HOST, "--port", str(PORT)]
    how_much = ["--num-conns", str(connections), "--rate", str(rate), "--timeout", str(timeout_s)]
    return ["httperf", "--client", f"{job.index}/{job.index + 1}", *where, *how_much]


def _httperf_hold(job: Job) -> list[str]:
    return _httperf(job, rate=20_000, connections=job.connections, timeout_s=3600)


def _httperf_churn(job: Job) -> list[str]:
    return _httperf(job, rate=20_000, connections=20_000 * job.whole_seconds, timeout_s=5)


def _h2load_hold(job: Job) -> list[str]:
    return ["h2load", "--h1", "-t1", f"-c{job.connections}", f"-n{job.connections}", URL]


def _h2load_churn(job: Job) -> list[str]:
    # With -D, version 1.52 never ends when the server closes; so it gets a number that takes most of the time.
    number = 5_000 * job.whole_seconds
    return ["h2load", "--h1", "-t1", f"-c{job.connections}", f"-n{number}", "-H", "Connection: close", URL]


def tsung_configuration(job: Job, *, hold: bool) -> str:
    """The XML of tsung: users that open a connection and wait, or that ask for a page for ever."""
    address = f'<ip value="{job.source}"/>' if job.source else ""
    # A think time is over only when a request follows; neither is reached.
    stay = '<request><raw data="x" ack="no_ack"/></request>'
    waits = f'{stay}<thinktime value="3600"/>{stay}'
    page = '<request><http url="/" version="1.0" method="GET"/></request>'
    loops = f'<for from="1" to="100000000" var="i">{page}</for>'
    seconds = 3600 if hold else job.whole_seconds
    return f"""<?xml version="1.0"?>
<!DOCTYPE tsung SYSTEM "/usr/share/tsung/tsung-1.0.dtd" []>
<tsung loglevel="error">
<clients><client host="localhost" use_controller_vm="true" maxusers="100000">{address}</client></clients>
<servers><server host="{HOST}" port="{PORT}" type="tcp"/></servers>
<load duration="{seconds}" unit="second"><arrivalphase phase="1" duration="{seconds}" unit="second">
<users maxnumber="{job.connections}" arrivalrate="20000" unit="second"/></arrivalphase></load>
<sessions><session name="s" probability="100" type="{"ts_raw" if hold else "ts_http"}">
{waits if hold else loops}</session></sessions>
</tsung>
"""


def _tsung(job: Job, *, hold: bool) -> list[str]:
    file = job.folder / "tsung.xml"
    file.write_text(tsung_configuration(job, hold=hold))
    logs = str(job.folder / "log")
    return ["tsung", "-n", "-f", str(file), "-l", logs, "-m", "-", "-i", str(job.index), "start"]


def _tsung_hold(job: Job) -> list[str]:
    return _tsung(job, hold=True)


def _tsung_churn(job: Job) -> list[str]:
    return _tsung(job, hold=False)


def _tcpkali_hold(job: Job) -> list[str]:
    bound = [f"--source-ip={job.source}"] if job.source else []
    often = ["--connect-rate=100000", "--connect-timeout=60s"]
    return ["tcpkali", f"-c{job.connections}", "-w1", "-T3600s", *often, *bound, f"{HOST}:{PORT}"]


def _tcpkali_churn(job: Job) -> list[str]:
    request = "GET / HTTP/1.0\\r\\n\\r\\n"
    often = ["--connect-rate=100000", "-w1", f"-T{job.seconds:g}s"]
    return ["tcpkali", f"-c{job.connections}", *often, "-e", "-1", request, f"{HOST}:{PORT}"]


def _k6(job: Job, *, hold: bool) -> list[str]:
    script = job.folder / "script.js"
    script.write_text(
        f"import http from 'k6/http';\nexport default function () {{ http.get('{URL}', {{timeout: '3600s'}}); }}\n"
    )
    bound = [f"--local-ips={job.source}"] if job.source else []
    seconds = 3600 if hold else job.seconds
    flags = ["--quiet", "--no-usage-report", "--no-connection-reuse", "--address", ""]
    return ["k6", "run", *flags, "--vus", str(job.connections), "--duration", f"{seconds:g}s", *bound, str(script)]


def _k6_hold(job: Job) -> list[str]:
    return _k6(job, hold=True)


def _k6_churn(job: Job) -> list[str]:
    return _k6(job, hold=False)


def loadgen_scenario(job: Job, *, hold: bool) -> str:
    """The scenario of loadgen. No `lab:` section: the harness is in a namespace of its own already."""
    what = (
        [f"connections: {job.connections}", "hold: 1h", f"workers: {PROCESSES_PER_SOURCE * len(job.sources)}"]
        if hold
        else [
            f"churn: {{duration: {job.whole_seconds}s, concurrency: {job.connections}, exchange: {EXCHANGE_BYTES}}}",
            "workers: 1",
        ]
    )
    lines = [
        "name: peers",
        f"sources: {{addresses: [{', '.join(job.sources)}]}}",
        f"targets: [{{address: '{HOST}:{PORT}'}}]",
        *what,
        f"close: {'rst' if hold else 'target'}",
    ]
    return "\n".join(lines) + "\n"


def _loadgen(job: Job, *, hold: bool) -> list[str]:
    file = job.folder / "scenario.yaml"
    file.write_text(loadgen_scenario(job, hold=hold))
    flags = ["--json", "--quiet", "--out", str(job.folder / "results")]
    return [sys.executable, "-m", "loadgen", "run", str(file), *flags]


def _loadgen_hold(job: Job) -> list[str]:
    return _loadgen(job, hold=True)


def _loadgen_churn(job: Job) -> list[str]:
    return _loadgen(job, hold=False)


# --- what the tools say -----------------------------------------------------------------------------------


def _number(pattern: str, text: str) -> float | None:
    found = re.search(pattern, text, re.MULTILINE)
    return float(found[1].replace(",", "")) if found else None


def _count(pattern: str, text: str) -> int | None:
    number = _number(pattern, text)
    return None if number is None else int(number)


def parse_wrk(text: str) -> Said:
    """The line "Socket errors" is there only if there were some."""
    rate = _number(r"^Requests/sec: +([\d.]+)", text)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    bad = (_count(r"Non-2xx or 3xx responses: (\d+)", text) or 0) + sum(map(int, errors.groups() if errors else ()))
    return Said(_count(r"^ +(\d+) requests in", text), rate, None if rate is None else bad)


def parse_ab(text: str) -> Said:
    """The report of ApacheBench."""
    return Said(
        _count(r"^Complete requests: +(\d+)", text),
        _number(r"^Requests per second: +([\d.]+)", text),
        _count(r"^Failed requests: +(\d+)", text),
    )


def parse_hey(text: str) -> Said:
    """Answers by status, and errors by their text, which are lists at the end."""
    rate = _number(r"Requests/sec:\s+([\d.]+)", text)
    answers = sum(map(int, re.findall(r"^\s+\[\d+\]\s+(\d+) responses", text, re.MULTILINE)))
    errors = sum(map(int, re.findall(r"^\s+\[(\d+)\]\s+(?!\d+ responses)\w", text, re.MULTILINE)))
    return Said(None, None, None) if rate is None else Said(answers, rate, errors)


def parse_httperf(text: str) -> Said:
    """Its connection rate includes those that found no descriptor, so the rate is replies / duration."""
    replies, seconds = _count(r"replies (\d+) test-duration", text), _number(r"test-duration ([\d.]+) s", text)
    rate = replies / seconds if replies is not None and seconds else None
    return Said(replies, rate, _count(r"^Errors: total (\d+)", text))


def parse_h2load(text: str) -> Said:
    """Failed requests include those that errored and timed out."""
    return Said(
        _count(r"(\d+) succeeded", text),
        _number(r"finished in \S+, ([\d.]+) req/s", text),
        _count(r"(\d+) failed", text),
    )


def parse_tsung(text: str) -> Said:
    """tsung writes its counters every ten seconds, the last line of a kind has the total; it gives no rate."""
    requests = re.findall(r"^stats: request .* (\d+)$", text, re.MULTILINE)
    errors: dict[str, int] = {}
    for name, total in re.findall(r"^stats: (error_\w+) \d+ (\d+)$", text, re.MULTILINE):
        errors[name] = int(total)  # a running total
    return Said(int(requests[-1]), None, sum(errors.values())) if requests else Said()


def parse_tcpkali(text: str) -> Said:
    """It counts bytes, not answers."""
    return Said(None, None, _count(r"(\d+) connection errors", text))


def parse_k6(text: str) -> Said:
    """The two counters of its summary."""
    found = re.search(r"http_reqs\.*: (\d+) +([\d.]+)/s", text)
    return (
        Said(int(found[1]), float(found[2]), _count(r"http_req_failed\.*: \S+ +[✓✗]? *(\d+)", text))
        if found
        else Said()
    )


def parse_loadgen(text: str) -> Said:
    """summary.json, which `loadgen run --json` prints."""
    try:
        summary = json.loads(text)
        outcomes = summary["outcomes"]
        errors = outcomes["failed"] + summary["open"]["lost"]
        return Said(outcomes["established"], summary["churn"]["mean_per_s"], errors)
    except (ValueError, KeyError, TypeError):
        return Said()


_UNTRIED = "; as its manual says, never tried by the authors of this harness"
TOOLS: Final = (
    Tool(
        "loadgen", _loadgen_hold, _loadgen_churn, parse_loadgen,
        f"one command, {PROCESSES_PER_SOURCE} workers for each source address, late-range, as fast as possible",
        f"one worker, closed loop; sends {EXCHANGE_BYTES} bytes and reads {EXCHANGE_BYTES} back, close: target. The "
        "same packets to the same server, but it writes and reads no HTTP",
        (sys.executable, "-m", "loadgen", "--version"), None, binds=True, alone=True,
    ),
    Tool(
        "wrk", _wrk_hold, _wrk_churn, parse_wrk,
        "one thread, all connections at once, each waits for an answer; cannot bind. Each process opens one more to "
        "try the target and closes it, which is its `lost`",
        "one thread, closed loop, header Connection: close",
        ("wrk", "-v"), "wrk",
    ),
    Tool(
        "ab", _ab_hold, _ab_churn, parse_ab,
        "as many at a time as there are requests, the first of them answered; one source: without -B, four: one -B for "
        "each process",
        "closed loop, HTTP/1.0 without keep-alive, which is its default",
        ("ab", "-V"), "apache2-utils", binds=True, asks_first=True,
    ),
    Tool(
        "hey", _hey_hold, _hey_churn, parse_hey,
        "one goroutine for each connection, no time-out; cannot bind",
        "closed loop, -disable-keepalive; may use both cores",
        ("dpkg-query", "-W", "-f", "${Package} ${Version}", "hey"), "hey",
    ),
    Tool(
        "httperf", _httperf_hold, _httperf_churn, parse_httperf,
        "20,000 due per second; compiled for select(), so about 1,020 connections for each process; cannot bind",
        "open loop, 20,000 due per second; what finds about 1,020 open is not started and counted as an error",
        ("httperf", "--version"), "httperf",
    ),
    Tool(
        "h2load", _h2load_hold, _h2load_churn, parse_h2load,
        "HTTP/1.1, one thread, all clients at once; cannot bind",
        "HTTP/1.1, one thread, closed loop, header Connection: close, a fixed number of requests instead of a time",
        ("h2load", "--version"), "nghttp2-client",
    ),
    Tool(
        "tsung", _tsung_hold, _tsung_churn, parse_tsung,
        "one controller (an Erlang machine) for each process, raw TCP, 20,000 users due per second, one byte sent and "
        "then nothing; one <ip> for each process for four sources",
        "one Erlang machine, users that ask for a page for ever, HTTP/1.0; may use both cores",
        ("tsung", "-v"), "tsung", binds=True,
    ),
    Tool(
        "tcpkali", _tcpkali_hold, _tcpkali_churn, parse_tcpkali,
        "one worker, nothing sent" + _UNTRIED,
        "one worker, closed loop, one request at the beginning of each connection" + _UNTRIED,
        ("tcpkali", "--version"), None, binds=True,
    ),
    Tool(
        "k6", _k6_hold, _k6_churn, parse_k6,
        "one virtual user for each connection" + _UNTRIED,
        "closed loop, --no-connection-reuse" + _UNTRIED,
        ("k6", "version"), None, binds=True,
    ),
)  # fmt: skip
BY_NAME: Final = {tool.name: tool for tool in TOOLS}


def installed(tool: Tool) -> bool:
    """Whether it is on PATH; loadgen is here."""
    return tool.name == "loadgen" or shutil.which(tool.name) is not None


def version_of(tool: Tool) -> str:
    """The line of its own words that has a version, or nothing."""
    try:
        said = subprocess.run(tool.version, capture_output=True, text=True, check=False, timeout=30, cwd=ROOT)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = [line.strip() for line in (said.stdout + said.stderr).splitlines()]
    return next((line for line in lines if re.search(r"\d\.\d", line) and "warning" not in line), "")


# --- arithmetic -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Look:
    """One look from outside. at_s: since the tools were started. accepted, held: by the server, so far and now.

    in_use: TCP sockets of the namespace that are not in TIME-WAIT, both ends of each connection.
    """

    at_s: float
    accepted: int
    held: int
    in_use: int


def sockets_in_use(sockstat: str) -> int:
    """TCP sockets that are not in TIME-WAIT, from the text of /proc/net/sockstat."""
    found = re.search(r"^TCP: inuse (\d+)", sockstat, re.MULTILINE)
    return int(found[1]) if found else 0


def began_s(looks: Sequence[Look]) -> float | None:
    """When the first connection came: the last look that saw none; None if none ever came."""
    last = 0.0
    for look in looks:
        if look.accepted:
            return last
        last = look.at_s
    return None


def quarters_s(looks: Sequence[Look], goal: int) -> list[float | None]:
    """How long each quarter of `goal` held connections took, seconds; None for those never reached.

    Between two looks the number is taken to grow evenly.
    """
    began = began_s(looks)
    reached: list[float | None] = [began]
    for quarter in range(1, 5):
        wanted, before, instant = goal * quarter / 4, None, None
        for look in looks:
            if look.held >= wanted:
                if before is None:
                    instant = look.at_s
                else:
                    part = (wanted - before.held) / (look.held - before.held)
                    instant = before.at_s + part * (look.at_s - before.at_s)
                break
            before = look
        reached.append(instant)
    return [
        None if start is None or end is None else max(end - start, 0.0) for start, end in itertools.pairwise(reached)
    ]


def steady_rate_per_s(looks: Sequence[Look], settle_s: float = SETTLE_S) -> float | None:
    """Accepted per second, from `settle_s` after the first until no more came; None when that is under a second."""
    began = began_s(looks)
    if began is None:
        return None
    end = next(index for index, look in enumerate(looks) if look.accepted == looks[-1].accepted)
    counted = [look for look in looks[: end + 1] if look.at_s >= began + settle_s]
    if len(counted) < 2 or counted[-1].at_s - counted[0].at_s < 1:
        return None
    return (counted[-1].accepted - counted[0].accepted) / (counted[-1].at_s - counted[0].at_s)


def jobs_of(tool: Tool, sources: int, seconds: float, folder: Path) -> list[Job]:
    """The processes that hold the whole range from `sources` addresses."""
    if tool.alone:
        return [Job(RANGE_SIZE * sources, seconds, folder, sources=SOURCES[:sources])]
    count = sources * PROCESSES_PER_SOURCE
    each = RANGE_SIZE // PROCESSES_PER_SOURCE
    jobs = []
    for index in range(count):
        own = folder / str(index)
        own.mkdir()
        # One source is the one the kernel takes by itself: to bind costs some tools a cliff they need not meet.
        source = SOURCES[index // PROCESSES_PER_SOURCE] if sources > 1 else None
        jobs.append(Job(each, seconds, own, index, source))
    return jobs


# --- one measurement, inside its namespaces ---------------------------------------------------------------


class Servers:
    """The servers of one measurement, and what they count."""

    def __init__(self, count: int, folder: Path, *, silent: bool) -> None:
        self.children: list[subprocess.Popen[str]] = []
        self._counts: list[mmap.mmap] = []
        self._answered = 0
        for index in range(count):
            file = folder / f"count-{index}"
            command = [str(SERVER), "--listen", f"{HOST}:{PORT}", "--count", str(file), *(["--silent"] * silent)]
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self.children.append(child)
            assert child.stdout is not None
            if not select.select([child.stdout], [], [], 10)[0] or not child.stdout.readline():
                raise LoadgenError("the HTTP server did not start")
            with file.open("rb") as opened:
                self._counts.append(mmap.mmap(opened.fileno(), 16, prot=mmap.PROT_READ))

    def counts(self) -> tuple[int, int]:
        """Connections accepted so far, and held now, all servers together."""
        pairs = [struct.unpack("QQ", count[:16]) for count in self._counts]
        return sum(pair[0] for pair in pairs) - self._answered, sum(pair[1] for pair in pairs)

    def cpu_s(self) -> float:
        """Processor time of all of them so far."""
        total = 0
        for child in self.children:
            words = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
            total += int(words[11]) + int(words[12])
        return total / os.sysconf("SC_CLK_TCK")

    def answer_first(self, count: int) -> None:
        """Wait until `count` connections are there, answer them, and do not count them.

        Raises: LoadgenError when they do not come.
        """
        deadline = time.monotonic() + START_UP_S
        while self.counts()[1] < count:
            if time.monotonic() > deadline:
                raise LoadgenError(f"{self.counts()[1]} of {count} first connections came")
            time.sleep(0.01)
        time.sleep(0.2)  # for the requests on them
        self._answered = count
        for child in self.children:
            child.send_signal(signal.SIGUSR1)

    def stop(self) -> None:
        """End them."""
        for child in self.children:
            child.kill()
            child.wait(10)


@contextlib.contextmanager
def started(commands: Sequence[tuple[list[str], Path]]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The processes of a tool, each in a folder of its own, with its output in `said` and `complaint` there."""
    children: list[subprocess.Popen[bytes]] = []
    try:
        for command, folder in commands:
            with (folder / "said").open("wb") as said, (folder / "complaint").open("wb") as complaint:
                # HOME: tsung writes there. The working directory: `python -m loadgen` is found from it.
                child = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env={**os.environ, "HOME": str(folder)},
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=complaint,
                )
                children.append(child)
        yield children
    finally:
        for child in children:
            child.kill()
            child.wait(10)


def watch(
    servers: Servers,
    children: Sequence[subprocess.Popen[bytes]],
    enough: Callable[[Look, float], bool],
) -> list[Look]:
    """Looks, ten a second, until `enough(look, seconds since the first connection)` or all tools ended."""
    start = time.monotonic()
    looks: list[Look] = []
    began: float | None = None
    while True:
        accepted, held = servers.counts()
        look = Look(time.monotonic() - start, accepted, held, sockets_in_use(Path("/proc/net/sockstat").read_text()))
        looks.append(look)
        if accepted and began is None:
            began = look.at_s
        over = look.at_s > START_UP_S if began is None else enough(look, look.at_s - began)
        if over or all(child.poll() is not None for child in children):
            return looks
        time.sleep(max(0.0, start + len(looks) * SAMPLE_EVERY_S - time.monotonic()))


def tail(folder: Path) -> str:
    """The end of what a tool said, for the record."""
    both = [(folder / name).read_bytes()[-1500:].decode(errors="replace").strip() for name in ("said", "complaint")]
    return "\n".join(filter(None, both))


def measure_hold(tool: Tool, sources: int, seconds: float, folder: Path) -> dict[str, Any]:
    """How many connections, how fast, and how many of them are lost again."""
    goal = RANGE_SIZE * sources
    servers = Servers(math.ceil(goal / HELD_PER_SERVER), folder, silent=True)
    jobs = jobs_of(tool, sources, seconds, folder)
    commands = [(tool.hold(job), job.folder) for job in jobs]
    before = sockets_in_use(Path("/proc/net/sockstat").read_text())
    with started(commands) as children:
        if tool.asks_first:
            servers.answer_first(len(jobs))
        looks = watch(servers, children, lambda look, since_s: look.held >= goal or since_s >= seconds)
        ended = [child.poll() for child in children]
    servers.stop()
    most, began, last = max(look.held for look in looks), began_s(looks), looks[-1]
    return {
        "goal": goal,
        "reached": most,
        "pairs": max(look.in_use - before for look in looks) // 2,
        "reached_s": None if began is None else next(look.at_s for look in looks if look.held == most) - began,
        "quarters_s": quarters_s(looks, goal),
        "lost": last.accepted - last.held,
        "start_up_s": began,
        "ended_early": sum(code is not None for code in ended),
        "commands": [command for command, _ in commands],
        "said": [tail(job.folder) for job in jobs][:1] if any(code is not None for code in ended) else [],
        "looks": [asdict(look) for look in looks],
    }


def measure_churn(tool: Tool, seconds: float, folder: Path) -> dict[str, Any]:
    """Connections per second, one for each request."""
    servers = Servers(1, folder, silent=False)
    job = Job(CHURN_CONCURRENCY, seconds, folder, sources=SOURCES[:1])
    command = tool.churn(job)
    with started([(command, folder)]) as children:
        cpu_before, began = servers.cpu_s(), time.monotonic()
        looks = watch(servers, children, lambda _, since_s: since_s >= seconds)
        busy = (servers.cpu_s() - cpu_before) / (time.monotonic() - began - (began_s(looks) or 0.0))
        # Its own report comes when its time is up; a tool that counts instead of timing is told to stop.
        with contextlib.suppress(subprocess.TimeoutExpired):
            children[0].wait(seconds / 2 + 5)
        if children[0].poll() is None:
            children[0].send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                children[0].wait(5)
    servers.stop()
    text = (folder / "said").read_text(errors="replace")
    return {
        "rate_per_s": steady_rate_per_s(looks),
        "accepted": looks[-1].accepted,
        "server_busy": busy,
        "own_words": asdict(tool.parse(text)),
        "commands": [command],
        "said": [tail(folder)] if tool.name != "loadgen" else [],
        "looks": [asdict(look) for look in looks],
    }


def measure_inside(name: str, question: str, seconds: float) -> dict[str, Any]:
    """One measurement; the caller has made the namespaces."""
    set_up_namespace()
    write_sysctl("ipv4/ip_local_port_range", f"{RANGE[0]} {RANGE[1]}")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    with tempfile.TemporaryDirectory(prefix="loadgen-peers-") as folder:
        if question == "churn":
            return measure_churn(BY_NAME[name], seconds, Path(folder))
        return measure_hold(BY_NAME[name], int(question.removeprefix("hold-")), seconds, Path(folder))


# --- all of them ------------------------------------------------------------------------------------------


def build_server() -> None:
    """Compile http.c into bench/build. Raises: HostError without a working C compiler."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise HostError("bench.peers brings its own HTTP server in C and found no C compiler; install gcc or set CC")
    SERVER.parent.mkdir(parents=True, exist_ok=True)
    source = ROOT / "bench" / "reference" / "http.c"
    command = [compiler, "-std=c11", "-O2", "-Wall", "-Wextra", str(source), "-o", str(SERVER)]
    built = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if built.returncode:
        raise HostError(f"{compiler} could not build {source.name}: {built.stderr.strip()}")


def namespaces() -> list[str]:
    """The command that runs another in new namespaces, of the network and of processes.

    The second ends with its first process, and so ends every server, tool, and daemon that a tool left behind.
    Raises: HostError when util-linux's unshare is missing or the kernel refuses.
    """
    if shutil.which("unshare") is None:
        raise HostError("bench.peers needs a network namespace: install util-linux, which brings `unshare`")
    flags = ["--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    said = ""
    for more in ([], ["--map-root-user"]) if os.geteuid() == 0 else (["--map-root-user"],):
        command = ["unshare", *more, *flags]
        tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False, timeout=30)
        if tried.returncode == 0:
            return command
        said = tried.stderr.strip()
    raise HostError(f"bench.peers needs namespaces and this host refuses them ({said}); try as root")


def measure(within: Sequence[str], tool: Tool, question: str, seconds: float) -> dict[str, Any]:
    """One measurement in namespaces of its own. Raises: LoadgenError when it fails or does not end."""
    inner = ["--inside", question, "--only", tool.name, "--seconds", f"{seconds:g}"]
    command = [*within, sys.executable, "-m", "bench.peers", *inner]
    try:
        ended = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=START_UP_S + 2 * seconds + 60
        )
        answer: dict[str, Any] = json.loads(ended.stdout)
    except subprocess.TimeoutExpired as error:
        raise LoadgenError(f"{tool.name}, {question}: not over after {error.timeout:g} s") from error
    except ValueError as error:
        raise LoadgenError(f"{tool.name}, {question}: {ended.stderr.strip()[-500:]}") from error
    return answer


def running(proc_stat: str) -> int:
    """How many tasks run or wait for a core, whoever they belong to, from the text of /proc/stat."""
    found = re.search(r"^procs_running (\d+)", proc_stat, re.MULTILINE)
    return int(found[1]) if found else 0


def others_running() -> float:
    """Tasks that want a core while nothing is measured, this one not counted: mean of ten looks in half a second.

    Above zero, somebody else works here, and the row that follows must not be compared with one that had the machine
    to itself.
    """
    seen = 0
    for _ in range(10):
        time.sleep(0.05)
        seen += max(0, running(Path("/proc/stat").read_text()) - 1)
    return seen / 10


def questions_of(tool: Tool) -> list[str]:
    """What is asked of it: four sources only of those that can bind."""
    return ["hold-1", *(["hold-4"] if tool.binds else []), "churn"]


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def print_tables(rows: Sequence[dict[str, Any]], absent: Sequence[str], out: Console) -> None:
    """Both questions, and how each tool was used."""
    held = [row for row in rows if row["question"] != "churn"]
    churned = [row for row in rows if row["question"] == "churn"]
    if held:
        table = Table(title="connections held to one destination", title_justify="left")
        for heading in (
            "tool",
            "sources",
            "goal",
            "reached",
            "in, s",
            "q1, s",
            "q2, s",
            "q3, s",
            "q4, s",
            "lost",
            "others",
        ):
            table.add_column(heading, justify="left" if heading == "tool" else "right")
        for row in sorted(held, key=lambda row: str(row["question"])):
            table.add_row(
                row["tool"],
                row["question"].removeprefix("hold-"),
                f"{row['goal']:,}",
                f"{row['reached']:,}",
                _cell(row["reached_s"], ".2f"),
                *(_cell(quarter, ".2f") for quarter in row["quarters_s"]),
                f"{row['lost']:,}",
                f"{row['others_running']:.1f}",
            )
        out.print(table)
    if churned:
        table = Table(title="churn: connections per second, one for each request", title_justify="left")
        for heading in ("tool", "per second", "it says", "errors it says", "server, of one core", "others"):
            table.add_column(heading, justify="left" if heading == "tool" else "right")
        for row in churned:
            own = row["own_words"]
            table.add_row(
                row["tool"],
                _cell(row["rate_per_s"], ",.0f"),
                _cell(own["rate_per_s"], ",.0f"),
                _cell(own["errors"], ",d"),
                f"{row['server_busy']:.0%}",
                f"{row['others_running']:.1f}",
            )
        out.print(table)
    for name in dict.fromkeys(row["tool"] for row in rows):
        tool = BY_NAME[name]
        out.print(f"{name}: hold: {tool.hold_mode}. Churn: {tool.churn_mode}.", markup=False, highlight=False)
    if absent:
        out.print(f"not installed: {', '.join(absent)}", highlight=False)
    out.print(METHOD, highlight=False)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The flags; argparse ends the program with code 2 by itself when they make no sense."""
    parser = argparse.ArgumentParser(prog="bench.peers", description="other load generators beside loadgen")
    parser.add_argument("--only", choices=list(BY_NAME), help="this tool alone")
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S", help="for each measurement (default 10)")
    parser.add_argument("--json", action="store_true", help="print what is written to the file, not the tables")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if not 3 <= options.seconds <= 600:
        parser.error("--seconds must be 3 to 600")
    return options


def run(options: argparse.Namespace) -> int:
    """Measure, print, write; the exit code."""
    out = Console(width=None if sys.stdout.isatty() else 120)
    log = Console(stderr=True, soft_wrap=True)
    chosen = [BY_NAME[options.only]] if options.only else list(TOOLS)
    present = [tool for tool in chosen if installed(tool)]
    absent = [tool.name for tool in chosen if not installed(tool)]
    build_server()
    within, host = namespaces(), machine()
    rows: list[dict[str, Any]] = []
    failures: list[str] = []
    for tool in present:
        for question in questions_of(tool):
            log.print(f"{tool.name}, {question}", markup=False, highlight=False)
            others = others_running()
            try:
                answer = measure(within, tool, question, options.seconds)
            except LoadgenError as error:  # the other tools may still say something
                failures.append(str(error))
                log.print(str(error), style="red", markup=False, highlight=False)
                continue
            rows.append({"tool": tool.name, "question": question, "others_running": others, **answer})
    now = datetime.now(UTC)
    content = {
        "schema": "loadgen.peers/1",
        "finished_at": now.isoformat(timespec="seconds"),
        "machine": host,
        "method": METHOD,
        "seconds": options.seconds,
        "versions": {tool.name: version_of(tool) for tool in present},
        "modes": {tool.name: {"hold": tool.hold_mode, "churn": tool.churn_mode} for tool in present},
        "not_installed": absent,
        "failures": failures,
        "rows": rows,
    }
    file = ROOT / "results" / "bench" / f"peers-{now:%Y%m%dT%H%M%SZ}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=1) + "\n")
    if options.json:
        print(json.dumps(content))
    else:
        print_tables(rows, absent, out)
        out.print(f"Written to {file.relative_to(ROOT)}", highlight=False, soft_wrap=True)
    return ExitCode.BUG if failures else ExitCode.FINE


def main(arguments: Sequence[str]) -> int:
    """Parse, measure; every failure is one sentence on stderr and an exit code."""
    options = parse(arguments)
    try:
        if options.inside:
            print(json.dumps(measure_inside(options.only, options.inside, options.seconds)))
            return ExitCode.FINE
        return run(options)
    except LoadgenError as error:
        print(f"bench.peers: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
