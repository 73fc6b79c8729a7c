"""The service gives its ports back, and needs no more of them than one for each client and backend."""

import time
from pathlib import Path

from conftest import Service

from loadgen import Result, Scenario, look, run

POOL = 10  # connections to each backend that the service may keep


def load(service: Service, clients: int, results: Path) -> Result:
    """Let clients come, ask once, all be there, and leave."""
    scenario = Scenario.of(
        {
            "name": "clients",
            # Another address than the service has, so that the clients take no port from it.
            "sources": {"addresses": "127.0.0.2"},
            "targets": [{"address": service.address}],
            "protocol": {"name": "echo", "size": 16},
            "connections": clients,
            "hold": "300ms",
            "expect": ["outcomes.failed == 0", "traffic.wrong == 0", "open.lost == 0"],
        }
    )
    return run(scenario, results=results)


def held(destination: str) -> int:
    """Ports that are in use towards a destination; those in TIME-WAIT belong to no process any more."""
    return sum(group.in_use for group in look(destination).groups)


def test_ports_are_given_back(service: Service, tmp_path: Path) -> None:
    """Clients that have left leave no connection to a backend behind, except those in the pool."""
    clients = 30
    result = load(service, clients, tmp_path)
    assert not result.problems, f"{result.verdict}\n{service.log.read_text()}"
    for backend in service.backends:
        deadline = time.monotonic() + 3  # to see that every client is gone
        while (ports := held(backend)) > POOL and time.monotonic() < deadline:
            time.sleep(0.05)
        assert ports <= POOL, f"leak: {ports} ports to {backend} are in use after {clients} clients have left"


def test_backends_share_the_ports(service: Service, tmp_path: Path) -> None:
    """45 clients need 135 connections to three backends; each backend has a hundred ports, and they are the same."""
    result = load(service, 45, tmp_path)
    log = service.log.read_text()
    assert "EADDRINUSE" not in log, f"the service binds before it connects, so its backends share one range:\n{log}"
    assert not result.problems, f"{result.verdict}\n{log}"
