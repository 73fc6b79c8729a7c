"""Every test in here runs in a network namespace that was made for it and that ends with it.

The test process itself enters the namespace before a test and returns after it: sockets, /proc/net
and child processes then need no care at all. An ordinary user may not do that, but may make a user
namespace in which it is allowed (user_namespaces(7)), so for an ordinary user pytest starts itself
again inside one. That takes `pytest tests/lab`, without tests of other directories (`make test`, `make lab`).
"""

from __future__ import annotations

import asyncio
import ctypes
import getpass
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
import uvloop

from loadgen.lab import namespace
from loadgen.model import CloseMode, Endpoint, PortRange, Strategy

from .support import Load, listen, on_loop

_CLONE_NEWNET: Final = 0x40000000
_CAP_SYS_ADMIN: Final = 21
_RESTARTED: Final = "LOADGEN_TESTS_IN_USER_NAMESPACE"
#: The source ports of a test that does not say otherwise; listeners stay outside, on 9000 and above.
PORTS: Final = "40000 40003"


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", "lab(ports, **sysctls): ip_local_port_range and more of the test's namespace")


def pytest_cmdline_main(config: pytest.Config) -> None:
    """As an ordinary user, start again where namespaces may be made; called only for a path given to pytest."""
    unshare = shutil.which("unshare")
    if _may_make_namespaces() or _RESTARTED in os.environ or not unshare:
        return
    inside = [unshare, "--user", "--map-root-user", "--net"]
    if subprocess.run([*inside, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        return  # the fixture below says so for each test
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture:
        capture.suspend_global_capture(in_=True)
    os.environ[_RESTARTED] = "1"
    os.environ.setdefault("LOGNAME", getpass.getuser())  # else pytest's directory in /tmp would be that of root
    os.execv(unshare, [*inside, sys.executable, *sys.orig_argv[1:]])


def _may_make_namespaces() -> bool:
    status = Path("/proc/self/status").read_text()
    capabilities = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(capabilities, 16) & 1 << _CAP_SYS_ADMIN)


@pytest.fixture(autouse=True)
def _lab(request: pytest.FixtureRequest, _network_namespaces: None) -> Iterator[None]:
    """A fresh namespace with loopback up, set up as the test's `lab` markers say."""
    if not _may_make_namespaces():
        pytest.skip("needs a network namespace for pytest itself: make lab, or run as root")
    sysctls: dict[str, str] = {}
    ports = PORTS
    for marker in reversed(list(request.node.iter_markers("lab"))):  # the closest one last
        ports = marker.args[0] if marker.args else ports
        sysctls.update({name.replace("__", "."): value for name, value in marker.kwargs.items()})
    before = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        namespace.enter({"net.ipv4.ip_local_port_range": ports, **sysctls})
        yield
    finally:
        libc = ctypes.CDLL(None, use_errno=True)
        returned = libc.setns(before, _CLONE_NEWNET)
        os.close(before)
        if returned:
            pytest.exit(f"cannot leave the namespace of {request.node.nodeid}: {os.strerror(ctypes.get_errno())}")


@pytest.fixture
def keep(_lab: None) -> Iterator[ExitStack]:
    """Whatever is entered here is closed after the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def ports() -> PortRange:
    """The four ports of a test without a marker."""
    low, high = PORTS.split()
    return PortRange(int(low), int(high))


@pytest.fixture
def listeners(keep: ExitStack) -> Callable[..., list[Any]]:
    """Make listeners that accept nothing on their own: `listeners(endpoint, endpoint, backlog=4)`."""

    def make(*endpoints: Endpoint, backlog: int = 4096) -> list[Any]:
        return [keep.enter_context(listen(endpoint, backlog)) for endpoint in endpoints]

    return make


@pytest.fixture
def load(keep: ExitStack) -> Callable[..., Load]:
    """Make a `Load` that is closed after the test."""

    def make(
        strategy: Strategy,
        pairs: Sequence[tuple[str, Endpoint]],
        ports: PortRange,
        *,
        close: CloseMode = CloseMode.RST,
        **more: Any,
    ) -> Load:
        made = Load(strategy, pairs, ports, close=close, **more)
        keep.callback(made.close)
        return made

    return make


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest, _lab: None) -> Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]:
    """Run a coroutine function in the test's namespace, once on each kind of event loop."""
    factory = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}[request.param]
    return lambda body: on_loop(body, factory)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest, so that no process is left with one of them when the others are done."""
    items.sort(key=lambda item: item.path.stem != "test_remedies")
