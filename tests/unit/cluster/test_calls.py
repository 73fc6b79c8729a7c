"""What an agent keeps of a share: its reports until they are acknowledged, its permissions, its end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadgen.cluster import calls
from loadgen.cluster.calls import AgentPermissions
from loadgen.cluster.messages import AgentFacts, Ended, Interrupt, News, Portion, Prepare
from loadgen.errors import HostError, UsageError

PREPARE = Prepare(
    scenario="name: x",
    origin="x.yaml",
    settings=(),
    portion=Portion(name="a"),
    results="/etc",
    allow=("10.0.0.0/8",),
    authorized=True,
    port_blocking=True,
)
ORDER = msgspec.json.encode(PREPARE)
#: A share that repeats each order on stderr of its own, and reports: `began` for the first, `ended` for an interrupt.
ECHO = """
import json, os, sys
first = json.loads(sys.stdin.readline())
os.makedirs(first["results"] + "/run", exist_ok=True)
path = first["results"] + "/run"
open(path + "/order.json", "w").write(json.dumps(first))
print(json.dumps({"report": "ready", "path": path}), flush=True)
print("no report", flush=True)
print("a complaint", file=sys.stderr, flush=True)
for line in sys.stdin:
    order = json.loads(line)["do"]
    if order == "continue":
        print(json.dumps({"report": "began", "due_ns": 1, "begun_ns": 2}), flush=True)
    if order == "interrupt":
        print(json.dumps({"report": "ended", "exit_code": 0, "path": path}), flush=True)
        break
"""
CRASH = "import sys; sys.stdin.readline(); sys.exit('no such file\\nreally')"


@pytest.fixture(autouse=True)
def _own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "_permissions", AgentPermissions(("10.1.0.0/16",), results=str(tmp_path)))
    monkeypatch.setattr(calls, "_share", None)


@pytest.fixture
def share(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def becomes(code: str) -> None:
        monkeypatch.setattr(calls, "_SHARE", (sys.executable, "-c", code))

    return becomes


def in_a_loop(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        try:
            await main()
        finally:
            await calls.close(5)

    asyncio.run(whole())


async def news_until(run: str, holds: Callable[[News], bool], received: int = 0) -> News:
    """The first news of which `holds` is true."""
    async with asyncio.timeout(30):
        while not holds(news := msgspec.json.decode(await calls.poll(run, received), type=News)):
            await asyncio.sleep(0.01)
    return news


def kinds(news: News) -> list[str]:
    return [msgspec.json.decode(report)["report"] for report in news.reports]


def test_the_agents_permissions_stand_in_place_of_those_that_came() -> None:
    own = AgentPermissions(("10.1.0.0/16",), sources=("10.1.0.7",), results="/srv")
    applied = own.applied_to(PREPARE)
    assert (applied.allow, applied.authorized, applied.port_blocking) == (("10.1.0.0/16",), False, False)
    assert applied.results == "/srv"
    assert applied.portion.sources == ["10.1.0.7"]
    assert applied.scenario == PREPARE.scenario


def test_sources_that_the_coordinator_names_stand() -> None:
    named = msgspec.structs.replace(PREPARE, portion=Portion(name="a", sources="127.0.1.1"))
    assert AgentPermissions(sources=("10.1.0.7",)).applied_to(named).portion.sources == "127.0.1.1"


def test_a_plain_worker_has_the_permissions_of_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "_permissions", None)
    assert AgentPermissions.of_environment({}) == AgentPermissions()
    environment = {"LOADGEN_ALLOW": "10.1.0.0/16, ,10.2.0.0/16", "LOADGEN_I_AM_AUTHORIZED": "1", "LOADGEN_SOURCES": "e"}
    assert AgentPermissions.of_environment(environment) == AgentPermissions(
        ("10.1.0.0/16", "10.2.0.0/16"), True, sources=("e",)
    )
    monkeypatch.setenv("LOADGEN_ALLOW", "10.3.0.0/16")
    assert calls.permitted().allow == ("10.3.0.0/16",)


def test_an_agent_describes_itself() -> None:
    class Worker:
        name = "a"

    found = msgspec.json.decode(asyncio.run(calls.facts(Worker())), type=AgentFacts)
    assert (found.name, found.pid, found.allow) == ("a", os.getpid(), ("10.1.0.0/16",))
    assert set(found.versions) == {"loadgen", "python", "distributed", "kernel"}
    realtime_ns, monotonic_ns = asyncio.run(calls.clock())
    assert realtime_ns >= found.now_ns
    assert monotonic_ns >= found.monotonic_ns


def test_reports_stay_until_they_are_acknowledged(share: Callable[[str], None]) -> None:
    share(ECHO)

    async def main() -> None:
        await calls.begin("r", ORDER)
        first = await news_until("r", lambda news: len(news.reports) >= 2)
        again = await news_until("r", bool)
        assert kinds(again)[:2] == kinds(first)[:2] == ["ready", "began"]
        later = await news_until("r", lambda news: bool(news.reports), received=1)
        assert kinds(later)[0] == "began"
        assert later.running
        await calls.order("r", msgspec.json.encode(Interrupt()))
        last = await news_until("r", lambda news: not news.running, received=1)
        assert kinds(last)[-1] == "ended"

    in_a_loop(main)


def test_a_call_waits_for_a_report_but_not_for_long(share: Callable[[str], None]) -> None:
    share("""import sys; sys.stdin.readline(); print('{"report": "opened"}', flush=True); sys.stdin.read()""")

    async def main() -> None:
        await calls.begin("r", ORDER)
        first = msgspec.json.decode(await calls.poll("r", 0, 60), type=News)
        assert kinds(first) == ["opened"]
        none = msgspec.json.decode(await calls.poll("r", 1, 0.01), type=News)
        assert not none.reports
        assert none.running
        await calls.done("r")

    in_a_loop(main)


def test_an_order_is_carried_out_under_the_agents_own_permissions(share: Callable[[str], None], tmp_path: Path) -> None:
    share(ECHO)

    async def main() -> None:
        await calls.begin("r", ORDER)
        await calls.order("r", msgspec.json.encode(Interrupt()))
        await news_until("r", lambda news: not news.running)
        await calls.done("r")
        with pytest.raises(HostError, match="knows nothing of the run r"):
            await calls.poll("r")

    in_a_loop(main)
    (order,) = tmp_path.rglob("order.json")
    got = msgspec.json.decode(order.read_bytes(), type=Prepare)
    assert (got.allow, got.authorized) == (("10.1.0.0/16",), False)


def test_a_second_coordinator_is_refused_and_cannot_stop_the_first(share: Callable[[str], None]) -> None:
    share(ECHO)

    async def main() -> None:
        await calls.begin("first", ORDER)
        with pytest.raises(HostError, match=r"a share of another run \(first\) is under way here"):
            await calls.begin("second", ORDER)
        for call in (calls.poll, calls.stop, calls.done):
            with pytest.raises(HostError, match="knows nothing of the run second"):
                await call("second")
        assert (await news_until("first", bool)).running

    in_a_loop(main)


def test_when_a_run_has_ended_another_may_begin(share: Callable[[str], None]) -> None:
    share(ECHO)

    async def main() -> None:
        await calls.begin("first", ORDER)
        await calls.order("first", msgspec.json.encode(Interrupt()))
        await news_until("first", lambda news: not news.running)
        await calls.begin("second", ORDER)
        assert (await news_until("second", bool)).running

    in_a_loop(main)


def test_a_share_that_ends_without_a_word_is_reported(share: Callable[[str], None]) -> None:
    share(CRASH)

    async def main() -> None:
        await calls.begin("r", ORDER)
        news = await news_until("r", lambda news: not news.running)
        ended = msgspec.json.decode(news.reports[-1], type=Ended)
        assert ended == Ended(exit_code=1, text="the share ended with code 1: no such file | really")

    in_a_loop(main)


def test_stop_kills_all_its_processes_at_once(share: Callable[[str], None]) -> None:
    share("import subprocess, sys; subprocess.Popen(['cat']); print('[]', flush=True); sys.stdin.read()")

    async def main() -> None:
        await calls.begin("r", ORDER)
        assert calls._share
        group = calls._share.process.pid
        assert group == os.getpgid(group) != os.getpgid(0)
        await calls.stop("r")
        news = await news_until("r", lambda news: not news.running)
        ended = msgspec.json.decode(news.reports[-1], type=Ended)
        assert ended.exit_code == 4
        assert ended.text.startswith("the share was killed by SIGKILL")
        async with asyncio.timeout(10):
            while alive(group):
                await asyncio.sleep(0.01)

    in_a_loop(main)


def alive(group: int) -> list[int]:
    """The processes of a group that are no zombies."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue
        if fields[0] not in (b"Z", b"X") and int(fields[2]) == group:
            found.append(int(entry.name))
    return found


def test_the_end_of_an_agent_is_the_end_of_orders(share: Callable[[str], None]) -> None:
    share(ECHO + "print(json.dumps({'report': 'ended', 'exit_code': 4, 'path': path}), flush=True)")

    async def main() -> None:
        await calls.begin("r", ORDER)
        await news_until("r", lambda news: bool(news.reports))
        mine = calls._share
        assert mine
        await calls.close(30)
        assert mine.process.returncode == 0
        assert mine.ended

    in_a_loop(main)


def test_orders_that_are_none(share: Callable[[str], None]) -> None:
    share(ECHO)

    async def main() -> None:
        for text in (b"", b"[]", b'{"do": "prepare"}'):
            with pytest.raises(UsageError, match="does not understand the coordinator's order"):
                await calls.begin("r", text)
        await calls.begin("r", ORDER)
        with pytest.raises(UsageError, match="does not understand"):
            await calls.order("r", b'{"do": "dance"}')
        with pytest.raises(UsageError, match="prepared once"):
            await calls.order("r", ORDER)

    in_a_loop(main)


def test_news_are_limited_in_size(share: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    share(ECHO)
    monkeypatch.setattr(calls, "_NEWS_BYTES", 100)

    async def main() -> None:
        await calls.begin("r", ORDER)
        mine = calls._share
        assert mine
        async with asyncio.timeout(30):
            while len(mine.reports) < 4:
                await calls.poll("r")
                await asyncio.sleep(0.01)
        news = msgspec.json.decode(await calls.poll("r"), type=News)
        assert 0 < len(news.reports) < len(mine.reports)
        os.killpg(mine.process.pid, signal.SIGKILL)
        async with asyncio.timeout(30):
            while not mine.over:
                await asyncio.sleep(0.01)
        assert msgspec.json.decode(await calls.poll("r"), type=News).running, "not all of it is told"

    in_a_loop(main)


def test_no_log_of_a_worker_shows_an_order(caplog: pytest.LogCaptureFixture) -> None:
    """dask.distributed logs the arguments of a call that raised: here a scenario, which may have secrets in it."""
    log = logging.getLogger("distributed.worker")
    log.warning("Run Failed\nFunction: %s\nargs:     %s\nkwargs:   %s\n", "begin", "password", "")
    log.warning("Connection lost")
    assert [record.getMessage() for record in caplog.records] == ["Connection lost"]
