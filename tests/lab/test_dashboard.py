"""The dashboard through HTTP: who is let in, what is answered, and that nobody who looks can hold the run up."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec import structs
from prometheus_client.parser import text_string_to_metric_families

from loadgen.errors import ExitCode, HostError, UsageError
from loadgen.model import Endpoint, Plan
from loadgen.results.schema.line import Line
from loadgen.views.dashboard import frames, server
from loadgen.views.dashboard.dashboard import Dashboard
from loadgen.views.live.view import Beside
from tests import samples
from tests.plans import plan_of

#: As many connections as the tests like; those of a run are elsewhere.
pytestmark = pytest.mark.lab("32768 60999")
PATIENCE_S = 30.0
FREE = Endpoint("127.0.0.1", 0)
NAME = "20260131T120000Z-mine-1f3a"
Run = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]


def line(t_s: float = 1.0, **changes: Any) -> Line:
    """A line on which ten connections are open."""
    keys: dict[str, Any] = {"started": 10, "established": 10, "open": 10, "lag_ns": {"1780": 1}} | changes
    return samples.bare_line(t_s, workers={"alive": 1, "stalled": 0}, **keys)


@dataclass
class Served:
    """A dashboard that is served, somebody who may look at it, and what it told the others."""

    dashboard: Dashboard
    http: aiohttp.ClientSession
    interrupts: list[None] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.dashboard.url

    @property
    def origin(self) -> str:
        return "/".join(self.url.split("/")[:3])

    async def status(self, path: str, method: str = "GET", **headers: str) -> int:
        """Of the answer; path from the root where it begins with a slash, otherwise below the page."""
        url = self.origin + path if path.startswith("/") else self.url + path
        async with self.http.request(method, url, headers=headers, allow_redirects=False) as answer:
            return answer.status

    async def frames(self, answer: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Any]]:
        """What the stream says, event by event."""
        kind = ""
        async for row in answer.content:
            name, _, said = row.decode().rstrip("\n").partition(": ")
            kind = said if name == "event" else kind
            if name == "data":
                yield kind, json.loads(said)


@asynccontextmanager
async def serving(results: Path, at: Endpoint = FREE) -> AsyncIterator[Served]:
    trouble: list[str] = []
    interrupts: list[None] = []
    dashboard = Dashboard(at, results=results, trouble=trouble.append)
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    async with (
        aiohttp.ClientSession(timeout=timeout) as http,
        dashboard.serving(lambda: interrupts.append(None)),
    ):
        yield Served(dashboard, http, interrupts, trouble)


def test_every_answer_has_the_headers_that_keep_it_where_it_belongs(run: Run, tmp_path: Path) -> None:
    async def body() -> None:
        async with serving(tmp_path) as served:
            wanted = {
                served.url: 200,
                served.url + "files/dashboard.js": 200,
                served.url + "metrics": 200,
                served.url + "runs": 200,
                served.url + "nothing": 404,
                served.url + "stop": 405,
                served.origin + "/": 403,
            }
            for url, status in wanted.items():
                async with served.http.get(url) as answer:
                    assert answer.status == status, url
                    policy = answer.headers["Content-Security-Policy"]
                    assert "default-src 'none'" in policy
                    assert "unsafe" not in policy
                    assert answer.headers["X-Content-Type-Options"] == "nosniff"
                    assert answer.headers["X-Frame-Options"] == "DENY"
                    assert answer.headers["Referrer-Policy"] == "no-referrer"
                    assert answer.headers["Cache-Control"] == "no-store"
                    assert answer.headers["Server"] == "loadgen"
                    assert "Access-Control-Allow-Origin" not in answer.headers
                    assert "Set-Cookie" not in answer.headers
                    assert served.dashboard.url not in await answer.text()

    run(body)


def test_only_who_knows_the_token_gets_in(run: Run, tmp_path: Path) -> None:
    async def body() -> None:
        async with serving(tmp_path) as served:
            token = served.url.split("/")[3]
            wrong = token[:-1] + ("A" if token[-1] != "A" else "B")
            for path in ("/", f"/{wrong}/", f"/{wrong}/events", f"/{wrong}/stop", "/favicon.ico", f"//{token}/"):
                assert await served.status(path) == 403, path
            assert await served.status(f"/{wrong}/stop?step=drain", "POST") == 403
            assert await served.status("/metrics") == 403
            assert await served.status("/metrics", Authorization=f"Bearer {wrong}") == 403
            assert await served.status("/metrics", Authorization=f"Bearer {token}") == 200
            assert served.interrupts == []

    run(body)


def test_only_who_asks_for_this_place_gets_in(run: Run, tmp_path: Path) -> None:
    async def body() -> None:
        async with serving(tmp_path) as served:
            port = served.url.split(":")[2].split("/")[0]
            assert await served.status("", Host=f"localhost:{port}") == 200
            for host in (f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{int(port) ^ 1}", ""):
                assert await served.status("", Host=host) == 403, host
                assert await served.status("stop?step=drain", "POST", Host=host) == 403, host
            assert served.interrupts == []

    run(body)


def test_a_page_of_somebody_else_can_neither_stop_nor_listen(run: Run, tmp_path: Path) -> None:
    async def body() -> None:
        async with serving(tmp_path) as served:
            for origin in ("http://evil.example", "null", served.origin + "0"):
                assert await served.status("stop?step=drain", "POST", Origin=origin) == 403
                assert await served.status("events", Origin=origin) == 403
            assert served.interrupts == []
            assert await served.status("stop?step=drain", "POST", Origin=served.origin) == 204
            assert len(served.interrupts) == 1

    run(body)


def test_stop_is_two_steps_however_many_press(run: Run, tmp_path: Path) -> None:
    async def body() -> None:
        async with serving(tmp_path) as served:
            assert await served.status("stop?step=now", "POST") == 409
            assert await served.status("stop", "POST") == 400
            for method in ("GET", "HEAD", "PUT", "DELETE"):
                assert await served.status("stop?step=drain", method) == 405
            assert served.interrupts == []
            for _ in range(3):
                assert await served.status("stop?step=drain", "POST") == 204
                assert len(served.interrupts) == 1
            for _ in range(3):
                assert await served.status("stop?step=now", "POST") == 204
                assert len(served.interrupts) == 2

    run(body)


def test_a_key_on_the_terminal_counts_as_the_first_step(run: Run, tmp_path: Path) -> None:
    async def body() -> None:
        async with serving(tmp_path) as served:
            served.dashboard.interrupt()
            assert await served.status("stop?step=drain", "POST") == 204
            assert len(served.interrupts) == 1

    run(body)


def test_the_stream_follows_the_run_to_its_end(run: Run, tmp_path: Path) -> None:
    async def body() -> None:
        plan, seen = plan_of(), []
        async with serving(tmp_path) as served, served.http.get(served.url + "events") as answer:
            assert answer.content_type == "text/event-stream"
            stream = served.frames(answer)
            served.dashboard.update(plan, line())
            kinds: set[str] = set()
            while kinds != {"now", "charts"}:
                kind, said = await anext(stream)
                kinds.add(kind)
                seen.append(said)
            charts = next(said for said in seen if "charts" in said)
            assert "connections" in [chart["id"] for chart in charts["charts"]]
            served.dashboard.notice("something happened")
            served.dashboard.over(tmp_path / NAME, samples.summary({"verdict.text": "no limit was met"}), ExitCode.FINE)
            ending = asyncio.create_task(_rest(stream))
            await served.dashboard._frames.finish()
            rest = await ending
        latest = [said for kind, said in rest if kind == "now"][-1]
        assert latest["ending"]["text"] == "no limit was met"
        assert latest["ending"]["report"] == str(tmp_path / NAME / "report.html")
        assert latest["notices"][-1]["text"] == "something happened"
        assert rest[-1] == ("end", None)
        assert served.trouble == []

    run(body)


async def _rest(stream: AsyncIterator[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [one async for one in stream]


def test_what_stops_a_run_before_any_load_is_on_the_page_too(run: Run, tmp_path: Path) -> None:
    async def body() -> None:
        looking: list[asyncio.Task[list[tuple[str, Any]]]] = []

        async def refused() -> None:
            async with serving(tmp_path) as served:
                answer = await served.http.get(served.url + "events")
                looking.append(asyncio.create_task(_rest(served.frames(answer))))
                raise UsageError("not like that")

        with pytest.raises(UsageError, match="not like that"):
            await refused()
        (seen,) = await asyncio.gather(*looking)
        assert [said["ending"]["text"] for kind, said in seen if kind == "now"][-1] == "not like that"

    run(body)


def test_who_takes_nothing_delays_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its window is full after a few frames; the end comes for it as for the others, after a moment."""
    monkeypatch.setattr(server, "_FAREWELL_S", 0.2)

    async def body() -> None:
        plan = plan_of()
        with socket.socket() as stalled:
            stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            async with asyncio.timeout(PATIENCE_S), serving(tmp_path) as served:
                host, port = served.origin.removeprefix("http://").split(":")
                stalled.setblocking(False)
                await asyncio.get_running_loop().sock_connect(stalled, (host, int(port)))
                path = "/" + served.url.split("/")[3] + "/events"
                request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
                await asyncio.get_running_loop().sock_sendall(stalled, request)
                while not served.dashboard._frames._clients:
                    await asyncio.sleep(0)
                (client,) = served.dashboard._frames._clients
                for number in range(300):
                    served.dashboard.notice("x" * 5000 + str(number))
                    served.dashboard.update(plan, line(1.0 + number))
                    await asyncio.sleep(0.001)
                while not client._waiting:
                    await asyncio.sleep(0.001)
                assert await served.status("") == 200
                assert 1 <= len(client._waiting) <= 2, "nothing was taken meanwhile, and nothing piled up"

    run(body)


def test_a_bug_of_the_dashboard_is_told_once_and_the_run_goes_on(run: Run, tmp_path: Path) -> None:
    class Other:
        def __init__(self) -> None:
            self.told: list[object] = []

        def update(self, plan: Plan, line: Line) -> None:
            del plan
            self.told.append(line)

        def notice(self, text: str) -> None:
            self.told.append(text)

    async def body() -> None:
        async with serving(tmp_path) as served:
            other = Other()
            view = Beside(other, served.dashboard)
            broken = structs.replace(line(), latency_ns=None)  # as no worker writes it
            view.update(plan_of(), broken)
            view.notice("it goes on")
            view.update(plan_of(), broken)
            assert other.told == [broken, "it goes on", broken]
            (told,) = served.trouble
            assert "the run is not" in told
            assert await served.status("") == 200

    run(body)


def test_a_handler_that_fails_answers_500_and_is_told(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(_: Path) -> str:
        raise RuntimeError("no page today")

    monkeypatch.setattr("loadgen.views.dashboard.pages.page", broken)

    async def body() -> None:
        async with serving(tmp_path) as served:
            assert await served.status("") == 500
            assert await served.status("runs") == 200
            assert ["no page today" in told for told in served.trouble] == [True]

    run(body)
    assert capfd.readouterr().err == ""


def test_nonsense_is_refused_without_a_word_on_the_terminal(
    run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def body() -> None:
        async with serving(tmp_path) as served:
            host, port = served.origin.removeprefix("http://").split(":")
            for nonsense in (b"\0\xff\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nX" + b"x" * 20_000):
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(nonsense)
                writer.write_eof()
                async with asyncio.timeout(PATIENCE_S):
                    answer = await reader.read()
                assert b"200" not in answer.split(b"\r\n")[0]
                writer.close()
            assert await served.status("") == 200

    run(body)
    assert capfd.readouterr().err == ""


def test_too_many_are_sent_away(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "CLIENTS_MAX", 2)

    async def body() -> None:
        async with serving(tmp_path) as served:
            looking = [await served.http.get(served.url + "events") for _ in range(2)]
            assert await served.status("events") == 503
            assert await served.status("") == 200
            for answer in looking:
                answer.close()

    run(body)


def test_metrics_are_those_of_the_run(run: Run, tmp_path: Path) -> None:
    async def body() -> None:
        async with serving(tmp_path) as served:
            served.dashboard.update(plan_of(), line())
            async with served.http.get(served.url + "metrics") as answer:
                assert answer.headers["Content-Type"].startswith("text/plain; version=")
                families = text_string_to_metric_families(await answer.text())
                values = {sample.name: sample.value for family in families for sample in family.samples}
            assert values["loadgen_connections_established_total"] == 10

    run(body)


def test_a_report_is_served_in_a_sandbox_and_nothing_else_is(run: Run, tmp_path: Path) -> None:
    directory = tmp_path / NAME
    (directory / "cells" / "0").mkdir(parents=True)
    (directory / "report.html").write_text("<p>the whole</p>")
    (directory / "cells" / "0" / "report.html").write_text("<p>a cell</p>")
    (directory / "plan.json").write_text('{"name": "mine"}')

    async def body() -> None:
        async with serving(tmp_path) as served:
            async with served.http.get(served.url + "runs") as answer:
                (row,) = await answer.json()
            token = served.url.split("/")[3]
            assert token not in row["href"]
            async with served.http.get(served.origin + row["href"]) as answer:
                assert await answer.text() == "<p>the whole</p>"
                assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
                policy = answer.headers["Content-Security-Policy"]
                assert policy.startswith("sandbox allow-scripts")
                assert "allow-same-origin" not in policy
                assert "connect-src" not in policy
                assert "default-src 'none'" in policy
            base = row["href"].removesuffix("report.html")
            async with served.http.get(served.origin + base + "cells/0/report.html") as answer:
                assert await answer.text() == "<p>a cell</p>"
            assert await served.status(base + "cells/1/report.html") == 404
            for path in (
                f"/report/{token}/report.html",
                f"/report/{NAME}/report.html",
                "/report/..%2f..%2fetc/report.html",
                base + "cells/..%2f..%2f/report.html",
                base + "plan.json",
                base,
            ):
                assert await served.status(path) in (403, 404), path
            assert await served.status(row["href"], "POST") in (403, 405)

    run(body)


def test_a_port_that_is_taken_is_said_with_the_way_out(run: Run, tmp_path: Path) -> None:
    async def body() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(HostError, match=f"cannot listen on 127.0.0.1:{port}.*give another") as refused:
                async with serving(tmp_path, Endpoint("127.0.0.1", port)):
                    pass
        assert refused.value.exit_code == 3

    run(body)


def test_ipv6_works_as_well(run: Run, tmp_path: Path) -> None:
    async def body() -> None:
        async with serving(tmp_path, Endpoint("::1", 0)) as served:
            assert served.url.startswith("http://[::1]:")
            assert await served.status("") == 200

    run(body)
