"""Addresses of coordinators, and what a failed call to an agent becomes; the rest is in tests/e2e."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from loadgen.cluster import calls
from loadgen.cluster.connection import Agent, Cluster, split_address
from loadgen.errors import AgentLostError, AgentSilentError, HostError, UsageError

A, B = Agent("a", "tls://10.0.0.1:1"), Agent("b", "tls://10.0.0.2:1")


@pytest.mark.parametrize(
    ("address", "secured", "found"),
    [
        ("tls://10.0.0.1:9786", True, ("10.0.0.1", 9786)),
        ("tls://[2001:db8::1]:9786", True, ("2001:db8::1", 9786)),
        ("tls://coordinator:9786", True, ("coordinator", 9786)),
        ("tcp://127.0.0.1:1", False, ("127.0.0.1", 1)),
        ("tcp://[::1]:1", False, ("::1", 1)),
        ("tcp://localhost:1", False, ("localhost", 1)),
    ],
)
def test_addresses(address: str, secured: bool, found: tuple[str, int]) -> None:
    assert split_address(address, secured=secured) == found


@pytest.mark.parametrize(
    ("address", "secured", "words"),
    [
        ("10.0.0.1:9786", True, "write tls://HOST:PORT"),
        ("tls://10.0.0.1", True, "write tls://HOST:PORT"),
        ("tls://10.0.0.1:0", True, "write tls://HOST:PORT"),
        ("tls://10.0.0.1:70000", True, "write tls://HOST:PORT"),
        ("ucx://10.0.0.1:1", True, "neither tls:// nor tcp://"),
        ("tls://10.0.0.1:1", False, "add --certs DIR"),
        ("tcp://10.0.0.1:1", True, "write tls://10.0.0.1:1"),
        ("tcp://10.0.0.1:1", False, "beyond it a cluster needs certificates"),
        ("tcp://coordinator:1", False, "beyond it a cluster needs certificates"),
    ],
)
def test_addresses_that_are_none(address: str, secured: bool, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        split_address(address, secured=secured)


class FakeScheduler:
    def __init__(self, client: FakeClient) -> None:
        self.client = client

    async def identity(self, n_workers: int) -> dict[str, Any]:
        assert n_workers == -1
        return {"workers": {address: {"name": name} for name, address in self.client.there}}


class FakeClient:
    """A client of dask.distributed, as far as `Cluster` uses it. answer: of each call."""

    def __init__(self, answer: Callable[..., Coroutine[Any, Any, Any]] | None = None) -> None:
        self.there: list[tuple[str, str]] = []
        self.scheduler = FakeScheduler(self)
        self.answer = answer
        self.tell: Callable[[Any], None] = lambda _: None

    def subscribe_topic(self, topic: str, handler: Callable[[Any], None]) -> None:
        assert topic == "all"
        self.tell = handler

    async def run(self, function: Callable[..., Any], *args: object, workers: list[str]) -> dict[str, Any]:
        assert self.answer
        return {workers[0]: await self.answer(function, *args)}


async def never(*_: object) -> None:
    await asyncio.Event().wait()


def test_an_agent_that_answers() -> None:
    async def answer(function: Callable[..., Any], *args: object) -> object:
        return function, args

    async def main() -> None:
        cluster = Cluster(FakeClient(answer), "tls://h:1", lambda _: None)
        found: object = await cluster.call(A, calls.poll, "r", 3, timeout_s=5)
        assert found == (calls.poll, ("r", 3))

    asyncio.run(main())


def test_an_agent_that_does_not_answer_is_silent() -> None:
    async def main() -> None:
        cluster = Cluster(FakeClient(never), "tls://h:1", lambda _: None)
        for _ in range(2):  # it is not given up: the second call waits as well
            with pytest.raises(AgentSilentError, match=r"agent a has not answered for 0\.01 s"):
                await cluster.call(A, calls.clock, timeout_s=0.01)

    asyncio.run(main())


def test_an_agent_that_leaves_ends_its_calls_and_no_others() -> None:
    async def main() -> None:
        client = FakeClient(never)
        cluster = Cluster(client, "tls://h:1", lambda _: None)
        loop = asyncio.get_running_loop()
        loop.call_soon(client.tell, (0.0, {"action": "remove-worker", "worker": A.address}))
        with pytest.raises(AgentLostError, match="agent a is gone"):
            await cluster.call(A, calls.clock, timeout_s=60)
        with pytest.raises(AgentLostError, match="agent a is gone"):
            await cluster.call(A, calls.clock, timeout_s=60)
        with pytest.raises(AgentSilentError, match="agent b has not answered"):
            await cluster.call(B, calls.clock, timeout_s=0.01)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (OSError("Timed out trying to connect"), AgentLostError, "agent a is gone .Timed out"),
        (ModuleNotFoundError("No module", name="loadgen"), HostError, "has no module loadgen; pip install"),
        (AttributeError("no attribute 'poll'"), HostError, "has another version of loadgen"),
        (HostError("a share of another run"), HostError, "^a share of another run$"),
    ],
)
def test_what_a_failed_call_becomes(error: Exception, kind: type[Exception], words: str) -> None:
    async def fail(*_: object) -> None:
        raise error

    async def main() -> None:
        cluster = Cluster(FakeClient(fail), "tls://h:1", lambda _: None)
        with pytest.raises(kind, match=words):
            await cluster.call(A, calls.clock, timeout_s=60)

    asyncio.run(main())


def test_the_clock_is_that_of_the_shortest_round_trip() -> None:
    """Monotonic clocks differ by 5 s here; of ten round trips nine are slower than the one that counts."""
    trips_s = iter([0.02] * 5 + [0.0] + [0.02] * 4)

    async def answer(*_: object) -> tuple[int, int]:
        trip_s = next(trips_s)
        await asyncio.sleep(trip_s)
        realtime_ns, monotonic_ns = await calls.clock()
        return realtime_ns, monotonic_ns + 5_000_000_000

    async def main() -> None:
        cluster = Cluster(FakeClient(answer), "tls://h:1", lambda _: None)
        found = await cluster.offset_ns(A, rounds=10)
        assert found.error_ns < 10_000_000
        assert abs(found.monotonic_ns - 5_000_000_000) <= found.error_ns
        assert abs(found.realtime_ns) <= found.error_ns + 1_000_000

    asyncio.run(main())


@pytest.mark.parametrize(
    ("name", "file_name"),
    [
        ("a.b-c_1", "a.b-c_1"),
        ("tcp://10.0.0.1:4", "tcp-10.0.0.1-4"),
        ("../../x", "x"),
        ("..", "agent"),
        ("\n", "agent"),
    ],
)
def test_a_name_as_a_directory_may_have_it(name: str, file_name: str) -> None:
    assert Agent(name, "").file_name == file_name


async def facts_of(version: str) -> bytes:
    facts = msgspec.json.decode(await calls.facts())
    facts["versions"]["loadgen"] = version
    return msgspec.json.encode(facts)


def test_agents_are_waited_for_and_come_by_name() -> None:
    said: list[str] = []

    async def answer(*_: object) -> bytes:
        return await calls.facts()

    async def main() -> None:
        client = FakeClient(answer)
        cluster = Cluster(client, "tls://h:1", said.append)
        client.there = [(B.name, B.address)]
        asyncio.get_running_loop().call_later(0.05, client.there.append, (A.name, A.address))
        assert await cluster.agents(2, 30) == (A, B)
        client.tell((0.0, {"action": "add-worker", "worker": B.address}))
        client.tell((0.0, {"action": "add-worker", "worker": "tls://10.0.0.3:1"}))
        assert said == [
            "waiting for 2 agents at tls://h:1",
            "1 of 2 agents: b",
            "an agent at 10.0.0.3 has joined late, and takes no part in this run",
        ]

    asyncio.run(main())


def test_too_few_agents_are_named() -> None:
    async def main() -> None:
        client = FakeClient()
        client.there = [(A.name, A.address)]
        cluster = Cluster(client, "tls://h:1", lambda _: None)
        with pytest.raises(HostError, match=r"1 of 2 agents joined tls://h:1 within 0 s \(a\); start the others: "):
            await cluster.agents(2, 0)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("there", "version", "words"),
    [
        ([A, B], "0.0.1", r"has loadgen 0\.0\.1 and the coordinator "),
        ([A, Agent("a", B.address)], "", "several agents are called a; give each another --name"),
    ],
)
def test_agents_that_do_not_go_together(there: list[Agent], version: str, words: str) -> None:
    async def answer(*_: object) -> bytes:
        return await facts_of(version)

    async def main() -> None:
        client = FakeClient(answer)
        client.there = [(agent.name, agent.address) for agent in there]
        cluster = Cluster(client, "tls://h:1", lambda _: None)
        with pytest.raises(HostError, match=words):
            await cluster.agents(2, 0)

    asyncio.run(main())
