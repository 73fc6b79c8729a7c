"""The place of the measurement: a network namespace of its own, its settings, its quiet, the machine below."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loadgen.errors import HostError, UsageError

ROOT = Path(__file__).resolve().parent.parent
QUIET_TIMEOUT_S = 15.0

# netdevice(7); a struct ifreq is 16 bytes of name and 24 of union.
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1


def enter_namespace(arguments: Sequence[str], module: str = "bench.run") -> None:
    """Start `module` in a new network namespace, with --inside and these arguments; does not return.

    Raises: HostError when util-linux's unshare is missing or the kernel refuses.
    """
    # Root without CAP_SYS_ADMIN exists in containers; a user namespace may still be open to it.
    ways = [["--map-root-user", "--net"]] if os.geteuid() else [["--net"], ["--map-root-user", "--net"]]
    if shutil.which("unshare") is None:
        raise HostError("bench needs a network namespace: install util-linux, which brings `unshare`")
    said = ""
    for way in ways:
        tried = subprocess.run(["unshare", *way, "true"], capture_output=True, text=True, check=False, timeout=30)
        if tried.returncode == 0:
            os.chdir(ROOT)
            command = [sys.executable, "-m", module, "--inside", *arguments]
            os.execvp("unshare", ["unshare", *way, *command])
        said = tried.stderr.strip()
    raise HostError(f"bench needs a network namespace and this host refuses one ({said}); try as root")


def set_up_namespace() -> None:
    """Loopback up, listen queues long enough.

    Raises: UsageError when this is no fresh namespace, so that no flag can put this load on the host.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(sock, SIOCGIFFLAGS, struct.pack("16sH22x", b"lo", 0))
        flags: int = struct.unpack("16sH22x", answer)[1]
        if flags & IFF_UP:
            raise UsageError("--inside is for the harness itself: loopback is up, so this namespace is in use")
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | IFF_UP))
    write_sysctl("core/somaxconn", "65535")
    unprivileged = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if int(unprivileged.read_text()) > 1024:  # the port range must not begin below it
        unprivileged.write_text("1024")


def write_sysctl(name: str, value: str) -> None:
    """Set one sysctl below net/. Raises: HostError when the kernel refuses."""
    try:
        Path("/proc/sys/net", name).write_text(value)
    except OSError as error:
        raise HostError(f"cannot set net/{name} to {value!r} in the namespace: {error.strerror}") from error


def sockets_left(sockstat: str) -> int:
    """TCP sockets that still exist, TIME-WAIT included, from the text of /proc/net/sockstat."""
    for line in sockstat.splitlines():
        if line.startswith("TCP:"):
            words = line.split()
            return sum(int(words[words.index(key) + 1]) for key in ("inuse", "orphan", "tw"))
    return 0


def sockets_now() -> int:
    """TCP sockets in this namespace, TIME-WAIT included."""
    return sockets_left(Path("/proc/net/sockstat").read_text())


def wait_until_quiet() -> int:
    """Wait until no TCP socket is left in the namespace; returns how many are after QUIET_TIMEOUT_S."""
    deadline = time.monotonic() + QUIET_TIMEOUT_S
    while (left := sockets_now()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    facts = {
        key.strip(): value.strip()
        for key, _, value in (line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines())
    }
    return {
        "kernel": platform.release(),
        "cpu": facts.get("model name", platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
    }
