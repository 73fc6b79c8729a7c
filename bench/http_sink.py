"""loadgen's HTTP sink beside nginx: answers per second, and processor time of an answer.

    python -m bench.http_sink [--rounds N] [--seconds S]

In turn, in a network namespace of its own: nginx with one process, which answers from its configuration and writes no
log, then `loadgen sink --speaks http --workers 1`; both give the same body. wrk is the client, keeps its connections
alive and has the first core for itself; the server has the last. Exit code 0 when all was measured, 1 when a program
failed, 3 when this host lacks nginx, wrk or network namespaces.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from bench.host import ROOT, enter_namespace, set_up_namespace, wait_until_quiet
from loadgen.errors import ExitCode, HostError, LoadgenError

ADDRESS: Final = "127.0.0.1:9000"
BODY_BYTES: Final = 64
CONNECTIONS: Final = 64
_TIMEOUT_S: Final = 15.0
_NGINX: Final = f"""
daemon off; master_process off; worker_processes 1; error_log stderr; pid nginx.pid;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000;
  server {{ listen {ADDRESS}; location / {{ default_type text/plain; return 200 "{"x" * BODY_BYTES}"; }} }}
}}
"""
_SINK: Final = ("-m", "loadgen", "sink", ADDRESS, "--speaks", "http", "--body", str(BODY_BYTES), "--workers", "1")


@dataclass(frozen=True, slots=True)
class Served:
    """What one server did for some seconds. cpu_us: its processor time for each answer."""

    answers_per_s: float
    cpu_us: float


@contextmanager
def nginx(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run nginx with one process."""
    (folder / "nginx.conf").write_text(_NGINX)
    (folder / "logs").mkdir(exist_ok=True)
    with _server(["nginx", "-p", str(folder), "-e", "stderr", "-c", "nginx.conf"]) as server:
        yield server


@contextmanager
def own_sink(_folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a sink with one process, beside those that start and watch it."""
    with _server([sys.executable, *_SINK, "--quiet"]) as server:
        yield server


SERVERS: Final = {"nginx": nginx, "sink": own_sink}


@contextmanager
def _server(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server on the last core until it is left."""
    on_a_core = partial(os.sched_setaffinity, 0, {max(os.sched_getaffinity(0))})
    with subprocess.Popen(command, cwd=ROOT, preexec_fn=on_a_core, stdout=subprocess.DEVNULL) as server:
        try:
            yield server
        finally:
            server.terminate()
            try:
                server.wait(_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                server.kill()


def _wrk(seconds: float) -> str:
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", f"http://{ADDRESS}/"]
    on_a_core = partial(os.sched_setaffinity, 0, {min(os.sched_getaffinity(0))})
    done = subprocess.run(
        command, preexec_fn=on_a_core, capture_output=True, text=True, check=False, timeout=seconds + _TIMEOUT_S
    )
    if done.returncode:
        raise LoadgenError(f"wrk ended with code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def parse_wrk(text: str) -> tuple[int, float]:
    """Return the answers and their rate per second. Raises: LoadgenError if there are none, or other than of 200."""
    count, rate = re.search(r"(\d+) requests in", text), re.search(r"Requests/sec: *([\d.]+)", text)
    if not (count and rate and int(count[1])) or "Non-2xx" in text or "Socket errors" in text:
        raise LoadgenError(f"wrk has not got what it asked for: {text.strip()}")
    return int(count[1]), float(rate[1])


def cpu_s(pid: int) -> float:
    """Processor time of a process and of all below it, seconds."""
    ticks = sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return ticks / os.sysconf("SC_CLK_TCK") + sum(map(cpu_s, map(int, children)))


def _wait_until_it_listens(server: subprocess.Popen[bytes], name: str) -> None:
    host, _, port = ADDRESS.partition(":")
    until = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < until and server.poll() is None:
        try:
            socket.create_connection((host, int(port)), timeout=_TIMEOUT_S).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    raise LoadgenError(f"{name} does not listen on {ADDRESS}")


def serve(name: str, seconds: float) -> Served:
    """Start one server, let wrk ask it, and stop it. Raises: LoadgenError when one of both fails."""
    with tempfile.TemporaryDirectory(prefix="loadgen-bench-") as folder, SERVERS[name](Path(folder)) as server:
        _wait_until_it_listens(server, name)
        before = cpu_s(server.pid)
        count, rate = parse_wrk(_wrk(seconds))
        used_s = cpu_s(server.pid) - before
    wait_until_quiet()
    return Served(rate, used_s / count * 1e6)


def measure(rounds: int, seconds: float) -> dict[str, list[Served]]:
    """All servers, in turn."""
    samples: dict[str, list[Served]] = {name: [] for name in SERVERS}
    for _ in range(rounds):
        for name in SERVERS:
            samples[name].append(serve(name, seconds))
    return samples


def main(arguments: Sequence[str]) -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(prog="bench.http_sink", description="loadgen's HTTP sink beside nginx")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        for program in ("nginx", "wrk"):
            if shutil.which(program) is None:
                raise HostError(f"bench.http_sink compares with nginx and asks with wrk; install {program}")
        if not options.inside:
            enter_namespace(arguments, "bench.http_sink")
        set_up_namespace()
        samples = measure(options.rounds, options.seconds)
    except LoadgenError as error:
        print(f"bench.http_sink: {error}", file=sys.stderr)
        return error.exit_code
    base = statistics.median(served.answers_per_s for served in samples["nginx"])
    for name, found in samples.items():
        rates = [served.answers_per_s for served in found]
        cpu_us = statistics.median(served.cpu_us for served in found)
        rate = statistics.median(rates)
        spread = f"({min(rates):,.0f} to {max(rates):,.0f})"
        print(f"{name:6} {rate:9,.0f}/s {spread:22} {cpu_us:6.2f} us of processor time, ratio {rate / base:.2f}")
    return ExitCode.FINE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
