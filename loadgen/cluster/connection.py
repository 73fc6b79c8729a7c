"""The coordinator's side of a cluster: a scheduler of dask.distributed, the agents that joined, and calls to them.

Work is never handed to the scheduler: every call goes to an agent by name, and none is made again elsewhere. No call
hangs: an agent that leaves, is stopped, or is cut off ends each of them by an error of its own. Nothing is printed;
what a user ought to know is passed to `notice`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from loadgen import format as fmt
from loadgen.cluster import calls, logs, security
from loadgen.cluster.extra import require
from loadgen.cluster.messages import LOST_S, AgentFacts
from loadgen.errors import AgentLostError, AgentSilentError, HostError, IncompleteError, LoadgenError, UsageError
from loadgen.format import many

if TYPE_CHECKING:
    from distributed import Client, Security

T = TypeVar("T")
Notice = Callable[[str], None]

#: Where a coordinator listens unless it is told otherwise.
PORT: Final = 9786
#: Round trips of which the shortest tells the difference of two clocks.
ROUNDS: Final = 15
_LOOK_S: Final = 0.1
#: For a scheduler that is there; and for the end of one that is not.
_CONNECT_S: Final = 10.0
_CLOSE_S: Final = 3.0
_NO_FILE: Final = re.compile(r"[^A-Za-z0-9._-]+")

#: Settings of dask.distributed on both sides. What is not in the list stays as the user has it.
SETTINGS: Final[dict[str, object]] = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.worker-ttl": f"{LOST_S:g}s",
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.scheduler.preload": [],
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.worker.preload": [],
    "distributed.worker.profile.enabled": False,
    "distributed.worker.lifetime.duration": None,
    "distributed.client.preload": [],
    # A process that waits has no need of fifty looks a second at itself.
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.comm.timeouts.connect": f"{_CONNECT_S:g}s",
    # The least that it takes: keepalive and TCP_USER_TIMEOUT are made of it.
    "distributed.comm.timeouts.tcp": "11s",
    "distributed.comm.retry.count": 0,
}


@dataclass(frozen=True, slots=True, order=True)
class Agent:
    """An agent by its name, and the address under which the scheduler knows it.

    A worker that was given no name has its address for one.
    """

    name: str
    address: str

    @property
    def file_name(self) -> str:
        """Its name as a directory may have it: letters, digits, dots, hyphens and underscores, 64 at most."""
        return _NO_FILE.sub("-", self.name).strip("-._")[-64:].strip("-._") or "agent"

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class ClockDifference:
    """The clocks of an agent less those of the coordinator, in nanoseconds; each is off by at most error_ns.

    monotonic_ns: of CLOCK_MONOTONIC, which has another beginning on each host. realtime_ns: of CLOCK_REALTIME.
    """

    monotonic_ns: int
    realtime_ns: int
    error_ns: int


class Cluster:
    """The agents that can be reached. Made by `listening` or `of`. address: as agents have to name it."""

    def __init__(self, client: Client, address: str, notice: Notice) -> None:
        self.address = address
        self._client, self._notice = client, notice
        self._gone: dict[str, asyncio.Event] = {}
        self._known: frozenset[str] | None = None
        client.subscribe_topic("all", self._on_event)

    @classmethod
    @asynccontextmanager
    async def listening(
        cls, host: str, port: int, certificates: Path | None, notice: Notice = lambda _: None
    ) -> AsyncIterator[Cluster]:
        """Yield a cluster of the agents that connect to this address.

        host: a literal address of this host, or of all its interfaces. port: 0 for any that is free. certificates:
        the directory for mutual TLS; None for plain TCP, which is for loopback alone.
        Raises: HostError for certificates that will not do or an address that cannot be listened on; UsageError for
        plain TCP beyond loopback.
        """
        require()
        tls, protocol = _secured(host, certificates, notice)
        import dask
        from distributed import Scheduler

        with logs.heard(notice), dask.config.set(SETTINGS):
            scheduler = Scheduler(
                host=f"{protocol}://{_bracketed(host)}",
                port=port,
                protocol=protocol,
                security=tls,
                dashboard=False,
                dashboard_address="127.0.0.1:0",
            )
            try:
                await scheduler
            except (OSError, RuntimeError) as error:
                await _ended(scheduler.close())
                raise HostError(
                    f"cannot listen on {_bracketed(host)}:{port} ({_one_line(_first(error))}); choose another --listen"
                ) from error
            scheduler.http_server.stop()  # it has nothing to serve
            try:
                port = scheduler.listeners[0].get_host_port()[1]
                # Not scheduler.address: that of all interfaces is one of them.
                async with _client(f"{protocol}://{_bracketed(_reached(host))}:{port}", tls) as client:
                    yield cls(client, f"{protocol}://{_announced(host)}:{port}", notice)
            finally:
                await _ended(scheduler.close())
                for listener in scheduler.listeners:  # the end may have failed before it came to them
                    listener.stop()

    @classmethod
    @asynccontextmanager
    async def of(
        cls, address: str, certificates: Path | None, notice: Notice = lambda _: None
    ) -> AsyncIterator[Cluster]:
        """Yield the cluster of a scheduler that runs already; its workers are the agents.

        address: tls://HOST:PORT, or tcp://HOST:PORT on loopback, which takes no certificates.
        Raises: HostError if there is none, or certificates will not do; UsageError for an address that is none.
        """
        require()
        host = split_address(address, secured=certificates is not None)[0]
        tls, _ = _secured(host, certificates, notice)
        import dask

        with logs.heard(notice), dask.config.set(SETTINGS):
            async with _client(address, tls) as client:
                yield cls(client, address, notice)

    async def joined(self, count: int, timeout_s: float, notice: Notice | None = None) -> tuple[Agent, ...]:
        """Wait until that many agents are there, and return all that are, by name; versions are not compared.

        notice: called with a line when one joins. Raises: HostError if fewer come in this time.
        """
        say, deadline_s, before = notice or self._notice, time.monotonic() + timeout_s, -1
        say(f"waiting for {many(count, 'agent')} at {self.address}")
        while True:
            found = await self.present()
            if found and before != len(found) < count:
                say(f"{len(found)} of {count} agents: {_names(found)}")
            before = len(found)
            if before >= count:
                break
            if time.monotonic() > deadline_s:
                raise HostError(
                    f"{before} of {count} agents joined {self.address} within {timeout_s:g} s"
                    f"{f' ({_names(found)})' if found else ''}; start the others: "
                    f"loadgen agent --coordinator {self.address}"
                )
            await asyncio.sleep(_LOOK_S)
        self._known = frozenset(agent.address for agent in found)
        return found

    async def present(self) -> tuple[Agent, ...]:
        """Return the agents that are there now, by name. Raises: IncompleteError if the scheduler is gone."""
        try:
            found = await asyncio.wait_for(self._client.scheduler.identity(n_workers=-1), LOST_S)
        except OSError as error:
            raise IncompleteError(f"the scheduler at {self.address} is gone ({_one_line(error)})") from error
        workers = found["workers"].items()
        return tuple(sorted(Agent(fmt.on_one_line(str(one["name"])), address) for address, one in workers))

    async def agents(self, count: int, timeout_s: float, notice: Notice | None = None) -> tuple[Agent, ...]:
        """Wait until that many agents are there, of the coordinator's own version, and return them by name.

        Those that join later are mentioned, and take no part. More than `count` that are there already all take part.
        Raises: HostError if fewer come in this time, two have one name, or versions differ; AgentLostError.
        """
        found = await self.joined(count, timeout_s, notice)
        names = [agent.file_name for agent in found]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise HostError(f"several agents are called {_listed(twice)}; give each another --name")
        own = calls.versions()["loadgen"]
        for facts in await asyncio.gather(*(self.facts(agent) for agent in found)):
            if facts.versions.get("loadgen") != own:
                raise HostError(
                    f"agent {facts.name} has loadgen {facts.versions.get('loadgen') or '(none)'} and the coordinator "
                    f"{own}; install the same on both"
                )
        return found

    async def call(
        self, agent: Agent, function: Callable[..., Coroutine[Any, Any, T]], *args: object, timeout_s: float
    ) -> T:
        """Have an agent run a function of `loadgen.cluster.calls`, and return what it returns.

        Raises: AgentLostError as soon as the agent is gone; AgentSilentError without an answer in this time; HostError
        if loadgen is not installed there; any LoadgenError that the function raises.
        """
        gone = self._gone.setdefault(agent.address, asyncio.Event())
        if gone.is_set():
            raise AgentLostError(f"agent {agent} is gone")
        answer: asyncio.Future[dict[str, T]] = asyncio.ensure_future(
            self._client.run(function, *args, workers=[agent.address])
        )
        leaves = asyncio.ensure_future(gone.wait())
        try:
            await asyncio.wait((answer, leaves), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return _result(agent, answer)
            if gone.is_set():
                raise AgentLostError(f"agent {agent} is gone")
            raise AgentSilentError(f"agent {agent} has not answered for {timeout_s:g} s: it is stopped, or cut off")
        finally:
            leaves.cancel()
            # Not awaited: its end takes as long as the connection takes to fail.
            answer.add_done_callback(_seen)
            answer.cancel()

    async def facts(self, agent: Agent, timeout_s: float = LOST_S) -> AgentFacts:
        """Return what an agent says of itself. Raises: as `call`; HostError if it is of another version altogether."""
        text = await self.call(agent, calls.facts, timeout_s=timeout_s)
        try:
            return msgspec.json.decode(text, type=AgentFacts)
        except msgspec.MsgspecError as error:
            raise HostError(
                f"agent {agent} has another version of loadgen ({error}); install the same on both"
            ) from None

    async def offset_ns(self, agent: Agent, rounds: int = ROUNDS) -> ClockDifference:
        """Return how far an agent's clocks are from those of this host, by the shortest of several round trips.

        The agent read them between its beginning and its end, so half of it is the largest possible error.
        Raises: as `call`.
        """
        shortest: tuple[int, ClockDifference] | None = None
        for _ in range(rounds):
            realtime_ns, monotonic_ns = time.time_ns(), time.monotonic_ns()
            theirs = await self.call(agent, calls.clock, timeout_s=LOST_S)
            trip_ns = time.monotonic_ns() - monotonic_ns
            if shortest is None or trip_ns < shortest[0]:
                half_ns = (trip_ns + 1) // 2
                difference = ClockDifference(
                    theirs[1] - monotonic_ns - half_ns, theirs[0] - realtime_ns - half_ns, half_ns
                )
                shortest = trip_ns, difference
        assert shortest
        return shortest[1]

    def _on_event(self, event: tuple[float, object]) -> None:
        """Note an agent that comes or goes."""
        match event[1]:
            case {"action": "remove-worker", "worker": str(address)}:
                self._gone.setdefault(address, asyncio.Event()).set()
            case {"action": "add-worker", "worker": str(address)}:
                if self._known is not None and address not in self._known:
                    host = address.partition("://")[2].rpartition(":")[0]
                    self._notice(f"an agent at {host} has joined late, and takes no part in this run")


@asynccontextmanager
async def _client(address: str, tls: Security) -> AsyncIterator[Client]:
    from distributed import Client

    logs.overlook_ends()
    client = Client(address, security=tls, asynchronous=True, set_as_default=False, timeout=f"{_CONNECT_S:g}s")
    try:
        try:
            await client
        except OSError as error:
            raise HostError(
                f"no scheduler answers at {address} ({_one_line(_first(error))}); check address and certificates"
            ) from error
        yield client
    finally:
        await _ended(client.close(timeout=_CLOSE_S))


async def _ended(closing: Coroutine[Any, Any, object]) -> None:
    """Wait for an end, for seconds at most.

    Whatever goes wrong in it is nothing that a user could do something about: it raises RuntimeError, for one, where a
    connection to an agent that is stopped comes to its time limit just then.
    """
    with suppress(Exception, asyncio.CancelledError):
        await asyncio.wait_for(asyncio.ensure_future(closing), 2 * _CLOSE_S)


def _result(agent: Agent, answer: asyncio.Future[dict[str, T]]) -> T:
    try:
        return answer.result()[agent.address]
    except LoadgenError:
        raise
    except ModuleNotFoundError as error:
        raise HostError(f"agent {agent} has no module {error.name}; pip install 'loadgen[cluster]' there") from error
    except AttributeError as error:  # of pickle, for a function that is not there
        raise HostError(f"agent {agent} has another version of loadgen ({error}); install the same on both") from error
    except (OSError, KeyError) as error:
        raise AgentLostError(f"agent {agent} is gone ({_one_line(error)})") from error


def _seen(answer: asyncio.Future[Any]) -> None:
    """Take note of an exception that comes when no call waits for it any more; asyncio would log it."""
    if not answer.cancelled():
        answer.exception()


def split_address(address: str, *, secured: bool) -> tuple[str, int]:
    """Return host and port of tls://HOST:PORT, or without certificates of tcp://HOST:PORT on loopback.

    A HOST that is a name stays one. Raises: UsageError with the remedy.
    """
    protocol, found, rest = address.partition("://")
    host, _, port = rest.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not found or not host or not port.isascii() or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"{address!r} is no address of a coordinator; write tls://HOST:PORT")
    if protocol == "tls" and not secured:
        raise UsageError(f"{address} takes certificates; add --certs DIR")
    if protocol == "tcp" and secured:
        raise UsageError(f"{address} is plain TCP, and --certs is for TLS; write tls://{rest}")
    if protocol not in ("tls", "tcp"):
        raise UsageError(f"{address!r} is neither tls:// nor tcp://; write tls://HOST:PORT")
    if protocol == "tcp":
        require_loopback(host)
    return host, int(port)


def require_loopback(host: str) -> None:
    """Raise UsageError if plain TCP with this host would leave this machine."""
    try:
        on_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        on_loopback = host == "localhost"
    if not on_loopback:
        raise UsageError(
            f"{host} is not loopback, and beyond it a cluster needs certificates: write them by "
            "`loadgen cluster certs`, and add --certs DIR"
        )


def _secured(host: str, certificates: Path | None, notice: Notice) -> tuple[Security, str]:
    """Return what dask.distributed takes for this address, and its name of the protocol."""
    from distributed import Security

    if certificates is None:
        require_loopback(host)
        return Security(require_encryption=False, tls_ca_file=None), "tcp"
    files = security.of_coordinator(certificates)
    for sentence in security.check(files):
        notice(sentence)
    return security.mutual_tls(files), "tls"


def _reached(host: str) -> str:
    """Return an address by which this host reaches itself where it listens on all of them."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _announced(host: str) -> str:
    """Return the host part of the address that agents are given: this host's name where it listens on all addresses."""
    return socket.gethostname() if host in ("0.0.0.0", "::") else _bracketed(host)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _names(agents: Sequence[Agent]) -> str:
    return _listed([agent.name for agent in agents])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _first(error: BaseException) -> BaseException:
    """Return the exception that others were raised from."""
    while error.__cause__:
        error = error.__cause__
    return error


def _one_line(error: BaseException) -> str:
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    text = text.rpartition(">: ")[2]  # behind the connection as dask.distributed describes it
    return " ".join(text.split())[:200] or type(error).__name__
