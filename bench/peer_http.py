"""HTTP by loadgen and by other load generators, in turn against one nginx: kept alive, a connection each, over TLS.

Requests are counted by nginx itself, which has one worker on the last core; the client has the first core. A round asks
each question of each tool; figures are medians over the rounds, and ratios are those of medians. Held connections have
a request now and then, and what is measured is the cost: processor time and memory of all processes of the tool.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench.peer_tools import CHURN_CONCURRENCY, HOST, K6, PORT, START_UP_S, k6_script, locust, locust_file
from bench.processes import cpu_of, memory_of
from loadgen.errors import HostError, LoadgenError
from loadgen.sink.certificates import issue

LOADGEN: Final = "loadgen"
METHOD: Final = """\
nginx with one worker on one core, the client on another; 64 connections, closed loop; requests counted by nginx, \
without the first half second. Ratio: median of loadgen / median of the tool. "server": share of nginx's core in use."""
#: Held connections, and how often each has a request, s.
HELD: Final = 2_000
EVERY_S: Final = 2
#: Time for several requests of each of them, s.
_HELD_S: Final = 5.0 * EVERY_S
METHOD_HELD: Final = f"""\
{HELD:,} connections held, a request on each every {EVERY_S} s: {HELD // EVERY_S:,} requests per second are due. Cores \
and memory (Pss) are those of all processes of the tool."""
_STATUS_PORT: Final = PORT + 1
_SETTLE_S: Final = 0.5
_NGINX: Final = """\
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  default_type text/plain;
  server {{ listen {host}:{status_port}; location / {{ stub_status; }} }}
  server {{
    listen {host}:{port}{secured} backlog=4096;
    {certificate}
    location / {{ return 200 "welcome"; }}
  }}
}}
"""
_CERTIFICATE: Final = """\
ssl_protocols TLSv1.3; ssl_session_cache shared:a:10m;
    ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.pem;"""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a tool.

    resumed: each handshake resumes a session; else, in churn over TLS, none does. held: connections that are kept alive
    have a request now and then, not one after the other.
    """

    secured: bool = False
    kept_alive: bool = False
    resumed: bool = False
    held: bool = False

    @property
    def connections(self) -> int:
        """Connections at a time."""
        return HELD if self.held else CHURN_CONCURRENCY

    @property
    def every_s(self) -> float:
        """Time between two requests of a connection, s."""
        return EVERY_S if self.held else 0

    @property
    def url(self) -> str:
        """Where the server listens."""
        return f"{'https' if self.secured else 'http'}://{HOST}:{PORT}/"


QUESTIONS: Final = {
    "keep-alive": Question(kept_alive=True),
    "churn": Question(),
    "https keep-alive": Question(secured=True, kept_alive=True),
    "https churn": Question(secured=True),
    "https churn, resumed": Question(secured=True, resumed=True),
    "held": Question(kept_alive=True, held=True),
}


def scenario(question: Question) -> str:
    """Return loadgen's scenario; it runs until it is ended."""
    exchanges = 1_000_000 if question.kept_alive else 1
    load = (
        [f"connections: {HELD}", "hold: 10m", f"heartbeat: {{every: {EVERY_S}s}}"]
        if question.held
        else [f"churn: {{duration: 10m, concurrency: {CHURN_CONCURRENCY}, exchanges: {exchanges}}}", "close: target"]
    )
    lines = [
        "name: peers-http",
        f"sources: {{addresses: [{HOST}], strategy: kernel}}",  # as all other tools
        f"targets: [{{address: '{HOST}:{PORT}'}}]",
        *load,
        "protocol: http",
        *([f"tls: {{verify: false, resume: {str(question.resumed).lower()}}}"] if question.secured else []),
        "workers: 1",
    ]
    return "\n".join(lines) + "\n"


def _loadgen(question: Question, folder: Path) -> list[str]:
    file = folder / "scenario.yaml"
    file.write_text(scenario(question))
    return [sys.executable, "-m", "loadgen", "run", str(file), "--json", "--quiet", "--out", str(folder / "results")]


def _wrk(question: Question, _: Path) -> list[str]:
    closing = [] if question.kept_alive else ["-H", "Connection: close"]
    return ["wrk", "-t1", f"-c{CHURN_CONCURRENCY}", "-d600s", *closing, question.url]


def _h2load(question: Question, _: Path) -> list[str]:
    closing = [] if question.kept_alive else ["-H", "Connection: close"]
    return ["h2load", "--h1", "-t1", f"-c{CHURN_CONCURRENCY}", "-n100000000", *closing, question.url]


def _ab(question: Question, _: Path) -> list[str]:
    kept = ["-k"] if question.kept_alive else []
    return ["ab", "-q", "-d", "-S", f"-c{CHURN_CONCURRENCY}", "-n100000000", *kept, question.url]


def _hey(question: Question, _: Path) -> list[str]:
    closing = [] if question.kept_alive else ["-disable-keepalive"]
    return ["hey", "-c", str(CHURN_CONCURRENCY), "-z", "600s", *closing, question.url]


def _k6(question: Question, folder: Path) -> list[str]:
    script = folder / "script.js"
    script.write_text(k6_script(question.url, every_s=question.every_s))
    closing = [] if question.kept_alive else ["--no-connection-reuse"]
    users = ["--insecure-skip-tls-verify", "--vus", str(question.connections), "--duration", "600s"]
    return [*K6, *closing, *users, str(script)]


def _locust(question: Question, folder: Path) -> list[str]:
    file = folder / "locustfile.py"
    file.write_text(locust_file(closing=not question.kept_alive, every_s=question.every_s))
    return locust(file, question.connections, 600, question.url)


#: How each tool is asked; the first is what the others are compared with.
COMMANDS: Final[dict[str, Callable[[Question, Path], list[str]]]] = {
    LOADGEN: _loadgen,
    "wrk": _wrk,
    "h2load": _h2load,
    "ab": _ab,
    "hey": _hey,
    "k6": _k6,
    "locust": _locust,
}


#: Tools that resume the session of the last connection, and cannot be told not to; the others never do.
_RESUMING: Final = ("wrk", "h2load")
#: Tools that can wait between two requests of a connection.
_PACED: Final = ("k6", "locust")


def asked(question: str, only: str | None = None) -> list[str]:
    """Return the tools that are installed and do this; loadgen beside the only one that is wanted."""
    what = QUESTIONS[question]
    others = [name for name in COMMANDS if name != LOADGEN and only in (None, name) and shutil.which(name)]
    if what.secured and not what.kept_alive:
        others = [name for name in others if (name in _RESUMING) == what.resumed]
    if what.held:
        others = [name for name in others if name in _PACED]
    return [LOADGEN, *others]


# --- One measurement, inside its namespaces -----------------------------------------------------------------


@contextlib.contextmanager
def _nginx(question: Question, folder: Path, core: int) -> Iterator[int]:
    """Run nginx; yield the pid of its worker. Raises: HostError without nginx, LoadgenError when it does not start."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise HostError("bench.peers --http needs nginx; on Debian: apt install nginx-light")
    certificate = ""
    if question.secured:
        issued = issue([HOST])
        (folder / "server.pem").write_text(issued.certificate_pem + issued.key_pem)
        certificate = _CERTIFICATE.format(folder=folder)
    (folder / "nginx.conf").write_text(
        _NGINX.format(
            folder=folder,
            host=HOST,
            port=PORT,
            status_port=_STATUS_PORT,
            secured=" ssl" if question.secured else "",
            certificate=certificate,
        )
    )
    command = ["taskset", "-c", str(core), program, "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as child:
        try:
            yield _worker_of(child)
        finally:
            child.terminate()
            child.wait(10)


def _worker_of(child: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + START_UP_S
    while time.monotonic() < deadline and child.poll() is None:
        with contextlib.suppress(OSError):
            requests()
            return int(Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()[0])
        time.sleep(0.02)
    raise LoadgenError("nginx did not start")


def _status() -> list[bytes]:
    """Return the words of nginx's page. Raises: OSError."""
    with urllib.request.urlopen(f"http://{HOST}:{_STATUS_PORT}/", timeout=10) as answer:
        words: list[bytes] = answer.read().split()
        return words


def requests() -> int:
    """Return the requests that nginx has had, this one included. Raises: OSError."""
    return int(_status()[9])  # the third number below "server accepts handled requests"


def connected() -> int:
    """Return the connections that nginx has open, without this one. Raises: OSError."""
    return int(_status()[2]) - 1  # "Active connections: 1"


def _wait(holds: Callable[[], bool], child: subprocess.Popen[bytes], missing: str, said: Path) -> None:
    """Wait until something holds. Raises: LoadgenError, with what the tool has said, when it ends or takes too long."""
    deadline = time.monotonic() + START_UP_S
    while not holds():
        if time.monotonic() > deadline or child.poll() is not None:
            raise LoadgenError(f"{missing}: {said.read_text()[-300:]}")
        time.sleep(0.02)


def measure(name: str, question: Question, seconds: float, folder: Path) -> dict[str, Any]:
    """Return the requests per second of one tool, and of held connections what they cost.

    Raises: LoadgenError when it makes none, or opens too few connections.
    """
    cores = sorted(os.sched_getaffinity(0))
    command = ["taskset", "-c", str(cores[0]), *COMMANDS[name](question, folder)]
    said = folder / "said"
    with _nginx(question, folder, cores[-1]) as server, said.open("wb") as out:
        seen = requests()

        def asks() -> bool:
            nonlocal seen
            seen += 1  # this look
            return requests() > seen

        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out) as child:
            try:
                _wait(asks, child, f"{name} made no request", said)
                if question.held:
                    _wait(lambda: connected() >= HELD, child, f"{name} opened too few connections", said)
                time.sleep(_SETTLE_S)
                count, busy_s, own_s, begun = requests(), cpu_of(server), cpu_of(child.pid), time.monotonic()
                time.sleep(max(seconds, _HELD_S) if question.held else seconds)
                count, took_s = requests() - count - 1, time.monotonic() - begun
                found = {"rate_per_s": count / took_s, "server_busy": (cpu_of(server) - busy_s) / took_s}
                if question.held:
                    found["cores"] = (cpu_of(child.pid) - own_s) / took_s
                    found |= {"connections": connected(), "memory_bytes": memory_of(child.pid)}
            finally:
                child.kill()
    return {**found, "commands": [command]}


# --- All of them --------------------------------------------------------------------------------------------


def medians(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, list[float]]]:
    """Return the rates of each tool by question, sorted."""
    rates: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        rates.setdefault(row["question"], {}).setdefault(row["tool"], []).append(row["rate_per_s"])
    return {question: {tool: sorted(found) for tool, found in tools.items()} for question, tools in rates.items()}


def print_table(rows: Sequence[dict[str, Any]], out: Console) -> None:
    """Median and spread of each tool, and what loadgen's median is of it."""
    table = Table(title="HTTP: requests per second", title_justify="left")
    for heading in ("", "tool", "median", "lowest", "highest", "loadgen / tool", "server"):
        table.add_column(heading, justify="left" if heading in ("", "tool") else "right")
    held = [row for row in rows if QUESTIONS[row["question"]].held]
    for question, tools in medians([row for row in rows if row not in held]).items():
        for tool, rates in tools.items():
            ours = tools.get(LOADGEN)
            ratio = f"{statistics.median(ours) / statistics.median(rates):.2f}" if ours and tool != LOADGEN else "-"
            busy = statistics.median(
                row["server_busy"] for row in rows if (row["question"], row["tool"]) == (question, tool)
            )
            median = f"{statistics.median(rates):,.0f}"
            table.add_row(question, tool, median, f"{rates[0]:,.0f}", f"{rates[-1]:,.0f}", ratio, f"{busy:.0%}")
    out.print(table)
    out.print(METHOD, highlight=False)
    if held:
        _print_held(held, out)


def _print_held(rows: Sequence[dict[str, Any]], out: Console) -> None:
    """Medians of what held connections cost each tool."""
    table = Table(title="HTTP: connections held, a request now and then", title_justify="left")
    for heading in ("tool", "connections", "requests/s", "cores", "memory, MB"):
        table.add_column(heading, justify="left" if heading == "tool" else "right")
    for tool in dict.fromkeys(row["tool"] for row in rows):
        mine = [row for row in rows if row["tool"] == tool]
        connections, rate_per_s, cores, memory_bytes = (
            statistics.median(row[key] for row in mine)
            for key in ("connections", "rate_per_s", "cores", "memory_bytes")
        )
        table.add_row(tool, f"{connections:,.0f}", f"{rate_per_s:,.0f}", f"{cores:.3f}", f"{memory_bytes / 1e6:,.0f}")
    out.print(table)
    out.print(METHOD_HELD, highlight=False)
