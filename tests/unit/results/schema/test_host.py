"""The host as far as its file says: older versions knew less of it."""

from __future__ import annotations

from loadgen.model import PortRange
from loadgen.results.schema import files
from loadgen.results.schema.host import Host
from tests import samples


def test_a_host_that_says_nothing_has_what_every_supported_kernel_has() -> None:
    host = files.read(b"{}", Host)
    assert host == Host()
    assert (host.late_bind, host.port_range_option, host.unprivileged_port_start) == (True, True, 1024)
    assert (host.cpus, host.port_range, host.privileged, host.sysctls) == (None, None, None, {})


def test_a_recorded_host() -> None:
    host = samples.host()
    assert (host.kernel, host.cpus, host.port_range) == ("6.18.44", 2, PortRange(40_000, 40_199))
    assert host.sysctls["net.ipv4.tcp_fin_timeout"] == "60"
