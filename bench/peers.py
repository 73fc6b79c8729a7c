"""Other load generators beside loadgen: how far past the walls, and how fast they open and close.

    python -m bench.peers [--only NAME] [--seconds 10] [--json]
    python -m bench.peers --http [--rounds 5] [--seconds 3] [--only NAME] [--json]

    hold   open connections to ONE address and port and keep them: 28,232 from one source address, the default range
           of source ports; where a tool can be told its source address, 4 x 28,232 from four. The server is silent.
    churn  one connection for every request, over and over, against one small HTTP server that closes first.
    --http kept alive and a connection each, with TLS and without, against nginx, in rounds; see bench/peer_http.py.

Everything is counted from outside the tools, ten times a second: by the server, in memory it shares with the harness,
and in /proc/net/sockstat. What a tool says itself is kept beside it. Every measurement has a network and process
namespace of its own, which ends with everything in it; no packet leaves and no setting of the host changes. Tools
that are not installed are listed as such.

Exit code 0 when all that is installed was measured, however far it came; 1 when a measurement failed; 3 when this host
has no C compiler or allows no namespace.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import peer_http
from bench.host import ROOT, machine
from bench.peer_tools import BY_NAME, DESCRIPTORS, SERVER, START_UP_S, TOOLS, Tool, installed, version_of
from bench.peer_watch import measure_inside
from loadgen.errors import ExitCode, HostError, LoadgenError

METHOD = f"""\
One run each, against the same C server, both ends on the same cores. Hold: two processes of a tool for each source \
address, because {DESCRIPTORS:,} files are all that one process may have; time runs from the first connection; "lost" \
was accepted and is gone at the end. Churn: answers of the server per second, its first second left out. "others": \
tasks of somebody else that wanted a core just before; 0.0 is a machine of one's own."""


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


def measure(within: Sequence[str], name: str, question: str, seconds: float) -> dict[str, Any]:
    """One measurement in namespaces of its own. Raises: LoadgenError when it fails or does not end."""
    inner = ["--inside", question, "--only", name, "--seconds", f"{seconds:g}"]
    command = [*within, sys.executable, "-m", "bench.peers", *inner]
    try:
        ended = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=START_UP_S + 2 * seconds + 60
        )
        answer: dict[str, Any] = json.loads(ended.stdout)
    except subprocess.TimeoutExpired as error:
        raise LoadgenError(f"{name}, {question}: not over after {error.timeout:g} s") from error
    except ValueError as error:
        raise LoadgenError(f"{name}, {question}: {ended.stderr.strip()[-500:]}") from error
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
    parser.add_argument("--seconds", type=float, metavar="S", help="for each measurement (default 10, with --http 3)")
    parser.add_argument("--http", action="store_true", help="HTTP against nginx, in rounds")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="with --http (default 5)")
    parser.add_argument("--json", action="store_true", help="print what is written to the file, not the tables")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.seconds is None:
        options.seconds = 3.0 if options.http else 10.0
    if not 3 <= options.seconds <= 600:
        parser.error("--seconds must be 3 to 600")
    if not 1 <= options.rounds <= 100:
        parser.error("--rounds must be 1 to 100")
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
                answer = measure(within, tool.name, question, options.seconds)
            except LoadgenError as error:  # the other tools may still say something
                failures.append(str(error))
                log.print(str(error), style="red", markup=False, highlight=False)
                continue
            rows.append({"tool": tool.name, "question": question, "others_running": others, **answer})
    content = {
        "schema": "loadgen.peers/1",
        "machine": host,
        "method": METHOD,
        "seconds": options.seconds,
        "versions": {tool.name: version_of(tool) for tool in present},
        "modes": {tool.name: {"hold": tool.hold_mode, "churn": tool.churn_mode} for tool in present},
        "not_installed": absent,
        "failures": failures,
        "rows": rows,
    }
    file = _written("peers", content)
    if options.json:
        print(json.dumps(content))
    else:
        print_tables(rows, absent, out)
        out.print(f"Written to {file.relative_to(ROOT)}", highlight=False, soft_wrap=True)
    return ExitCode.BUG if failures else ExitCode.FINE


def run_http(options: argparse.Namespace) -> int:
    """Measure HTTP, print, write; the exit code."""
    out = Console(width=None if sys.stdout.isatty() else 120)
    log = Console(stderr=True, soft_wrap=True)
    within, host = namespaces(), machine()
    rows: list[dict[str, Any]] = []
    for number in range(options.rounds):
        for question in peer_http.QUESTIONS:
            for name in peer_http.asked(question, options.only):
                log.print(f"round {number + 1}: {name}, {question}", markup=False, highlight=False)
                others = others_running()
                answer = measure(within, name, f"http {question}", options.seconds)
                rows.append({"tool": name, "question": question, "others_running": others, **answer})
    content = {
        "schema": "loadgen.peers-http/1",
        "machine": host,
        "method": peer_http.METHOD,
        "seconds": options.seconds,
        "versions": {name: version_of(BY_NAME[name]) for name in dict.fromkeys(row["tool"] for row in rows)},
        "rows": rows,
    }
    file = _written("peers-http", content)
    if options.json:
        print(json.dumps(content))
    else:
        peer_http.print_table(rows, out)
        out.print(f"Written to {file.relative_to(ROOT)}", highlight=False, soft_wrap=True)
    return ExitCode.FINE


def _written(name: str, content: dict[str, Any]) -> Path:
    """Write a run below results/bench, under the time of its end; return the file."""
    now = datetime.now(UTC)
    file = ROOT / "results" / "bench" / f"{name}-{now:%Y%m%dT%H%M%SZ}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"finished_at": now.isoformat(timespec="seconds"), **content}, indent=1) + "\n")
    return file


def main(arguments: Sequence[str]) -> int:
    """Parse, measure; every failure is one sentence on stderr and an exit code."""
    options = parse(arguments)
    try:
        if options.inside:
            print(json.dumps(measure_inside(options.only, options.inside, options.seconds)))
            return ExitCode.FINE
        return run_http(options) if options.http else run(options)
    except LoadgenError as error:
        print(f"bench.peers: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
