"""What the end-to-end tests share: loadgen as a subprocess, and ways to look at it from outside.

Nothing here imports what it tests. A run is known by what a user can see of it: its exit code, its
two streams, its run directory, and its processes in /proc. Every wait is for a condition and has an
end; every process that a test started is gone when the test is.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest

CHECKOUT: Final = Path(__file__).resolve().parents[2]
LOADGEN: Final = (sys.executable, "-m", "loadgen")
#: No run here takes a tenth of it, unless it hangs.
PATIENCE_S: Final = 60.0
_POLL_S: Final = 0.01

#: A process that has a namespace of its own, with loopback up, and lives until its standard input closes.
_HOLD_NAMESPACE: Final = """
import sys
from loadgen.lab import namespace
namespace.enter({})
print("ready", flush=True)
sys.stdin.read()
"""
#: Runs its arguments inside `unshare -Urn` so that no further network namespace can be made there.
_FORBID_NAMESPACES: Final = """
import fcntl, os, pathlib, socket, struct, sys
assert pathlib.Path("/proc/self/uid_map").read_text().split()[2] == "1", "not in a user namespace of our own"
with socket.socket() as sock:
    fcntl.ioctl(sock, 0x8914, struct.pack("16sH14x", b"lo", 0x1))
pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").write_text(sys.argv[1])
pathlib.Path("/proc/sys/user/max_net_namespaces").write_text("0")
os.execv(sys.argv[2], sys.argv[2:])
"""


def wait_until[T](look: Callable[[], T | None], what: str, timeout_s: float = PATIENCE_S) -> T:
    """What `look` returns, as soon as it is true; fails the test when that takes too long."""
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        if time.monotonic() > deadline:
            pytest.fail(f"no {what} within {timeout_s:g} s")
        time.sleep(_POLL_S)
    return found
