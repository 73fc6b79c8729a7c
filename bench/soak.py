"""A soak: loadgen's own processes for an hour, and whether any of them grows.

    make soak                  # SOAK_S=3600; ten minutes with SOAK_S=600
    python -m bench.soak [--seconds N] [--keep DIRECTORY]

Three runs at once, each in a lab of its own and with a dashboard: churn over HTTP, churn over TLS, held connections
with heartbeats. Some hundred connections a second in all, so two cores are mostly idle. Meanwhile the dashboards are
read: two streams of events, one that comes and goes, the page and the metrics every two seconds. Each process is looked
at every one to ten seconds: memory (smaps_rollup of proc(5)) and open descriptors. A fifth of the time, and
two minutes at least, is warm-up and does not count.
Memory is flat where the slope (`bench.trend`) of Rss is below 1 MB/h. It grows where the slope is steeper and comes to
more than two steps of the allocator: Python takes memory by the MiB, so that 100 KB more can look like one.
Pss is no measure: it changes when any other process of Python on the machine begins or ends, and with each page of the
zygote that a worker writes to for the first time.

The exit code is 0 where nothing grows, 1 where something does or a run failed. What is in between, or has a 95 %
interval that reaches over the limit, is shown as open: so many samples cannot tell, and a longer soak can. Ten minutes
find a leak of 16 MB/h, an hour one of 2.6 MB/h, two and a half hours one of 1 MB/h.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from bench import dashboard
from bench.processes import kind_of, tree
from bench.trend import Trend, trend
from loadgen.errors import LoadgenError

_MB: Final = 1e6
MEMORY_MB_PER_H: Final = 1.0
#: Two arenas of Python's allocator (ARENA_SIZE in Objects/obmalloc.c): one may be begun at any time, and one be kept.
MEMORY_STEP_MB: Final = 2 * 2**20 / _MB
#: Fewer than one for good in six minutes is what a leak of a soak of an hour would be at the least.
DESCRIPTORS_PER_H: Final = 10.0
#: The part of a soak that does not count, and that of a line of the series that may come on top of the first ones:
#: counters have more digits at the end.
_WARM_UP: Final = 0.2
_WARM_UP_MIN_S: Final = 120.0
_LINE_GROWTH: Final = 1.25
_POLL_S: Final = 2.0
#: A run takes a moment to start, and to drain and write its report.
_SLACK_S: Final = 120.0
_SOURCES: Final = 4
#: Seconds for which there are ports: a closed connection keeps its own for 60 of them.
_PORTS_S: Final = 80
_AT_A_TIME: Final = 16
_TARGET: Final = "127.0.0.1:9000"


def interval_s(seconds: int) -> float:
    """Return the interval of the series: the 240 lines that a dashboard keeps are there before the warm-up is over."""
    return min(max(round(seconds / 3600, 1), 0.2), 1.0)


def scenarios(seconds: int) -> dict[str, dict[str, Any]]:
    """The runs of a soak by name."""
    shared = {
        "lab": {},
        "sources": {"addresses": f"127.0.1.1-127.0.1.{_SOURCES}"},
        "interval": f"{interval_s(seconds):g}s",
        "workers": 2,
        "sinks": 1,
    }
    http = {"protocol": "http", "targets": [{"address": _TARGET, "sink": {"speaks": "http", "body": 512}}]}
    tls = {"targets": [{"address": _TARGET, "sink": {"speaks": "http", "tls": True}}], "tls": {}, "protocol": "http"}
    beats = {"targets": [{"address": _TARGET, "sink": True}], "connections": 500, "hold": f"{seconds}s"}
    return {
        "http": {**shared, **http, "name": "http", **_churn(seconds, 150)},
        "tls": {**shared, **tls, "name": "tls", **_churn(seconds, 20)},
        "beats": {**shared, **beats, "name": "beats", "heartbeat": {"every": "2s"}},
    }


def _churn(seconds: int, rate_per_s: int) -> dict[str, Any]:
    """What a churn has to itself, laid out so that all it fills is filled in the warm-up.

    Ports: enough for those that rest, and used once in two thirds of the warm-up, as a worker remembers each that was.
    Connections at a time: few, and all of them in a burst at the beginning, as a stall of the machine would else show
    as growth.
    """
    ports = rate_per_s * _PORTS_S // _SOURCES
    burst = {"from": f"{4 * rate_per_s}/s", "to": f"{4 * rate_per_s}/s", "over": "2s"}
    steady = {"from": f"{rate_per_s}/s", "to": f"{rate_per_s}/s", "over": "1s"}
    return {
        "lab": {"sysctls": {"net.ipv4.ip_local_port_range": f"40000 {40_000 + ports - 1}"}},
        "churn": {"duration": f"{seconds}s", "concurrency": _AT_A_TIME, "exchanges": 2},
        "arrival": {"stages": [burst, steady]},
    }


@dataclass(slots=True)
class Samples:
    """What was seen of one process. times_s: of time.monotonic(); rss: bytes; descriptors: open files."""

    times_s: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)
    descriptors: list[float] = field(default_factory=list)

    def after(self, begun_s: float) -> Samples:
        """Return those from this moment on."""
        at = [n for n, time_s in enumerate(self.times_s) if time_s >= begun_s]
        lists = (self.times_s, self.rss, self.descriptors)
        return Samples(*([values[n] for n in at] for values in lists))


@dataclass(frozen=True, slots=True)
class Row:
    """One process in the table: the time it was judged by, Rss in bytes at the end, the slopes, whether it grows."""

    name: str
    samples: int
    hours: float
    rss: float
    descriptors: float
    rss_mb: Trend
    files: Trend

    @property
    def judgement(self) -> str:
        """Return grows, open or flat: the worse of its two quantities."""
        memory = self.rss_mb.judged(MEMORY_MB_PER_H)
        if memory == "grows" and self.rss_mb.per_h * self.hours < MEMORY_STEP_MB:
            memory = "open"
        found = {memory, self.files.judged(DESCRIPTORS_PER_H)}
        return next(word for word in ("grows", "open", "flat") if word in found)


def row_of(name: str, samples: Samples) -> Row:
    """Judge one process by its samples after the warm-up."""
    times = samples.times_s
    return Row(
        name,
        len(times),
        (times[-1] - times[0]) / 3600 if times else 0.0,
        samples.rss[-1] if times else 0.0,
        samples.descriptors[-1] if times else 0.0,
        trend(times, [value / _MB for value in samples.rss]),
        trend(times, samples.descriptors),
    )


class Soaking:
    """One run with its dashboard and those who read it."""

    def __init__(self, name: str, scenario: Mapping[str, Any], place: Path, keep: ExitStack) -> None:
        self.name, self.samples = name, {}  # type: str, dict[str, Samples]
        self._place, self._over = place / name, threading.Event()
        self._place.mkdir()
        file = self._place / "scenario.yaml"
        file.write_text(json.dumps(scenario))
        command = [sys.executable, "-m", "loadgen", "run", str(file), "--out", str(self._place / "results")]
        self._said = keep.enter_context((self._place / "stderr").open("w+"))
        self._process = subprocess.Popen(
            [*command, "--dashboard"], stdout=subprocess.DEVNULL, stderr=self._said, start_new_session=True
        )
        keep.callback(self._process.wait)
        keep.callback(self._process.kill)
        keep.callback(self._over.set)

    @property
    def running(self) -> bool:
        """True until the run has ended."""
        return self._process.poll() is None

    def watch(self) -> None:
        """Start the readers of the dashboard. Raises: LoadgenError if there is none within a minute."""
        deadline = time.monotonic() + 60
        while not (found := re.search(r"dashboard at (\S+/)", (self._place / "stderr").read_text())):
            if not self.running or time.monotonic() > deadline:
                raise LoadgenError(f"{self.name} has no dashboard: {(self._place / 'stderr').read_text()[-500:]}")
            time.sleep(0.1)
        url = found[1]
        for look in (self._stays, self._stays, self._comes_and_goes, self._asks):
            threading.Thread(target=self._until_over, args=(look, url), daemon=True).start()

    def _until_over(self, look: Callable[[str], None], url: str) -> None:
        while not self._over.wait(_POLL_S) and self.running:
            try:
                look(url)
            except OSError:  # the run is about to end
                continue

    def _stays(self, url: str) -> None:
        with dashboard.stream(url) as sock:
            while sock.recv(1 << 16) and not self._over.is_set():
                pass

    def _comes_and_goes(self, url: str) -> None:
        with dashboard.stream(url) as sock:
            sock.recv(1 << 16)

    def _asks(self, url: str) -> None:
        for page in ("", "metrics"):
            with urllib.request.urlopen(url + page, timeout=10) as answer:
                answer.read()

    def look(self) -> None:
        """Take one sample of every process of the run."""
        now, numbers = time.monotonic(), dict[str, int]()
        for pid in tree(self._process.pid):
            proc = Path("/proc", str(pid))
            try:
                kind = kind_of((proc / "maps").read_text())
                memory = (proc / "smaps_rollup").read_text()
                descriptors = len(os.listdir(proc / "fd"))
            except OSError:  # ended meanwhile
                continue
            if kind == "other":
                kind = "orchestrator" if pid == self._process.pid else "zygote"
            numbers[kind] = numbers.get(kind, 0) + 1
            samples = self.samples.setdefault(f"{self.name} {kind} {pid}", Samples())
            samples.times_s.append(now)
            samples.rss.append(_rss_bytes(memory))
            samples.descriptors.append(descriptors)

    def write_samples(self) -> None:
        """Write all that was seen beside the run directory, for those who keep it."""
        seen = {name: asdict(samples) for name, samples in self.samples.items()}
        (self._place / "samples.json").write_text(json.dumps(seen))

    def problems(self, seconds: int) -> Iterator[str]:
        """What is wrong with the run and its files, once it has ended."""
        if self._process.returncode:
            yield f"{self.name} ended with exit code {self._process.returncode}: {self._place / 'stderr'}"
        for series in self._place.glob("results/*/series.jsonl"):
            yield from (f"{self.name}: {problem}" for problem in series_problems(series, seconds))


def series_problems(series: Path, seconds: int) -> Iterator[str]:
    """What is too much in a series: lines, or bytes of a line that grow as the run goes on."""
    lengths = [len(line) for line in series.read_bytes().splitlines()]
    most = seconds / interval_s(seconds) + 20  # the ends of phases, starting and draining
    if len(lengths) > most:
        yield f"{len(lengths):,} lines, where {most:,.0f} are the most"
    part = len(lengths) // 5
    if part and (early := sum(lengths[part : 2 * part])) * _LINE_GROWTH < (late := sum(lengths[-2 * part : -part])):
        yield f"its lines grow, from {early / part:,.0f} to {late / part:,.0f} bytes"


def _rss_bytes(smaps_rollup: str) -> int:
    found = re.search(r"^Rss:\s+(\d+) kB", smaps_rollup, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def table(rows: list[Row]) -> str:
    """One line for each process: memory and descriptors at the end, slopes per hour with their intervals."""
    lines = [f"{'process':30}{'looks':>6}{'Rss, MB':>9}{'Rss, MB/h':>24}{'files':>7}{'files/h':>9}"]
    for row in rows:
        memory = f"{row.rss / _MB:>9.1f}{spread(row.rss_mb):>24}"
        figures = f"{row.samples:>6}{memory}{row.descriptors:>7.0f}{row.files.per_h:>9.1f}"
        lines.append(f"{row.name:30}{figures}  {row.judgement}")
    return "\n".join(lines)


def spread(found: Trend) -> str:
    """A slope, and in brackets its interval."""
    return f"{found.per_h:.2f} ({found.low:.2f} to {found.high:.2f})"


@contextmanager
def _place(keep: Path | None) -> Iterator[Path]:
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="soak-") as made:
        yield Path(made)


def soak(seconds: int, place: Path) -> tuple[list[Row], list[str]]:
    """Soak for this time; return the table's rows and what is wrong besides. Raises: LoadgenError."""
    with ExitStack() as keep:
        runs = [Soaking(name, scenario, place, keep) for name, scenario in scenarios(seconds).items()]
        for run in runs:
            run.watch()
        begun_s = time.monotonic()
        pause_s = min(max(seconds / 600, 1.0), 10.0)
        while any(run.running for run in runs):
            if time.monotonic() > begun_s + seconds + _SLACK_S:
                return [], ["a run did not end"]
            if time.monotonic() < begun_s + seconds - 2 * pause_s:  # draining is another story
                for run in runs:
                    run.look()
            time.sleep(pause_s)
        for run in runs:
            run.write_samples()
        counted_from_s = begun_s + max(_WARM_UP * seconds, _WARM_UP_MIN_S)
        seen = {name: samples.after(counted_from_s) for run in runs for name, samples in run.samples.items()}
        # A process that was there for a part of the time, as a probe's, has no trend.
        longest = max((len(samples.times_s) for samples in seen.values()), default=0)
        rows = [row_of(name, samples) for name, samples in seen.items() if len(samples.times_s) > longest / 2]
        return rows, [problem for run in runs for problem in run.problems(seconds)]


def main() -> int:
    """Soak and print; return the exit code."""
    parser = argparse.ArgumentParser(prog="bench.soak", description="Whether loadgen's processes grow.")
    parser.add_argument("--seconds", type=int, default=3600, metavar="N", help="default 3600")
    parser.add_argument("--keep", type=Path, metavar="DIRECTORY", help="keep the run directories and the samples there")
    options = parser.parse_args()
    with _place(options.keep) as place:
        rows, problems = soak(options.seconds, place)
    print(table(rows))
    grows = [row.name for row in rows if row.judgement == "grows"]
    unclear = [row.name for row in rows if row.judgement == "open"]
    if unclear:
        print(f"open, a longer soak can tell: {', '.join(unclear)}")
    problems += [f"{name} grows" for name in grows] + ([] if rows else ["nothing was seen"])
    print("\n".join(f"FAILED: {problem}" for problem in problems) or f"passed: {len(rows)} processes, none grows")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
