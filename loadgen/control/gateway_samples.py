"""The gateway of a nat lab as a `SampledNamespace`: its connection tracking, read through descriptors.

No process lives in it, so it has no /proc/<pid>/net.
"""

from __future__ import annotations

from loadgen.kernel import snmp
from loadgen.lab.namespace_fds import NamespaceFds
from loadgen.results.schema.line import SinkKernelLine


class GatewayNamespace:
    """Counters are relative to the creation of this object.

    Raises: OSError, ValueError where the counters cannot be read.
    """

    def __init__(self, fds: NamespaceFds) -> None:
        self._fds = fds
        self._before = fds.tracking_counters()

    def now(self) -> SinkKernelLine:
        """Return the gauges and the increase of the counters."""
        gauges = {f"conntrack.{name}": value for name, value in self._fds.conntrack().items()}
        grown = snmp.delta(self._before, self._fds.tracking_counters())
        return SinkKernelLine(now=gauges, delta={f"conntrack.{name}": value for name, value in grown.items()})

    def close(self) -> None:
        """Release the namespace."""
        self._fds.close()
