"""`--otlp` as a user has it: what a receiver gets is what Prometheus scrapes, and no receiver disturbs a run."""

from __future__ import annotations

import re
import signal
import socket
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk.metrics.export", reason="needs the extra: pip install 'loadgen[otlp]'")

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from tests.receiving import Receiver, Samples, as_scraped, kind_of, metrics_of, receiving, resource_of

from .conftest import PATIENCE_S, Done, Loadgen, Running, assert_one_message, lines_of
from .test_dashboard import asked, url_of

ESTABLISHED = ("loadgen_connections_established_total", ())
ELAPSED = ("loadgen_elapsed_seconds", ())


def said(done: Done) -> list[str]:
    """What it said on stderr of exports; with --quiet there is nothing else."""
    assert "Traceback" not in done.err
    lines = done.err.splitlines()
    assert all(line.startswith("loadgen: ") for line in lines), done.err
    return lines


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def scrape(url: str) -> tuple[Samples, dict[str, str]]:
    """The samples of the dashboard, and the types of those that have any."""
    status, text = asked(url, "metrics")
    assert status == 200
    families = [family for family in text_string_to_metric_families(text) if family.samples]
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }
    return samples, {family.name: family.type for family in families}


def until_both_saw_one_line(
    running: Running, url: str, receiver: Receiver
) -> tuple[Samples, dict[str, str], ExportMetricsServiceRequest]:
    """A scrape and an export of the same line of the series."""

    def looked() -> tuple[Samples, dict[str, str], ExportMetricsServiceRequest] | None:
        samples, types = scrape(url)
        for request in reversed(receiver.requests[-20:]):
            if as_scraped(request).get(ELAPSED) == samples.get(ELAPSED, -1.0):
                return samples, types, request
        return None

    return running.until(looked, "line that was scraped and pushed")


def test_what_is_pushed_is_what_prometheus_scrapes(loadgen: Loadgen) -> None:
    with receiving() as receiver:
        scenario = loadgen.scenario(hold="10m", heartbeat={"every": "500ms"}, protocol={"name": "echo"})
        running = loadgen.start(
            "run", scenario, "--dashboard", "--quiet", "--otlp", receiver.url, OTEL_METRIC_EXPORT_INTERVAL="1"
        )
        url = url_of(running)
        running.until_holding()
        samples, types, request = until_both_saw_one_line(running, url, receiver)
        assert as_scraped(request) == samples
        assert samples[ESTABLISHED] == 200
        pushed = {name.removesuffix("_total"): kind_of(metric) for name, metric in metrics_of(request).items()}
        assert pushed == types
        assert asked(url, "stop?step=drain", "POST")[0] == 204
        done = running.finish()
    assert done.code == 130
    last = as_scraped(receiver.requests[-1])
    assert last[ESTABLISHED] == last[("loadgen_connections_closed_total", ())] == 200
    assert last[("loadgen_phase", (("phase", "done"),))] == 1
    assert receiver.paths[0] == "/v1/metrics"
    assert all("failed" not in line for line in said(done))


def test_the_last_export_has_the_numbers_of_the_summary(loadgen: Loadgen) -> None:
    with receiving() as receiver:
        done = loadgen(
            "run",
            loadgen.scenario(),
            "--otlp",
            receiver.url,
            "--json",
            OTEL_EXPORTER_OTLP_HEADERS="api-key=s3cretw0rd",
            OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        )
    assert done.code == 0
    summary = done.summary
    last = as_scraped(receiver.requests[-1])
    assert last[ESTABLISHED] == summary["outcomes"]["established"] == 200
    assert last[("loadgen_sink_accepted_total", ())] == 200
    assert last[("loadgen_latency_seconds_count", (("kind", "connect"),))] == 200
    found = resource_of(receiver.requests[-1])
    assert (found["service.name"], found["loadgen.scenario"]) == ("loadgen", "small")
    assert found["service.instance.id"] == done.run.name
    (began,) = [event for event in lines_of(done.run / "events.jsonl") if event["event"] == "started"]
    for metric in metrics_of(receiver.requests[-1]).values():
        for point in metric.sum.data_points:
            assert abs(point.start_time_unix_nano - began["at_ns"]) < 10e9  # a busy machine hands lines over late
            assert point.time_unix_nano >= point.start_time_unix_nano
    assert {headers["api-key"] for headers in receiver.headers} == {"s3cretw0rd"}
    assert receiver.headers[-1]["content-encoding"] == "gzip"
    assert re.search(rf"^loadgen: \d+ OTLP exports? to {receiver.url}/v1/metrics, none failed$", done.err, re.M)
    everything = done.out + done.err + "".join(path.read_text() for path in done.run.iterdir() if path.is_file())
    assert "s3cretw0rd" not in everything


@pytest.mark.parametrize(
    ("command", "established"),
    [(("open", "127.0.0.1:9000", "-c", "50"), 50.0), (("churn", "127.0.0.1:9000", "--for", "500ms"), None)],
)
def test_the_one_liners_push_as_well(loadgen: Loadgen, command: tuple[str, ...], established: float | None) -> None:
    with receiving() as receiver:
        done = loadgen(*command, "--lab", "--quiet", "--json", "--otlp", receiver.url)
    assert done.code == 0, done.err
    last = as_scraped(receiver.requests[-1])
    assert last[ESTABLISHED] == (established or done.summary["outcomes"]["established"]) > 0
    assert said(done) == []


def test_the_coordinator_pushes_the_whole(loadgen: Loadgen) -> None:
    pytest.importorskip("distributed", reason="needs the extra: pip install 'loadgen[cluster]'")
    place = f"127.0.0.1:{free_port()}"
    for name in ("a", "b"):
        loadgen.start("agent", "--coordinator", f"tcp://{place}", "--name", name, "--results", f"of-{name}")
    with receiving() as receiver:
        scenario = loadgen.scenario(connections=100, hold="1s")
        done = loadgen("run", scenario, "--agents", "2", "--listen", place, "--quiet", "--json", "--otlp", receiver.url)
    assert done.code == 0, done.err
    last = as_scraped(receiver.requests[-1])
    assert last[ESTABLISHED] == done.summary["outcomes"]["established"] == 100
    assert {last[("loadgen_agent_established", (("agent", name),))] for name in "ab"} == {50}
    found = resource_of(receiver.requests[-1])
    assert found["service.instance.id"] in {path.name for path in done.results.iterdir()}


def test_a_matrix_is_one_source_whose_counters_go_on(loadgen: Loadgen) -> None:
    with receiving() as receiver:
        scenario = loadgen.scenario(connections=20, matrix={"close": ["fin", "rst"]})
        done = loadgen("run", scenario, "--quiet", "--otlp", receiver.url, OTEL_METRIC_EXPORT_INTERVAL="1")
    assert done.code == 0, done.err
    assert {resource_of(request)["service.instance.id"] for request in receiver.requests} == {done.run.name}
    series = [as_scraped(request)[ESTABLISHED] for request in receiver.requests]
    assert series == sorted(series)
    assert series[-1] == 40
    infos = [
        dict(labels)
        for request in receiver.requests
        for name, labels in as_scraped(request)
        if name == "loadgen_run_info"
    ]
    assert infos[-1]["place"].startswith("run 2 of 2, cell 1")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (503, "HTTP 503 Service Unavailable"),
        (401, "HTTP 401 Unauthorized"),
        (302, "HTTP 302 Found"),
        ("html", "the answer is a web page, so this is no receiver of OTLP"),
        ("long", "an answer without an end"),
    ],
)
def test_a_receiver_that_does_not_take_it_is_told_once(loadgen: Loadgen, answer: int | str, why: str) -> None:
    with receiving(answer) as receiver:
        done = loadgen(
            "run", loadgen.scenario(hold="500ms"), "--quiet", "--otlp", receiver.url, OTEL_METRIC_EXPORT_INTERVAL="1"
        )
    assert done.code == 0
    first, last = said(done)
    url = f"{receiver.url}/v1/metrics"
    assert first == f"loadgen: OTLP export to {url} failed: {why}; the run goes on, and each next export is tried"
    number = len(receiver.requests)
    assert number >= 2
    assert re.fullmatch(rf"loadgen: {number} of {number} OTLP exports to {url} failed: {re.escape(why)}(; .*)?", last)


def test_a_receiver_that_comes_back_gets_everything(loadgen: Loadgen) -> None:
    with receiving(503, times=2) as receiver:
        done = loadgen(
            "run", loadgen.scenario(hold="500ms"), "--quiet", "--otlp", receiver.url, OTEL_METRIC_EXPORT_INTERVAL="1"
        )
    assert done.code == 0
    assert as_scraped(receiver.requests[-1])[ESTABLISHED] == 200
    assert re.search(r": 2 of \d+ OTLP exports to \S+ failed: HTTP 503 Service Unavailable(; .*)?$", said(done)[-1])


def test_nobody_there_costs_the_run_nothing(loadgen: Loadgen) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = loadgen("run", loadgen.scenario(), "--json", "--quiet", "--otlp", url)
    assert done.code == 0
    assert done.summary["outcomes"]["established"] == 200
    first, last = said(done)
    assert f"OTLP export to {url}/v1/metrics failed: connection refused; the run goes on" in first
    assert last.endswith("failed: connection refused")


def test_one_that_hangs_does_not_hold_up_the_end(loadgen: Loadgen) -> None:
    with receiving("hang") as receiver:
        done = loadgen("run", loadgen.scenario(), "--quiet", "--otlp", receiver.url)
    assert done.code == 0
    (only,) = said(done)
    assert "1 of 1 OTLP export" in only
    assert "failed: no answer, given up 5 s after the end of the run" in only


def test_ctrl_c_pushes_the_last_values(loadgen: Loadgen) -> None:
    with receiving() as receiver:
        running = loadgen.start("run", loadgen.scenario(hold="10m"), "--quiet", "--otlp", receiver.url)
        running.until_holding()
        running.signal(signal.SIGINT)
        done = running.finish()
    assert done.code == 130
    assert as_scraped(receiver.requests[-1])[("loadgen_connections_closed_total", ())] == 200


def test_a_second_ctrl_c_does_not_wait_for_the_receiver(loadgen: Loadgen) -> None:
    with receiving("hang") as receiver:
        running = loadgen.start("run", loadgen.scenario(hold="10m"), "--quiet", "--otlp", receiver.url)
        running.until_holding()
        assert receiver.came.acquire(timeout=PATIENCE_S)
        running.signal(signal.SIGINT)
        running.until(lambda: (running.run / "report.html").exists(), "report")
        running.signal(signal.SIGINT)
        done = running.finish()
    assert done.code == 130
    # The other one where a busy machine took five seconds to deliver the signal.
    assert re.search(r"no answer, given up (at an interrupt|5 s after the end of the run)", done.err)


@pytest.mark.parametrize(
    ("url", "environment", "words"),
    [
        ("127.0.0.1:4318", {}, "write it as http://127.0.0.1:4318"),
        ("http://me:s3cretw0rd@127.0.0.1", {}, "put it into OTEL_EXPORTER_OTLP_HEADERS"),
        ("http://127.0.0.1:1", {"OTEL_EXPORTER_OTLP_HEADERS": "s3cretw0rd"}, "has an entry that is not NAME=VALUE"),
        ("http://127.0.0.1:1", {"OTEL_METRIC_EXPORT_INTERVAL": "often"}, "is no number of milliseconds"),
        (
            "http://127.0.0.1:1",
            {"OTEL_EXPORTER_OTLP_TIMEOUT": "soon"},
            "OTEL_EXPORTER_OTLP_TIMEOUT is a number of seconds",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_before_any_load(
    loadgen: Loadgen, url: str, environment: dict[str, Any], words: str
) -> None:
    done = loadgen("run", loadgen.scenario(), "--otlp", url, **environment)
    assert done.code == 2
    message = assert_one_message(done)
    assert words in message
    assert "s3cretw0rd" not in message
    assert not done.results.exists()


def test_a_search_pushes_too(loadgen: Loadgen) -> None:
    with receiving() as receiver:
        scenario = loadgen.scenario(expect=["outcomes.established <= 40"])
        keys: Any = ("--vary", "connections", "--from", "10", "--to", "60", "--set", "find.precision=50%")
        done = loadgen("find", scenario, *keys, "--quiet", "--otlp", receiver.url)
    assert done.code == 0, done.err
    assert {resource_of(request)["service.instance.id"] for request in receiver.requests} == {done.run.name}
    assert as_scraped(receiver.requests[-1])[ESTABLISHED] > 60
