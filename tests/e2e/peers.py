"""Servers of other projects, each in the foreground of a namespace of the test's own, and runs against them.

A server is its own program with a configuration in the test's directory. It is awaited until it listens, and is ended
by its pid whatever becomes of the test. None of them is a service of the system.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import pytest

from .conftest import Loadgen, Namespace, Running, assert_adds_up, environment, wait_until

#: Servers are often installed where only root looks.
_PATH: Final = ":".join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))
#: Debian's packages of programs, where those have another name.
_PACKAGES: Final = {
    "java": "default-jdk-headless",
    "nginx": "nginx-light",
    "node": "nodejs",
    "redis-cli": "redis-tools",
}
_LISTEN: Final = "0A"  # TCP_LISTEN of include/net/tcp_states.h, as /proc/net/tcp writes it
#: No server here takes a tenth of it to begin or to end.
_PATIENCE_S: Final = 20.0
#: How a connection ends that the other side closes. Which it is depends on what was on its way at that moment.
CLOSED: Final = frozenset({("recv", "EOF"), ("recv", "ECONNRESET"), ("send", "EPIPE"), ("send", "ECONNRESET")})


def program(name: str) -> str:
    """Where the program of a server is; skips the test when it is not installed."""
    found = shutil.which(name, path=_PATH)
    if found is None:
        pytest.skip(f"needs {name}: apt install {_PACKAGES.get(name, name)}")
    return found


def ends(summary: Mapping[str, Any]) -> Counter[tuple[str, str]]:
    """How many connections ended by which (system call, errno)."""
    return Counter({(row["syscall"], row["errno"]): row["count"] for row in summary["errors"]})


def assert_no_limit(summary: Mapping[str, Any]) -> None:
    """That every connection was opened and stayed, and nobody is blamed; a busy machine may have made somebody late."""
    assert summary["errors"] == []
    assert (summary["outcomes"]["failed"], summary["open"]["lost"]) == (0, 0)
    late = not summary["generator"]["trustworthy"] or (summary["heartbeat"] or {}).get("missed")
    assert late or summary["verdict"]["limit"] == "none"


def assert_closed(summary: Mapping[str, Any], count: int) -> None:
    """That the other side closed so many of the connections that were held, and that the verdict says so."""
    assert ends(summary).total() == count
    assert ends(summary).keys() <= CLOSED
    assert summary["verdict"]["limit"] == "lost"


def finished(running: Running) -> dict[str, Any]:
    """The summary of a run that ends as planned."""
    done = running.finish()
    assert done.code == 0, done.err or done.summary["expect"]
    assert_adds_up(done.summary)
    assert done.summary["complete"]
    return done.summary


@dataclass(frozen=True)
class Load:
    """Runs of a scenario from the server's own namespace."""

    loadgen: Loadgen
    namespace: Namespace
    scenario: Mapping[str, Any]

    def start(self, **changes: Any) -> Running:
        """Start a run of the scenario with these keys changed."""
        path = self.loadgen.scenario(**{"lab": None, **self.scenario, **changes})
        return self.loadgen.start("run", path, "--json", "--quiet", prefix=self.namespace.enter)

    def run(self, **changes: Any) -> dict[str, Any]:
        """The summary of a whole run."""
        return finished(self.start(**changes))

    @staticmethod
    def until_answered(running: Running) -> None:
        """Wait until a connection that is held has had an answer."""
        running.until_line(
            "answer while held", lambda line: line["phase"] == "hold" and "exchange" in line["latency_ns"]
        )


class Server:
    """A server that runs in the foreground, at home in a directory; use it in a `with`.

    command: what starts it. ports: those it listens on, on 127.0.0.1 or on every address of IPv4.
    """

    def __init__(self, namespace: Namespace, home: Path, command: Sequence[str | Path], ports: Sequence[int]) -> None:
        self._namespace, self.home = namespace, home
        self._command = [*namespace.enter, *map(str, command)]
        self._ports = frozenset(ports)
        self._log = home / "server.log"
        self._popen: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        try:
            self.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    @property
    def said(self) -> str:
        """Its own words so far."""
        return self._log.read_text(errors="replace")

    def start(self) -> None:
        """Start it, for the first time or again, and wait until it listens."""
        with self._log.open("ab") as log:
            self._popen = subprocess.Popen(
                self._command,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(),
                process_group=0,  # so that what it forks can be ended with it
            )
        wait_until(self._listens, f"listening {self._command}", _PATIENCE_S)

    def signal(self, number: signal.Signals) -> None:
        """To its first process alone."""
        assert self._popen
        assert self._popen.poll() is None, f"it has ended: {self.said}"
        self._popen.send_signal(number)

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        self.signal(signal.SIGTERM)
        assert self._popen
        self._popen.wait(_PATIENCE_S)

    def ask(self, *command: str) -> str:
        """What a client's command answers, in the same namespace."""
        asked = [*self._namespace.enter, *command]
        return subprocess.run(asked, capture_output=True, check=True, text=True, timeout=_PATIENCE_S).stdout

    def _listens(self) -> bool:
        assert self._popen
        if self._popen.poll() is not None:
            pytest.fail(f"{self._command} ended with {self._popen.returncode}: {self.said}")
        _, _, holder, *_ = self._namespace.enter  # nsenter -t PID
        rows = [line.split() for line in Path(f"/proc/{holder}/net/tcp").read_text().splitlines()[1:]]
        return self._ports <= {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == _LISTEN}

    def _end(self) -> None:
        popen = self._popen
        if popen is None or popen.poll() is not None:
            return
        popen.terminate()
        try:
            popen.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(popen.pid, signal.SIGKILL)  # nobody has waited for its leader, so the number is still ours
            popen.wait(_PATIENCE_S)
            raise
