"""Probes against a real kernel: what they try, what they count, and that they leave nothing behind."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from loadgen.control import probe
from loadgen.kernel import sockstat
from loadgen.model import Endpoint, PortRange, Probe, ProbeKind, ProbeWhen, Strategy
from loadgen.processes.link import Link

from .support import PROC_NET, child, listen

HERE = Endpoint("127.0.0.1", 9000)


def a_probe(**changes: Any) -> Probe:
    keys: dict[str, Any] = {
        "name": "test",
        "when": ProbeWhen.HOLD,
        "kind": ProbeKind.CONNECT,
        "count": 4,
        "strategy": Strategy.KERNEL,
        "source": "",
        "target": HERE,
        "sink": False,
        "ports": PortRange(40_000, 40_003),
        "uid": None,
        "reuseaddr": False,
    }
    return Probe(**{**keys, **changes})


def result(
    established: int,
    failed: int,
    source_ports: int,
    **errors: dict[str, int],
) -> dict[str, Any]:
    return {"established": established, "failed": failed, "errors": errors, "source_ports": source_ports}


def blocked_by(holder: str, endpoint: str) -> dict[str, Any]:
    """The result of a probe that could not listen there."""
    return result(0, 1, 0, bind={"EADDRINUSE": 1}) | {"endpoint": endpoint, "held_by": {holder: 1}}


@pytest.mark.parametrize(
    ("strategy", "syscall", "name"),
    [
        (Strategy.KERNEL, "connect", "EADDRNOTAVAIL"),
        (Strategy.LATE, "connect", "EADDRNOTAVAIL"),
        (Strategy.LATE_RANGE, "connect", "EADDRNOTAVAIL"),
        (Strategy.EXPLICIT, "connect", "EADDRNOTAVAIL"),
        (Strategy.EXCLUSIVE, "bind", "EADDRINUSE"),
        (Strategy.BIND, "bind", "EADDRINUSE"),
    ],
)
def test_all_connections_are_kept_until_the_last_was_tried(
    strategy: Strategy, syscall: str, name: str, listeners: Callable[..., list[socket.socket]]
) -> None:
    """So four ports give four, and a second probe finds the four free again."""
    listeners(HERE)
    source = "" if strategy is Strategy.KERNEL else "127.0.0.2"
    for _ in range(2):
        tally = probe.run(a_probe(strategy=strategy, source=source, count=6))
        assert tally.result == result(4, 2, 4, **{syscall: {name: 2}})
        assert tally.sources == {source or "127.0.0.1": 4}
    assert sockstat.read(PROC_NET)["tcp_tw"] == 0


def test_it_may_listen_itself() -> None:
    assert probe.run(a_probe(sink=True)).result == result(4, 0, 4)
    assert probe.run(a_probe()).result == result(0, 4, 0, connect={"ECONNREFUSED": 4})


def test_what_it_cannot_set_up_is_no_result(listeners: Callable[..., list[socket.socket]]) -> None:
    listeners(HERE)
    with pytest.raises(probe.GaveUpError, match=r"cannot listen on 127\.0\.0\.1:9000: bind EADDRINUSE"):
        probe.run(a_probe(sink=True))
    restart = a_probe(kind=ProbeKind.RESTART, ports=PortRange(9000, 9000))
    with pytest.raises(probe.GaveUpError, match=r"the first listener on 127\.0\.0\.1:9000: bind EADDRINUSE"):
        probe.run(restart)


@pytest.mark.lab(net__ipv4__tcp_syn_retries="1")
def test_its_patience_ends(listeners: Callable[..., list[socket.socket]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a full queue: its own timeout is `wait`, and all together have a limit as well."""
    listeners(HERE, backlog=0)
    monkeypatch.setattr(probe, "CONNECT_TIMEOUT_S", 0.05)
    assert probe.run(a_probe(count=3)).result == result(1, 2, 1, wait={"ETIMEDOUT": 2})
    monkeypatch.setattr(probe, "TIME_LIMIT_S", 0.0)
    with pytest.raises(probe.GaveUpError, match=r"after 0 s 0 had been tried"):
        probe.run(a_probe())


@pytest.mark.lab("40000 40001")
def test_a_connection_that_met_itself_is_none() -> None:
    tally = probe.run(a_probe(target=Endpoint("127.0.0.1", 40_000), count=20)).result
    assert tally["established"] == 0
    assert sum(sum(names.values()) for names in tally["errors"].values()) == 20
    assert tally["errors"]["getsockname"]["SELF"] >= 1


@pytest.mark.parametrize(
    ("port", "expected"), [(9000, blocked_by("listener", "127.0.0.1:9000")), (9001, result(1, 0, 0))]
)
def test_listening(port: int, expected: dict[str, Any], listeners: Callable[..., list[socket.socket]]) -> None:
    listeners(HERE)
    assert probe.run(a_probe(kind=ProbeKind.LISTEN, ports=PortRange(port, port))).result == expected


@pytest.mark.parametrize(
    ("address", "blocked"),
    [("127.0.0.1", False), ("127.0.0.2", True), ("0.0.0.0", True), ("::", True), ("::1", False)],
)
@pytest.mark.parametrize("holder", ["connection", "time-wait", "bound", "listener"])
def test_a_port_in_use_says_by_what(address: str, holder: str, blocked: bool, keep: ExitStack) -> None:
    """An outgoing connection from 127.0.0.2 has the port of a service that starts later."""
    listener = keep.enter_context(listen(HERE))
    listener.setblocking(True)
    client = keep.enter_context(socket.socket())
    client.bind(("127.0.0.2", 40_000))
    if holder == "listener":
        client.listen()
    elif holder != "bound":
        client.connect(HERE.sockaddr)
        accepted, _ = listener.accept()
        keep.callback(accepted.close)
        if holder == "time-wait":
            client.close()
            assert accepted.recv(1) == b""
            accepted.close()
    service = a_probe(kind=ProbeKind.LISTEN, target=Endpoint(address, 1), ports=PortRange(40_000, 40_000))
    expected = blocked_by(holder, str(Endpoint(address, 40_000))) if blocked else result(1, 0, 0)
    assert probe.run(service).result == expected


@pytest.mark.parametrize(
    ("reuseaddr", "expected"), [(False, blocked_by("time-wait", "127.0.0.1:9100")), (True, result(1, 0, 0))]
)
def test_restarting_a_server(reuseaddr: bool, expected: dict[str, Any]) -> None:
    restart = a_probe(kind=ProbeKind.RESTART, ports=PortRange(9100, 9100), reuseaddr=reuseaddr)
    assert probe.run(restart).result == expected
    assert sockstat.read(PROC_NET)["tcp_tw"] == 1


def report_of(spec: Probe, keep: ExitStack) -> dict[str, Any] | None:
    """The one message of a probe that was forked."""
    ours, theirs = Link.pair()
    keep.callback(ours.close)

    def body() -> None:
        ours.close()
        probe.main(spec, os.dup(theirs.fileno()))

    keep.enter_context(child(body))
    theirs.close()
    return ours.receive()


def test_its_report(keep: ExitStack) -> None:
    assert report_of(a_probe(sink=True), keep) == {
        "report": "done",
        "result": result(4, 0, 4),
        "sources": {"127.0.0.1": 4},
    }
    busy = a_probe(kind=ProbeKind.RESTART, target=Endpoint("192.0.2.1", 1), ports=PortRange(9100, 9100))
    assert report_of(busy, keep) == {
        "report": "failed",
        "text": "the first listener on 192.0.2.1:9100: bind EADDRNOTAVAIL",
    }


def test_another_user_or_the_reason_why_not(keep: ExitStack) -> None:
    """Root can be anybody; in a user namespace of one user there is nobody else."""
    report = report_of(a_probe(sink=True, uid=65534), keep)
    assert report is not None
    if report["report"] == "failed":
        assert report["text"] == "cannot become user 65534 here: EINVAL"
    else:
        assert report["result"] == result(4, 0, 4)
