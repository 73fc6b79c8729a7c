"""An agent's words: why it waits, and what two that cannot talk are told; the rest is in tests/e2e."""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from loadgen.cluster import agent
from loadgen.cluster.agent import AgentSettings, Interrupted
from loadgen.errors import HostError, IncompleteError, UsageError

HERE = AgentSettings("tcp://127.0.0.1:9786", "a", None)


def test_the_first_interrupt_ends_it_and_the_second_ends_its_share() -> None:
    async def main() -> None:
        interrupted = Interrupted()
        once, twice = asyncio.ensure_future(interrupted.once()), asyncio.ensure_future(interrupted.twice())
        interrupted()
        await asyncio.wait((once, twice), return_when=asyncio.FIRST_COMPLETED)
        assert (once.done(), twice.done()) == (True, False)
        interrupted()
        await twice

    asyncio.run(main())


def greeted_by(
    monkeypatch: pytest.MonkeyPatch, *answers: str | Exception
) -> tuple[list[str], Callable[[], Coroutine[Any, Any, str]]]:
    """The lines said, and the search for a coordinator, whose answers come one after the other without a pause."""
    left, said = iter(answers), list[str]()

    async def greeted(*_: object) -> str:
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(agent, "_greeted", greeted)
    monkeypatch.setattr(agent, "_AGAIN_S", 0)
    return said, lambda: agent._local_address(
        HERE, "127.0.0.1", 9786, None, agent._Waiting(said.append, HERE.coordinator)
    )


def test_it_says_once_for_each_reason_why_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 9786)")
    said, look = greeted_by(monkeypatch, refused, refused, OSError(errno.ENETUNREACH, "x"), refused, "", "127.0.0.5")
    assert asyncio.run(look()) == "127.0.0.5"
    where = "waiting for a coordinator at tcp://127.0.0.1:9786"
    assert said == [
        f"{where} (connection refused)",
        f"{where} (network is unreachable)",
        f"{where} (it closes the connection; if it has certificates, add --certs DIR and write tls://)",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "certificate verify failed: unable to get local issuer certificate",
            "as for the coordinator, .* not signed by",
        ),
        ("certificate verify failed: certificate has expired", "as for the coordinator, its certificate has expired"),
        ("wrong version number", "as for the coordinator, it speaks no TLS"),
        ("tlsv1 alert unknown ca", "it does not accept this agent's certificate"),
        ("sslv3 alert certificate expired", "this agent's certificate has expired"),
        ("tlsv13 alert certificate required", "it does not accept this agent's certificate"),
    ],
)
def test_two_that_cannot_talk_are_told_whose_certificate_it_is(
    monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    _, look = greeted_by(monkeypatch, ssl.SSLError(1, text))
    with pytest.raises(HostError, match=words):
        asyncio.run(look())


def test_a_name_that_is_taken_is_told_from_other_failures() -> None:
    taken = RuntimeError("Worker failed to start.")
    taken.__cause__ = ValueError("Unexpected response from register: {'message': 'name taken, a'}")
    assert isinstance(agent._not_joined(HERE, taken), UsageError)
    assert isinstance(agent._not_joined(HERE, RuntimeError("Worker failed to start.")), IncompleteError)


def served_with(monkeypatch: pytest.MonkeyPatch, *outcomes: Exception | None) -> list[str]:
    """The lines of an agent whose coordinators end like this, one after the other: None for one that it serves."""
    left, said = iter(outcomes), list[str]()

    class Served:
        async def finished(self) -> None: ...

    @asynccontextmanager
    async def joined(*_: object) -> AsyncIterator[Served]:
        try:
            outcome = next(left)
        except StopIteration:
            raise HostError("over") from None
        if outcome:
            raise outcome
        yield Served()

    async def local(*_: object) -> str:
        return "127.0.0.1"

    monkeypatch.setattr(agent, "_joined", joined)
    monkeypatch.setattr(agent, "_local_address", local)
    monkeypatch.setattr(agent, "_AGAIN_S", 0)
    with pytest.raises((HostError, UsageError)):
        asyncio.run(agent._serve(HERE, "127.0.0.1", 9786, None, said.append))
    assert next(left, "over") == "over", "it ended before"
    return [line.partition(" coordinator")[0] for line in said]


def test_an_agent_that_was_cut_off_waits_until_its_name_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = agent._NameTakenError("taken")
    joined, gone, waiting = "agent a has joined the", "the", "waiting for a"
    assert served_with(monkeypatch, None, taken, taken, None) == [joined, gone, waiting, joined, gone]


def test_an_agent_that_joins_first_is_told_that_its_name_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert served_with(monkeypatch, agent._NameTakenError("taken")) == []


def test_a_coordinator_that_ends_while_it_is_joined_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = IncompleteError("it answers, and cannot be joined")
    assert served_with(monkeypatch, ended, ended, None) == ["waiting for a", "agent a has joined the", "the"]
