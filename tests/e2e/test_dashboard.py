"""`loadgen run --dashboard` as a user has it: the URL on stderr is all that is needed, and nothing else opens it."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from .conftest import PATIENCE_S, Loadgen, Running, assert_one_message

#: Long enough for whatever a test does meanwhile; it ends when the test says so.
LONG: dict[str, Any] = {"hold": "10m"}


def url_of(running: Running) -> str:
    """What it printed, once."""

    def printed() -> str | None:
        found = re.search(r"dashboard at (http://\S+/)\n", running.err.read_text())
        return found[1] if found else None

    return running.until(printed, "URL on stderr")


def asked(url: str, path: str = "", method: str = "GET", **headers: str) -> tuple[int, str]:
    """Status and text of an answer; path from the root where it begins with a slash, otherwise below the page."""
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.netloc, timeout=PATIENCE_S)) as connection:
        connection.request(method, path if path.startswith("/") else parts.path + path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def stream(url: str) -> socket.socket:
    """A connection on which the stream was asked for; nothing of it is read."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    sock = socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE_S)
    sock.sendall(f"GET {parts.path}events HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
    return sock


def read_to_end(sock: socket.socket) -> str:
    """All that comes until the other side closes."""
    with closing(sock):
        found = bytearray()
        while part := sock.recv(65536):
            found += part
        return found.decode()


def test_a_run_is_looked_at_and_stopped_from_its_page(loadgen: Loadgen) -> None:
    running = loadgen.start("run", loadgen.scenario(**LONG), "--dashboard")
    url = url_of(running)
    running.until_holding()
    status, page = asked(url)
    assert status == 200
    assert 'id="chart-connections"' in page
    token = urlsplit(url).path.strip("/")
    assert asked(url, f"/{token[::-1]}/")[0] == 403
    assert asked(url, Host=f"evil.example:{urlsplit(url).port}")[0] == 403
    assert asked(url, "stop?step=drain")[0] == 405
    assert asked(url, "stop?step=drain", "POST", Origin="http://evil.example")[0] == 403
    assert [event["event"] for event in running.events if event["event"] == "interrupted"] == []
    status, text = asked(url, "/metrics", Authorization=f"Bearer {token}")
    assert status == 200
    values = {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}
    assert values["loadgen_connections_established_total"] == 200
    looking = stream(url)
    assert asked(url, "stop?step=drain", "POST")[0] == 204
    said = read_to_end(looking)
    done = running.finish()
    assert done.code == 130
    assert json.loads((done.run / "summary.json").read_text())["incomplete_because"]
    frames = [json.loads(data) for data in re.findall(r"event: now\ndata: (.*)\n", said)]
    assert frames[-1]["state"] == "over"
    assert frames[-1]["ending"]["code"] == 130
    assert frames[-1]["ending"]["report"].endswith(f"{done.run.name}/report.html")
    assert said.rstrip().endswith("event: end\ndata: null") or "event: end\ndata: null\n" in said
    assert done.err.count(token) == 1
    assert token not in "".join(path.read_text() for path in done.run.iterdir() if path.is_file())


def test_pressed_twice_it_stops_at_once(loadgen: Loadgen) -> None:
    running = loadgen.start("run", loadgen.scenario(**LONG), "--dashboard", "--quiet")
    url = url_of(running)
    running.until_holding()
    # What drains cannot, while it is stopped; so the second step is what ends it.
    (worker, *_) = running.workers()
    worker.signal(signal.SIGSTOP)
    assert asked(url, "stop?step=drain", "POST")[0] == 204
    assert asked(url, "stop?step=drain", "POST")[0] == 204
    running.until_event("interrupted")
    assert asked(url, "stop?step=now", "POST")[0] == 204
    assert running.finish().code == 130


def test_who_never_reads_does_not_delay_the_end(loadgen: Loadgen) -> None:
    running = loadgen.start("run", loadgen.scenario(hold="1s"), "--dashboard")
    with closing(stream(url_of(running))):
        assert running.finish().code == 0


def test_a_matrix_is_one_dashboard(loadgen: Loadgen) -> None:
    scenario = loadgen.scenario(hold="200ms", connections=20, matrix={"close": ["fin", "rst"]})
    running = loadgen.start("run", scenario, "--dashboard")
    said = read_to_end(stream(url_of(running)))
    done = running.finish()
    assert done.code == 0
    frames = [json.loads(data) for data in re.findall(r"event: now\ndata: (.*)\n", said)]
    assert {frame["run"] for frame in frames} >= {1, 2}
    places = [frame["place"] for frame in frames if frame["run"] == 2]
    assert places[0].startswith("run 2 of 2, cell 1")
    assert frames[-1]["ending"]["code"] == 0


def test_earlier_runs_open_their_reports(loadgen: Loadgen) -> None:
    before = loadgen("run", loadgen.scenario())
    assert before.code == 0
    running = loadgen.start("run", loadgen.scenario(**LONG), "--dashboard")
    url = url_of(running)
    running.until(lambda: len(list(running.results.glob("*/plan.json"))) == 2, "second run directory")
    rows = json.loads(asked(url, "runs")[1])
    assert [bool(row["href"]) for row in rows] == [False, True]
    status, report = asked(url, rows[1]["href"])
    assert status == 200
    assert report.startswith("<!doctype html>")
    assert asked(url, "stop?step=drain", "POST")[0] == 204
    assert running.finish().code == 130


@pytest.mark.parametrize("address", ["0.0.0.0:0", "10.1.2.3:8080"])
def test_what_others_could_reach_is_refused(loadgen: Loadgen, address: str) -> None:
    done = loadgen("run", loadgen.scenario(), "--dashboard", address)
    assert done.code == 2
    said = assert_one_message(done)
    assert "--dashboard-public" in said
    assert "unencrypted" in said
    assert not done.results.exists()


def test_a_port_that_is_taken_is_said_before_any_load(loadgen: Loadgen) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = loadgen("run", loadgen.scenario(), "--dashboard", f"127.0.0.1:{taken.getsockname()[1]}")
    assert done.code == 3
    assert "cannot listen" in assert_one_message(done)
    assert not done.results.exists()


def test_an_address_that_is_the_scenario_is_told_where_to_go(loadgen: Loadgen) -> None:
    done = loadgen("run", "--dashboard", loadgen.scenario())
    assert done.code == 2
    assert "give --dashboard last" in assert_one_message(done)


def test_permission_without_a_dashboard_is_a_mistake(loadgen: Loadgen) -> None:
    done = loadgen("run", loadgen.scenario(), "--dashboard-public")
    assert done.code == 2
    assert "add --dashboard" in assert_one_message(done)
