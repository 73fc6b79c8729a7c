"""An agent: a worker of dask.distributed in this process, which conducts the shares that a coordinator asks for.

It looks for the coordinator by a connection of its own first. dask.distributed would try for ever without a word, also
where certificates keep the two from ever talking. Once they have, it serves until the coordinator goes away, and then
waits for the next one.
"""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from loadgen.cluster import calls, logs, security
from loadgen.cluster.connection import SETTINGS, split_address
from loadgen.cluster.extra import require
from loadgen.errors import HostError, IncompleteError, InterruptedRunError, UsageError

if TYPE_CHECKING:
    from distributed import Security, Worker

Say = Callable[[str], None]

#: Between two looks for a coordinator that is not there.
_AGAIN_S: Final = 1.0
#: For a connection, and for the first bytes on it.
_ANSWER_S: Final = 5.0
#: For the worker to join a coordinator that answers.
_JOIN_S: Final = 30.0
_LEAVE_S: Final = 5.0
#: For a share to close its connections and write its results after Ctrl-C.
_GRACE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """The command line of an agent.

    certificates: None on loopback alone. once: end with the first coordinator. port: to listen on, 0 for any.
    """

    coordinator: str
    name: str
    certificates: security.Credentials | None
    once: bool = False
    port: int = 0


class Interrupted:
    """Ctrl-C of an agent: once ends it, with the share in good order; twice kills the share at once."""

    def __init__(self) -> None:
        self._once, self._twice = asyncio.Event(), asyncio.Event()

    def __call__(self) -> None:
        """Note a signal."""
        (self._twice if self._once.is_set() else self._once).set()

    async def once(self) -> None:
        """Wait for the first."""
        await self._once.wait()

    async def twice(self) -> None:
        """Wait for the second."""
        await self._twice.wait()


class _NameTakenError(UsageError):
    """The coordinator has an agent of this name."""


@dataclass
class _Waiting:
    """Lines about a coordinator that does not answer, each reason once."""

    say: Say
    where: str
    said: set[str] = field(default_factory=set)

    def because(self, reason: str) -> None:
        if reason not in self.said:
            self.said.add(reason)
            self.say(f"waiting for a coordinator at {self.where} ({reason})")


async def serve(settings: AgentSettings, say: Say, interrupted: Interrupted) -> None:
    """Serve one coordinator after the other, until an interrupt.

    say: called with each line for the user. Returns when the coordinator has gone, if it is to end then.
    Raises: InterruptedRunError; HostError for certificates that one of the two does not accept; UsageError for an
    address that is none, or a name that another agent has.
    """
    require()
    host, port = split_address(settings.coordinator, secured=settings.certificates is not None)
    tls = security.mutual_tls(settings.certificates) if settings.certificates else None
    import dask
    import distributed  # noqa: F401 (its loggers are set up by its import, before they are taken over)

    logs.overlook_ends()
    with logs.heard(lambda _: None), dask.config.set(SETTINGS):
        serving = asyncio.ensure_future(_serve(settings, host, port, tls, say))
        stopping = asyncio.ensure_future(interrupted.once())
        try:
            await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
            if stopping.done() and not serving.done():
                raise InterruptedRunError("interrupted")
            serving.result()
        finally:
            stopping.cancel()
            await _share_ended(interrupted)
            serving.cancel()
            await asyncio.wait((serving,), timeout=2 * _LEAVE_S)


async def _share_ended(interrupted: Interrupted) -> None:
    """End a share in good order, or at a second interrupt at once."""
    closing = asyncio.ensure_future(calls.close(_GRACE_S))
    again = asyncio.ensure_future(interrupted.twice())
    await asyncio.wait((closing, again), return_when=asyncio.FIRST_COMPLETED)
    again.cancel()
    if not closing.done():
        closing.cancel()
        await calls.close(0)


async def _serve(settings: AgentSettings, host: str, port: int, tls: Security | None, say: Say) -> None:
    waiting, served = _Waiting(say, settings.coordinator), False
    while True:
        local = await _local_address(settings, host, port, tls, waiting)
        try:
            async with _joined(settings, local, tls) as worker:
                say(f"agent {settings.name} has joined the coordinator at {settings.coordinator}")
                await worker.finished()
        except _NameTakenError as error:
            # A coordinator that this agent was cut off from may not have noticed yet.
            if not served:
                raise
            waiting.because(str(error))
        except IncompleteError as error:  # it has ended just then, most likely
            waiting.because(str(error))
        else:
            say(f"the coordinator at {settings.coordinator} has gone")
            if settings.once:
                return
            waiting, served = _Waiting(say, settings.coordinator), True
            continue
        await asyncio.sleep(_AGAIN_S)


@asynccontextmanager
async def _joined(settings: AgentSettings, local: str, tls: Security | None) -> AsyncIterator[Worker]:
    """Yield a worker that the coordinator knows.

    Raises: _NameTakenError; UsageError for a port in use; IncompleteError if the two do not get together.
    """
    from distributed import Security, Worker

    with TemporaryDirectory(prefix="loadgen-agent-", ignore_cleanup_errors=True) as scratch:
        worker = Worker(
            settings.coordinator,
            nthreads=1,
            name=settings.name,
            security=tls or Security(require_encryption=False, tls_ca_file=None),
            host=f"{'tls' if tls else 'tcp'}://{f'[{local}]' if ':' in local else local}",
            port=settings.port,
            memory_limit=0,
            dashboard=False,
            dashboard_address="127.0.0.1:0",
            local_directory=scratch,
            death_timeout=_JOIN_S,
        )
        try:
            try:
                await worker
            except (OSError, ValueError, RuntimeError) as error:
                raise _not_joined(settings, error) from error
            worker.http_server.stop()  # it has nothing to serve
            yield worker
        finally:
            with suppress(OSError):
                await asyncio.wait_for(worker.close(timeout=_LEAVE_S, nanny=False), 2 * _LEAVE_S)


def _not_joined(settings: AgentSettings, error: BaseException) -> UsageError | IncompleteError:
    texts = " ".join(str(each) for each in (error, error.__cause__, error.__context__) if each)
    cause = error.__cause__
    if isinstance(cause, OSError) and cause.errno == errno.EADDRINUSE:
        return UsageError(f"port {settings.port} of this host is in use; give the agent another --port")
    if "name taken" in texts:
        return _NameTakenError(f"the coordinator has an agent of the name {settings.name} already; give another --name")
    return IncompleteError(f"it answers, and cannot be joined: {' '.join(texts.split())[:200]}")


async def _local_address(settings: AgentSettings, host: str, port: int, tls: Security | None, waiting: _Waiting) -> str:
    """Wait until a coordinator answers; return this host's address towards it.

    Raises: HostError if one of the two does not accept the other's certificate.
    """
    context = tls.get_connection_args("worker")["ssl_context"] if tls else None
    hint = "" if context else "; if it has certificates, add --certs DIR and write tls://"
    while True:
        try:
            found = await asyncio.wait_for(_greeted(host, port, context), _ANSWER_S)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError):  # it ended just then
            waiting.because("it closes the connection")
        except ssl.SSLError as error:
            raise HostError(
                f"the coordinator at {settings.coordinator} and this agent cannot talk: {_why(error)}"
            ) from error
        except TimeoutError:
            waiting.because(f"it says nothing{hint}")
        except OSError as error:
            waiting.because(os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error))
        else:
            if found:
                return found
            waiting.because(f"it closes the connection{hint}")
        await asyncio.sleep(_AGAIN_S)


async def _greeted(host: str, port: int, context: ssl.SSLContext | None) -> str:
    """Connect and read the first byte, which the other side sends; return the local address, "" if it sends none.

    With TLS 1.3 a refused certificate shows here and not before. Raises: OSError, ssl.SSLError.
    """
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        first = await reader.read(1)
        return str(writer.get_extra_info("sockname")[0]) if first else ""
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def _why(error: ssl.SSLError) -> str:
    """Return the reason of a handshake that failed: an alert is about this agent, all else about the coordinator."""
    text = str(error).lower()
    if "alert" not in text:
        return f"as for the coordinator, {logs.reason(text)}"
    if "expired" in text:
        return "this agent's certificate has expired; issue another by `loadgen cluster certs`"
    return "it does not accept this agent's certificate; both sides need certificates of one `loadgen cluster certs`"
