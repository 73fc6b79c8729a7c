"""Random scenarios: small, short, in a lab, and valid by construction; `loadgen.scenario` is asked all the same."""

from __future__ import annotations

import json
import random
from typing import Any, Final

from loadgen import scenario as scenarios

_FIRST_PORT: Final = 40_000
#: Share of the four-tuples that a scenario without --force asks for at most.
_FILL: Final = 0.8
_UDP_STRATEGIES: Final = ("late-range", "late", "explicit", "bind", "kernel")
_STRATEGIES: Final = (*_UDP_STRATEGIES, "late-range", "late-range", "reuseport", "exclusive", "reuseaddr")
_CONNECTIONS_MAX: Final = 500


def draw(rng: random.Random) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return a scenario as YAML has it, and the options of `loadgen run` that it needs."""
    kind = rng.choices(("hold", "staged", "churn"), (6, 2, 3))[0]
    veth = rng.random() < 0.2
    ports = rng.choice((20, 100, 400, 2000))
    sources, targets = rng.randint(1, 3), rng.randint(1, 3)
    carries = rng.choices(("tcp", "echo", "http", "tls", "https", "udp", "io_uring"), (4, 4, 3, 2, 1, 2, 2))[0]
    if carries == "io_uring" and kind == "churn":
        carries = "tcp"
    spec: dict[str, Any] = {
        "name": "chaos",
        "lab": {
            "topology": "veth" if veth else "loopback",
            "sysctls": {"net.ipv4.ip_local_port_range": f"{_FIRST_PORT} {_FIRST_PORT + ports - 1}"},
        },
        "sources": {
            "addresses": "198.18.0.2" if veth else "127.0.1.1",
            "strategy": rng.choice(_UDP_STRATEGIES if carries == "udp" else _STRATEGIES),
        },
        "workers": rng.randint(1, 4),
        "sinks": rng.randint(1, 2),
        "timeout": rng.choice(("300ms", "1s")),
        "interval": rng.choice(("50ms", "100ms", "300ms")),
        "in_flight": rng.choice((4, 64, 256)),
    }
    if spec["sources"]["strategy"] == "kernel":  # it leaves the source address to the route
        sources = 1
        spec["sources"] |= {"addresses": "127.0.0.1"} if not veth else {"strategy": "late"}
    if sources > 1:
        spec["sources"]["addresses"] += f"-{1 + sources if veth else sources}"
    _carry(rng, spec, carries, kind)
    spec["targets"] = [_target(rng, index, carries, veth=veth, kind=kind) for index in range(targets)]
    room = _room(spec["sources"]["strategy"], sources, targets, ports)
    options = _load(rng, spec, kind, room)
    if carries != "udp":
        closes = ("fin", "rst") if kind == "churn" else ("fin", "rst", "target")
        spec["close"] = rng.choice(closes)
    if not veth and carries != "udp" and rng.random() < 0.15:
        when = "after" if kind == "churn" else rng.choice(("hold", "after"))
        spec["probes"] = [{"name": "other-process", "when": when, "count": rng.randint(1, 5)}]
    scenarios.parse(json.dumps(spec))
    return spec, options


def _carry(rng: random.Random, spec: dict[str, Any], carries: str, kind: str) -> None:
    """Write down what each connection carries."""
    if carries in ("echo", "udp"):
        spec["protocol"] = {"name": "echo", "size": rng.choice((1, 64, 1000))}
    elif carries in ("http", "https"):
        spec["protocol"] = "http"
    elif carries == "io_uring":
        spec["engine"] = "io_uring"
    if carries == "udp":
        spec["transport"] = "udp"
    if carries in ("tls", "https"):
        spec["tls"] = {"resume": rng.random() < 0.5}
    if kind != "churn" and carries in ("echo", "http", "https", "udp") and rng.random() < 0.6:
        spec["heartbeat"] = {"every": rng.choice(("100ms", "200ms"))}


def _target(rng: random.Random, index: int, carries: str, *, veth: bool, kind: str) -> dict[str, Any]:
    """Return one target of ours; one in ten misbehaves."""
    sink: dict[str, Any] = {}
    if carries in ("http", "https"):
        sink |= {"speaks": "http", "body": rng.choice((0, 100, 20_000))}
    if carries in ("tls", "https"):
        sink["tls"] = True
    if carries != "udp" and rng.random() < 0.1:
        sink["drop"] = "10%"
    if carries in ("echo", "http", "https") and rng.random() < 0.1:
        sink["delay"] = "50ms"
    if carries != "udp" and kind != "churn" and rng.random() < 0.07:
        sink["close_after"] = "200ms"
    host = "198.19.0.1" if veth else "127.0.0.1"
    return {"address": f"{host}:{9000 + index}", "sink": sink or True}


def _room(strategy: str, sources: int, targets: int, ports: int) -> int:
    """Return the connections that the ports have room for, roughly; `loadgen plan` knows it exactly."""
    if strategy in ("bind", "exclusive"):
        return ports * sources
    if strategy == "kernel":
        return ports * targets // 2  # the kernel leaves half of the range to bind()
    return ports * sources * (targets if strategy != "reuseaddr" else 1)


def _load(rng: random.Random, spec: dict[str, Any], kind: str, room: int) -> tuple[str, ...]:
    """Write down how many connections there are, and when."""
    fits = max(1, min(int(room * _FILL), _CONNECTIONS_MAX))
    if kind == "churn":
        spec["churn"] = {"duration": f"{rng.randint(3, 10)}00ms", "concurrency": rng.randint(1, min(fits, 32))}
        if rng.random() < 0.6:
            spec["arrival"] = {"rate": f"{rng.choice((50, 200, 600))}/s"}
        return ("--force",)  # TIME-WAIT is a limit that a churn may meet
    beyond = rng.random() < 0.12
    count = min(room + rng.randint(1, 40), 2 * _CONNECTIONS_MAX) if beyond else rng.randint(min(20, fits), fits)
    spec["connections"] = count
    opening_s = rng.uniform(0.2, 0.8)
    rate = max(1, int(count / opening_s))
    if kind == "staged":
        spec["arrival"] = {"stages": [{"to": f"{rate}/s", "over": "200ms"}, {"to": f"{2 * rate}/s", "over": "200ms"}]}
    elif rng.random() < 0.7:
        spec["arrival"] = {"rate": f"{rate}/s"}
    spec["hold"] = f"{rng.randint(1, 8)}00ms"
    return ("--force",)
