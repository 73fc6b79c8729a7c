"""The gateway's counters grow from the moment at which sampling begins."""

from __future__ import annotations

from typing import Any, cast

from loadgen.control.gateway_samples import GatewayNamespace
from loadgen.lab.namespace_fds import NamespaceFds
from loadgen.results.schema.line import SinkKernelLine


class Fds:
    """A table of 100 entries, and counters that a test moves."""

    def __init__(self) -> None:
        self.counters = {"drop": 5, "found": 7}
        self.closed = False

    def conntrack(self) -> dict[str, int]:
        return {"count": 100, "max": 262_144}

    def tracking_counters(self) -> dict[str, int]:
        return dict(self.counters)

    def close(self) -> None:
        self.closed = True


def test_what_was_counted_before_is_left_out() -> None:
    fds = Fds()
    gateway = GatewayNamespace(cast(NamespaceFds, fds))
    gauges = {"conntrack.count": 100, "conntrack.max": 262_144}
    assert gateway.now() == SinkKernelLine(now=gauges, delta={})
    fds.counters = {"drop": 8, "found": 7}
    changes: dict[str, Any] = {"conntrack.drop": 3}
    assert gateway.now() == SinkKernelLine(now=gauges, delta=changes)
    gateway.close()
    assert fds.closed
