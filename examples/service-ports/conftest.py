"""The service under test and its backends, in the namespace that lab.py made.

SERVICE=leaks or SERVICE=binds-early starts a version with that mistake.
"""

import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

#: Outside of the range that connections have, so that no connection takes the port of a listener.
PORT, BACKEND_PORTS = 8080, (9001, 9002, 9003)


class Echo(socketserver.StreamRequestHandler):
    """A connection to a backend: whatever comes goes back."""

    def handle(self) -> None:
        """Answer until the other side closes."""
        while data := self.request.recv(4096):
            self.request.sendall(data)


class Backend(socketserver.ThreadingTCPServer):
    """A server with a thread for each connection."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1000
    block_on_close = False


@dataclass
class Service:
    """Addresses of the service and its backends, and the file of its messages."""

    address: str
    backends: list[str]
    log: Path


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that has just started."""
    with ExitStack() as stack:
        for port in BACKEND_PORTS:
            backend = stack.enter_context(Backend(("127.0.0.1", port), Echo))
            stack.callback(backend.shutdown)
            threading.Thread(target=backend.serve_forever, args=(0.05,), daemon=True).start()
        log = stack.enter_context((tmp_path / "service.log").open("w"))
        kind = os.environ.get("SERVICE", "good")
        ports = map(str, (PORT, *BACKEND_PORTS))
        command = [sys.executable, str(Path(__file__).with_name("service.py")), kind, *ports]
        process = stack.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        )
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        stack.callback(process.stdin.close)
        yield Service(f"127.0.0.1:{PORT}", [f"127.0.0.1:{port}" for port in BACKEND_PORTS], tmp_path / "service.log")
