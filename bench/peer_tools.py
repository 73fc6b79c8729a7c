"""What each of the other load generators is told, and what it says: command lines, modes, parsers of its output."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.host import ROOT

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
SAMPLE_EVERY_S = 0.1
#: How long a tool may take from its start to its first connection: tsung starts a virtual machine, k6 and locust make
#: all of their users first.
START_UP_S = 60.0
#: Churn: how much of the beginning is left out of the rate.
SETTLE_S = 1.0


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


def k6_script(url: str, *, every_s: float = 0) -> str:
    """Return a script for k6 whose users ask for one page over and over; every_s: with this pause in between."""
    return f"""\
import http from 'k6/http';
import {{ sleep }} from 'k6';
export default function () {{ http.get('{url}', {{timeout: '3600s'}}); sleep({every_s:g}); }}
"""


#: --address: its own API would listen on a port, the same for every process.
K6: Final = ("k6", "run", "--quiet", "--no-usage-report", "--address", "")


def _k6(job: Job, *, hold: bool) -> list[str]:
    script = job.folder / "script.js"
    script.write_text(k6_script(URL))
    bound = [f"--local-ips={job.source}"] if job.source else []
    users = ["--vus", str(job.connections), "--duration", f"{3600 if hold else job.seconds:g}s"]
    return [*K6, "--no-connection-reuse", *users, *bound, str(script)]


def _k6_hold(job: Job) -> list[str]:
    return _k6(job, hold=True)


def _k6_churn(job: Job) -> list[str]:
    return _k6(job, hold=False)


def locust_file(*, closing: bool, every_s: float = 0) -> str:
    """Return the file of locust: users of its fast client, which ask for one page over and over, as `k6_script`."""
    headers = ', headers={"Connection": "close"}' if closing else ""
    return f"""\
from locust import FastHttpUser, constant_pacing, task


class Asking(FastHttpUser):
    connection_timeout = network_timeout = 3600.0
    wait_time = constant_pacing({every_s:g})

    @task
    def page(self):
        self.client.get("/"{headers})
"""


def locust(file: Path, users: int, seconds: int, url: str) -> list[str]:
    """Return its command line: one process, all users at once."""
    load = ["-u", str(users), "-r", str(users), "-t", f"{seconds}s", "-H", url.rstrip("/")]
    return ["locust", "-f", str(file), "--headless", "--only-summary", "--json", *load]


def _locust_hold(job: Job) -> list[str]:
    file = job.folder / "locustfile.py"
    file.write_text(locust_file(closing=False))
    return locust(file, job.connections, 3600, URL)


def _locust_churn(job: Job) -> list[str]:
    file = job.folder / "locustfile.py"
    file.write_text(locust_file(closing=True))
    return locust(file, job.connections, job.whole_seconds, URL)


def loadgen_scenario(job: Job, *, hold: bool) -> str:
    """The scenario of loadgen. No `lab:` section: the harness is in a namespace of its own already.

    In churn the kernel chooses the port in connect(), as it does for all other tools.
    """
    what = (
        [f"connections: {job.connections}", "hold: 1h", f"workers: {PROCESSES_PER_SOURCE * len(job.sources)}"]
        if hold
        else [
            f"churn: {{duration: {job.whole_seconds}s, concurrency: {job.connections}}}",
            "protocol: http",
            "workers: 1",
        ]
    )
    lines = [
        "name: peers",
        f"sources: {{addresses: [{', '.join(job.sources)}], strategy: {'late-range' if hold else 'kernel'}}}",
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
    """Two counters of its summary; http_req_failed is a share, with the numbers behind it."""
    rate = _number(r"http_reqs\.*: \d+ +([\d.]+)/s", text)
    failed = _count(r"http_req_failed\.*: \S+ +(\d+) out of", text)
    return Said(_count(r"http_reqs\.*: (\d+)", text), rate, failed)


def parse_locust(text: str) -> Said:
    """The table that --json prints: a row for each page, instants in seconds since 1970."""
    try:
        rows = json.loads(text)
        requests = sum(row["num_requests"] for row in rows)
        seconds = max(row["last_request_timestamp"] for row in rows) - min(row["start_time"] for row in rows)
        return Said(requests, requests / seconds, sum(row["num_failures"] for row in rows))
    except (ValueError, KeyError, TypeError, ZeroDivisionError):  # not one request was answered
        return Said()


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
        "one worker, closed loop, protocol http, close: target",
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
        "one virtual user for each connection, --local-ips for four sources",
        "closed loop, 64 virtual users, --no-connection-reuse; may use both cores",
        ("k6", "version"), None, binds=True,
    ),
    Tool(
        "locust", _locust_hold, _locust_churn, parse_locust,
        "one FastHttpUser for each connection, all at once; cannot bind",
        "closed loop, 64 users of FastHttpUser in one process, header Connection: close",
        ("locust", "--version"), None,
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
