"""host.json: the machine and the namespace a run was made on, as far as its file says."""

from __future__ import annotations

from collections.abc import Mapping

from loadgen.kernel.host import HostFacts
from loadgen.kernel.missing import Missing
from loadgen.model import PortRange
from loadgen.results.schema.values import Shape


class Host(Shape, frozen=True, kw_only=True):
    """The facts that `loadgen.kernel.host` read before the run. None or empty: the file does not say."""

    started_at: str | None = None
    """when the run directory was made, UTC"""
    kernel: str = ""
    """its release"""
    machine: str = ""
    """the architecture"""
    cpu_model: str = ""
    cpus: int | None = None
    """processors that the run could use"""
    memory_available_bytes: int | None = None
    descriptors: int | None = None
    """hard limit of open files of a process"""
    files_free: int | None = None
    """descriptors left of fs.file-max"""
    port_range: PortRange | None = None
    """net.ipv4.ip_local_port_range"""
    reserved_ports: tuple[int, ...] = ()
    unprivileged_port_start: int = 1024
    privileged: bool | None = None
    """root"""
    listeners: tuple[int, ...] = ()
    """TCP ports with a listener"""
    datagram_ports: tuple[int, ...] = ()
    """UDP ports with a socket; only where the run is over UDP"""
    missing_sources: tuple[str, ...] = ()
    """source addresses that cannot be used, the first 100"""
    missing_because: tuple[Missing, ...] = ()
    """why, for each of them; not in files of loadgen 0.1.0"""
    missing_count: int | None = None
    """the number of all of them; not in files of loadgen 0.1.0"""
    default_sources: tuple[str, ...] = ()
    """for each target, the source address that connect() alone takes"""
    late_bind: bool = True
    """the kernel has IP_BIND_ADDRESS_NO_PORT"""
    port_range_option: bool = True
    """the kernel has IP_LOCAL_PORT_RANGE"""
    no_io_uring: str = ""
    """why io_uring cannot be used; empty where it can, or where the run did not ask"""
    tracks_connections: bool | None = None
    """connections were tracked (netfilter); null: not known"""
    tracking_counters: bool = False
    """the kernel shows what the table of connection tracking dropped"""
    next_hops: tuple[str, ...] = ()
    """for each target, the neighbour that packets to it go to, itself or a gateway; "" for none"""
    sources_on_link: bool = False
    """loadgen's own sinks are on one link with the sources (`topology: segment`)"""
    sysctls: Mapping[str, str] = {}
    """settings of the run's namespace by name"""
    python: str = ""
    loadgen: str = ""
    libraries: Mapping[str, str] = {}
    """versions"""
    clock_resolution_ns: int | None = None

    def facts(self, ports: PortRange) -> HostFacts:
        """Return the facts that plans are made from; a fact that the file does not say limits no plan.

        ports: the range to assume where the file has none.
        """
        return HostFacts(
            kernel=self.kernel,
            machine=self.machine,
            cpus=self.cpus or 1,
            memory_available_bytes=self.memory_available_bytes or 0,
            descriptors=self.descriptors or 0,
            files_free=self.files_free or 0,
            port_range=self.port_range or ports,
            reserved_ports=self.reserved_ports,
            unprivileged_port_start=self.unprivileged_port_start,
            privileged=bool(self.privileged),
            listeners=self.listeners,
            missing_sources=self.missing_sources,
            default_sources=self.default_sources,
            late_bind=self.late_bind,
            port_range_option=self.port_range_option,
            sysctls=dict(self.sysctls),
            datagram_ports=self.datagram_ports,
            tracks_connections=self.tracks_connections,
            tracking_counters=self.tracking_counters,
            missing_because=self.missing_because,
            next_hops=self.next_hops,
            sources_on_link=self.sources_on_link,
            missing_count=len(self.missing_sources) if self.missing_count is None else self.missing_count,
        )
