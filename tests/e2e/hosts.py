"""Several hosts on one machine: network namespaces, joined by a bridge in one more, and loadgen on each of them.

Nothing of it is in the namespace of the tests. It is made with pyroute2, which loadgen needs anyway, and lasts as long
as the process that made it. A cable is cut at the bridge: its end there is taken out of the bridge and stays up, so
that every packet is dropped and neither side is told, as by a firewall in between.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from loadgen.cluster import certificates

from .conftest import CHECKOUT, PATIENCE_S, Loadgen, Process, Running, environment, lines_of, wait_until

#: The port of every coordinator.
PORT: Final = 9786
_NETWORK: Final = "10.77.0"
#: Makes the namespaces, says how they are reached, and then obeys one line after the other, each answered by a line.
_SWITCH: Final = f"""
import os, sys
from loadgen.lab import namespace
namespace.enter({{}})
from pyroute2 import IPRoute
def own():
    return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
switch_fd, switch, ports = own(), IPRoute(), []
switch.link("add", kind="bridge", ifname="switch")
(bridge,) = switch.link_lookup(ifname="switch")
switch.link("set", index=bridge, state="up")
for number in range(1, int(sys.argv[1]) + 1):
    namespace.enter({{}})
    with IPRoute() as host:
        host.link("add", kind="veth", ifname="eth0", peer={{"ifname": f"port{{number}}", "net_ns_fd": switch_fd}})
        (index,) = host.link_lookup(ifname="eth0")
        host.addr("add", index=index, address=f"{_NETWORK}.{{number}}", prefixlen=24)
        host.link("set", index=index, state="up")
    (port,) = switch.link_lookup(ifname=f"port{{number}}")
    switch.link("set", index=port, master=bridge, state="up")
    ports.append(port)
    print(own(), flush=True)
for line in sys.stdin:
    verb, number = line.split()
    switch.link("set", index=ports[int(number)], master={{"cut": 0, "join": bridge}}[verb])
    print(verb, flush=True)
"""
#: Becomes argv[3:] in the network namespace argv[2] of process argv[1], and in its user namespace if that is another.
_ENTER: Final = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
home, net = f"/proc/{sys.argv[1]}", os.open(f"/proc/{sys.argv[1]}/fd/{sys.argv[2]}", os.O_RDONLY)
spaces = [net]
if os.stat(f"{home}/ns/user").st_ino != os.stat("/proc/self/ns/user").st_ino:
    spaces.insert(0, os.open(f"{home}/ns/user", os.O_RDONLY))
for fd in spaces:
    if libc.setns(fd, 0):
        sys.exit(f"setns: {os.strerror(ctypes.get_errno())}")
    os.close(fd)
os.execvp(sys.argv[3], sys.argv[3:])
"""


@dataclass
class Host:
    """A host: its address, and loadgen at home in a directory of its own. enter: a prefix for commands on it."""

    name: str
    address: str
    number: int
    enter: tuple[str, ...]
    loadgen: Loadgen
    network: Network

    def start(self, *args: str | Path, prefix: Sequence[str] = ()) -> Running:
        """Start a command of loadgen on this host. prefix: comes after `enter`."""
        return self.loadgen.start(*args, prefix=(*self.enter, *prefix))

    def agent(self, *args: str, coordinator: Host | None = None, prefix: Sequence[str] = ()) -> Running:
        """Start an agent with the name of the host. coordinator: the first host unless told otherwise."""
        at = f"tls://{(coordinator or self.network.hosts[0]).address}:{PORT}"
        command = ["agent", "--coordinator", at, "--name", self.name, "--certs", str(self.network.certs), *args]
        return self.start(*command, prefix=prefix)

    def coordinate(self, scenario: Path, agents: int, *args: str, prefix: Sequence[str] = ()) -> Running:
        """Start a run of so many agents, with the coordinator here and the summary on stdout."""
        listen = ["--listen", f"{self.address}:{PORT}", "--certs", str(self.network.certs), "--wait", "40s"]
        return self.start("run", scenario, "--agents", str(agents), *listen, "--json", *args, prefix=prefix)

    def cut(self) -> None:
        """Drop every packet from and to this host."""
        self.network.tell("cut", self.number)

    def join(self) -> None:
        """Forward packets again."""
        self.network.tell("join", self.number)

    def processes(self) -> list[Process]:
        """Every process that loadgen has on this host: they all are at home there, whoever their parent is now."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    at = os.readlink(entry / "cwd")
                    if at == str(self.loadgen.home):
                        found.append(Process.of(int(entry.name)))
                except (OSError, AssertionError):  # it has ended, or is a zombie
                    continue
        return found

    def share(self) -> list[Process]:
        """The processes of the share that runs here: what is here beside the agent and the coordinator."""
        own = {running.popen.pid for running in self.loadgen.started}
        return [process for process in self.processes() if process.pid not in own]

    def conductor(self) -> Process:
        """The first process of the share."""
        return wait_until(
            lambda: next((each for each in self.share() if "loadgen.cluster.share" in each.command), None), "share"
        )

    def until_no_share(self, timeout_s: float = PATIENCE_S) -> None:
        """Wait until nothing of a share runs here."""
        wait_until(lambda: not self.share(), f"end of {self.share()} on {self.name}", timeout_s)

    @property
    def run(self) -> Path:
        """The run directory of the only share or run that was made here."""
        (only,) = (self.loadgen.home / "results").iterdir()
        return only

    @property
    def series(self) -> list[dict[str, Any]]:
        """The lines of numbers of that."""
        return lines_of(self.run / "series.jsonl")

    @property
    def events(self) -> list[dict[str, Any]]:
        """The lines of words of that."""
        return lines_of(self.run / "events.jsonl")


class Network:
    """Hosts with cables to one switch. The first is meant for the coordinator and is called "coordinator"."""

    def __init__(self, home: Path, switch: subprocess.Popen[bytes], count: int) -> None:
        assert switch.stdin
        assert switch.stdout
        self._stdin: IO[bytes] = switch.stdin
        self._stdout: IO[bytes] = switch.stdout
        names = ["coordinator", *(chr(ord("a") + number) for number in range(count - 1))]
        self.hosts: list[Host] = []
        for number, name in enumerate(names):
            fd = self._stdout.readline().decode().strip()
            assert fd, "the namespaces of the hosts could not be made"
            enter = (sys.executable, "-c", _ENTER, str(switch.pid), fd)
            (home / name).mkdir()
            self.hosts.append(Host(name, f"{_NETWORK}.{number + 1}", number, enter, Loadgen(home / name), self))
        self.certs = home / "certs"
        certificates.write(self.certs, [host.name for host in self.agents])

    @property
    def agents(self) -> list[Host]:
        """All but the first."""
        return self.hosts[1:]

    def tell(self, verb: str, number: int) -> None:
        """Have the switch do something."""
        self._stdin.write(f"{verb} {number}\n".encode())
        self._stdin.flush()
        assert self._stdout.readline().decode().strip() == verb

    def close(self) -> None:
        """End every process of every host, stopped ones too."""
        for host in self.hosts:
            for process in host.processes():
                try:
                    os.kill(process.pid, signal.SIGKILL)
                except ProcessLookupError:  # it has ended by itself
                    continue
            host.loadgen.close()
        wait_until(lambda: not any(host.processes() for host in self.hosts), "end of every process", 10)


@contextmanager
def network(home: Path, count: int) -> Iterator[Network]:
    """Lay cables between so many hosts, the coordinator's among them, until the end of the block."""
    with subprocess.Popen(
        [sys.executable, "-c", _SWITCH, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=CHECKOUT,
        env=environment(),
    ) as switch:
        made = Network(home, switch, count)
        try:
            yield made
        finally:
            made.close()
            assert switch.stdin
            switch.stdin.close()
