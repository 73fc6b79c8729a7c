"""Scenarios to start from, and the refusal of one that is changed."""

from __future__ import annotations

import pytest

from loadgen.errors import ScenarioError
from loadgen.scenario import parse

SMALLEST = """\
name: small
sources: {addresses: 127.0.0.2}
targets: [{address: "127.0.0.1:9000"}]
connections: 100
"""

EVERYTHING = """\
name: hold-100k
description: a hundred thousand, held
lab:
  topology: loopback
  fallback: host
  sysctls:
    net.ipv4.tcp_tw_reuse: 1
    net.ipv4.ip_local_port_range: 1024 65535
sources:
  addresses: [127.0.0.2-4, 127.0.1.0/30, "::ffff:127.0.0.3"]
  strategy: explicit
  ports: 40000-40099
targets:
  - address: 127.0.0.1:9000
    sink: true
  - address: "[::ffff:127.0.0.1]:9001"
connections: 100_000
arrival: {rate: 20000/s, ramp: 5s}
hold: 1m30s
timeout: 3s
interval: 250ms
close: rst
in_flight: 1024
expect:
  - outcomes.failed == 0
  - errors.connect.EADDRNOTAVAIL <= 1_000
"""

PROBED = """\
name: small
sources: {addresses: 127.0.0.2}
targets: [{address: "127.0.0.1:9000"}]
connections: 10
lab: {}
probes:
"""


def refusal(text: str, *overrides: str) -> ScenarioError:
    with pytest.raises(ScenarioError) as caught:
        parse(text, "s.yaml", overrides)
    assert str(caught.value).isprintable(), "one line"
    assert len(str(caught.value)) < 500
    for word in ("Input should", "pydantic", "validation error", "Value error"):
        assert word not in str(caught.value)
    return caught.value


def with_line(line: str) -> str:
    """The smallest scenario and one more line, which is line 5."""
    return SMALLEST + line + "\n"
