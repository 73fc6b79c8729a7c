"""What a dashboard costs a run: without one, and with one that nobody, a reader or a dead browser looks at.

    python -m bench.dashboard [--rounds N] [--connections N]

Whole runs of loadgen with its own sinks, in a lab of their own, one of each kind in turn and in turning order. What
counts is the ratio to the run without a dashboard in the same round; a control, a second run without, says how far
that can be trusted. A browser is a socket here, which reads the stream as it comes, or asks for it and never reads.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

#: One run takes a tenth of it.
_GIVE_UP_S: Final = 120
#: The first is what the others are compared with.
KINDS: Final = ("without", "without, again", "nobody looks", "a reader", "four readers", "never reads")
_READERS: Final = {"a reader": 1, "four readers": 4}


def scenario(connections: int) -> dict[str, object]:
    """As scenarios/past-64k.yaml, with so many connections."""
    return {
        "name": "dashboard",
        "lab": {"sysctls": {"net.ipv4.ip_local_port_range": "1024 65535"}},
        "sources": {"addresses": "127.0.1.1-127.0.1.4"},
        "targets": [{"address": "127.0.0.1:9000", "sink": True}],
        "connections": connections,
        "interval": "500ms",
        "hold": "2s",
    }


def run_once(kind: str, file: Path, results: Path) -> float:
    """Connections per second over the ramp of one run. Raises: CalledProcessError, or AssertionError without a URL."""
    command = [sys.executable, "-m", "loadgen", "run", str(file), "--out", str(results), "--quiet", "--json"]
    if not kind.startswith("without"):
        command.append("--dashboard")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        with looked_at(kind, process.stderr.readline() if "--dashboard" in command else ""):
            out, said = process.communicate(timeout=_GIVE_UP_S)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, out, said)
    return float(json.loads(out)["rate_per_s"]["established_mean"])


@contextmanager
def looked_at(kind: str, said: str) -> Iterator[None]:
    """Meanwhile browsers of this kind look. said: the line with the URL; empty without a dashboard."""
    if kind in ("without", "without, again", "nobody looks"):
        yield
        return
    found = re.search(r"dashboard at (\S+/)$", said.rstrip())
    assert found, said
    sockets = [stream(found[1]) for _ in range(_READERS.get(kind, 1))]
    readers = [threading.Thread(target=_read, args=(sock,)) for sock in sockets if kind in _READERS]
    for reader in readers:
        reader.start()
    yield
    for reader in readers:
        reader.join(_GIVE_UP_S)
    for sock in sockets:
        sock.close()


def stream(url: str) -> socket.socket:
    """A connection on which the stream of events was asked for."""
    parts = urlsplit(url)
    sock = socket.create_connection((str(parts.hostname), int(parts.port or 80)), timeout=_GIVE_UP_S)
    sock.sendall(f"GET {parts.path}events HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
    return sock


def _read(sock: socket.socket) -> None:
    while sock.recv(1 << 16):
        pass


def table(rates: dict[str, list[float]]) -> str:
    """Medians with least and most, and the ratio to the first kind, round by round."""
    lines = [f"{'':16}{'connections per second':>30}{'ratio by round':>26}"]
    for kind, found in rates.items():
        ratios = [one / base for one, base in zip(found, rates[KINDS[0]], strict=True)]
        lines.append(f"{kind:16}{spread(found, ',.0f'):>30}{spread(ratios, '.2f'):>26}")
    return "\n".join(lines)


def spread(values: list[float], form: str) -> str:
    """The median, and in brackets the least and the most."""
    return f"{statistics.median(values):{form}} ({min(values):{form}}-{max(values):{form}})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.dashboard", description="What a dashboard costs a run.")
    parser.add_argument("--rounds", type=int, default=7, choices=range(1, 101), metavar="N", help="default 7")
    parser.add_argument("--connections", type=int, default=100_000, metavar="N", help="of each run, default 100,000")
    options = parser.parse_args()
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "scenario.yaml"
        file.write_text(json.dumps(scenario(options.connections)))
        for number in range(options.rounds):
            for kind in KINDS if number % 2 == 0 else reversed(KINDS):
                rates[kind].append(run_once(kind, file, Path(place) / "results"))
                print(f"round {number + 1} of {options.rounds}, {kind}: {rates[kind][-1]:,.0f}/s", file=sys.stderr)
    print(table(rates))


if __name__ == "__main__":
    main()
