"""What bench.peers reads from other tools and makes of its looks. The samples are shortened real output."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.peer_tools import (
    BY_NAME,
    PROCESSES_PER_SOURCE,
    RANGE_SIZE,
    SOURCES,
    TOOLS,
    URL,
    Job,
    Said,
    Tool,
    loadgen_scenario,
    tsung_configuration,
)
from bench.peer_watch import Look, began_s, jobs_of, quarters_s, sockets_in_use, steady_rate_per_s
from bench.peers import parse, questions_of, running
from loadgen import scenario as scenarios

WRK = """\
Running 1s test @ http://127.0.0.1:9000/
  1 threads and 8 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   518.30us  317.79us   4.79ms   73.52%
    Req/Sec     8.58k     1.36k   10.70k    54.55%
  9389 requests in 1.10s, 586.81KB read
Requests/sec:   8536.83
Transfer/sec:    533.55KB
"""
WRK_ERRORS = "  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 5\n"
AB = """\
Concurrency Level:      8
Time taken for tests:   1.001 seconds
Complete requests:      8572
Failed requests:        0
Total transferred:      548608 bytes
Requests per second:    8567.06 [#/sec] (mean)
Time per request:       0.934 [ms] (mean)
"""
HEY = """\

Summary:
  Total:	1.0025 secs
  Average:	0.0017 secs
  Requests/sec:	4625.4155

Response time histogram:
  0.000 [1]	|
  0.001 [1768]	|■■■■■■

Status code distribution:
  [200]	4637 responses

"""
HEY_ERRORS = """\
Error distribution:
  [3]	Get "http://127.0.0.1:9000/": dial tcp 127.0.0.1:9000: connect: cannot assign requested address
  [2]	Get "http://127.0.0.1:9000/": EOF
"""
HTTPERF = """\
Maximum connect burst length: 15

Total: connections 3000 requests 3000 replies 2990 test-duration 2.000 s

Connection rate: 1500.0 conn/s (0.3 ms/conn, <=29 concurrent connections)
Reply rate [replies/s]: min 0.0 avg 0.0 max 0.0 stddev 0.0 (0 samples)

Errors: total 9513 client-timo 0 socket-timo 0 connrefused 0 connreset 0
Errors: fd-unavail 9513 addrunavail 0 ftab-full 0 other 0
"""
H2LOAD = """\
finished in 130.16ms, 7683.15 req/s, 0B/s
requests: 1000 total, 1000 started, 1000 done, 998 succeeded, 2 failed, 1 errored, 0 timeout
status codes: 998 2xx, 0 3xx, 0 4xx, 0 5xx
"""
TSUNG = """\
# stats: dump at 1795368896
stats: users 8 8
stats: request 12000 1.8854351126346736 1.0393828730981929 18.575 0.255 0 12000
stats: error_abort 1 1
# stats: dump at 1795368906
stats: users 8 8
stats: request 252 1.8854351126346736 1.0393828730981929 18.575 0.255 0 12252
stats: connect 12253 1.4015588835387174 0.8718780066785675 18.213 0.137 0 0
stats: 200 12252 12252
stats: error_connect_eaddrnotavail 2 2
stats: error_abort 1 2
"""
K6 = """\
    HTTP
    http_req_duration.......................................................: avg=3.4ms  min=239.71µs med=2.89ms
      { expected_response:true }............................................: avg=3.4ms  min=239.71µs med=2.89ms
    http_req_failed.........................................................: 0.06%  4 out of 6522
    http_reqs...............................................................: 6522   2170.697729/s

    EXECUTION
    iterations..............................................................: 6522   2170.697729/s
"""
LOCUST = """\
[{"name": "/", "method": "GET", "last_request_timestamp": 1795993964.5, "start_time": 1795993962.5,
  "num_requests": 475, "num_none_requests": 0, "num_failures": 4, "response_times": {"23": 1, "25": 2}}]
"""
SUMMARY = {"outcomes": {"established": 900, "failed": 2}, "open": {"lost": 1}, "churn": {"mean_per_s": 90.5}}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("wrk", WRK, Said(9389, 8536.83, 0)),
        ("wrk", WRK + WRK_ERRORS, Said(9389, 8536.83, 15)),
        ("ab", AB, Said(8572, 8567.06, 0)),
        ("hey", HEY, Said(4637, 4625.4155, 0)),
        ("hey", HEY + HEY_ERRORS, Said(4637, 4625.4155, 5)),
        ("httperf", HTTPERF, Said(2990, 1495.0, 9513)),
        ("h2load", H2LOAD, Said(998, 7683.15, 2)),
        ("tsung", TSUNG, Said(12252, None, 4)),
        ("k6", K6, Said(6522, 2170.697729, 4)),
        ("locust", LOCUST, Said(475, 237.5, 4)),
        ("loadgen", json.dumps(SUMMARY), Said(900, 90.5, 3)),
    ],
)
def test_what_a_tool_says_is_read(name: str, text: str, said: Said) -> None:
    assert BY_NAME[name].parse(text) == said


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_silence_is_not_a_zero(tool: Tool) -> None:
    """A tool that was stopped before its report has said nothing, least of all that nothing failed."""
    assert tool.parse("") == tool.parse("[]") == Said()


def looks(*held: int, every_s: float = 0.1) -> list[Look]:
    return [Look(round(index * every_s, 9), most, most, 2 * most) for index, most in enumerate(held)]


def test_a_quarter_begins_where_the_one_before_ended() -> None:
    """The clock starts at the last look without a connection; between two looks growth is even."""
    assert quarters_s(looks(0, 0, 50, 100), 100) == pytest.approx([0.05, 0.05, 0.05, 0.05])
    assert quarters_s(looks(0, 100), 100) == pytest.approx([0.025] * 4)


def test_a_quarter_never_reached_has_no_time() -> None:
    assert quarters_s(looks(0, 25, 49), 100)[1:] == [None, None, None]
    assert quarters_s(looks(0, 0, 0), 100) == [None] * 4
    assert quarters_s(looks(100), 100) == pytest.approx([0, 0, 0, 0])


def test_a_rate_leaves_out_the_beginning_and_the_end() -> None:
    """A second to settle, then what came until no more did: a tool that counts may end before its time."""
    seen = looks(0, *range(1000, 1020), *range(1120, 3120, 100), 3020, 3020, 3020)
    assert began_s(seen) == 0
    assert steady_rate_per_s(seen, settle_s=2.0) == pytest.approx(1000, rel=0.01)


def test_a_rate_of_less_than_a_second_is_none() -> None:
    assert steady_rate_per_s(looks(0, 100, 200)) is None
    assert steady_rate_per_s(looks(0, 0)) is None


def test_sockets_are_counted_without_time_wait() -> None:
    text = "sockets: used 44\nTCP: inuse 27 orphan 0 tw 14053 alloc 30 mem 1\nUDP: inuse 2 mem 0\n"
    assert sockets_in_use(text) == 27
    assert sockets_in_use("") == 0


def test_tasks_of_everybody_are_counted() -> None:
    assert running("cpu  1 2 3\nprocs_running 7\nprocs_blocked 0\n") == 7
    assert running("") == 0


@pytest.mark.parametrize("sources", [1, 4])
@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_the_processes_of_a_tool_fill_the_range_of_every_source(tool: Tool, sources: int, tmp_path: Path) -> None:
    jobs = jobs_of(tool, sources, 10.0, tmp_path)
    assert sum(job.connections for job in jobs) == RANGE_SIZE * sources


def test_four_sources_are_asked_of_those_that_can_bind() -> None:
    assert [tool.name for tool in TOOLS if "hold-4" in questions_of(tool)] == [
        "loadgen",
        "ab",
        "tsung",
        "tcpkali",
        "k6",
    ]


@pytest.mark.parametrize("hold", [True, False])
def test_loadgen_reads_its_scenario(hold: bool, tmp_path: Path) -> None:
    job = Job(RANGE_SIZE, 10.0, tmp_path, sources=SOURCES if hold else SOURCES[:1])
    read = scenarios.parse(loadgen_scenario(job, hold=hold))
    assert read.workers == (PROCESSES_PER_SOURCE * 4 if hold else 1)


@pytest.mark.parametrize("hold", [True, False])
def test_a_tool_with_a_script_asks_the_server_and_closes_in_churn(hold: bool, tmp_path: Path) -> None:
    job = Job(7, 3.0, tmp_path, source=SOURCES[0] if hold else None)
    k6 = (BY_NAME["k6"].hold if hold else BY_NAME["k6"].churn)(job)
    assert f"http.get('{URL}'" in Path(k6[-1]).read_text()
    assert (f"--local-ips={SOURCES[0]}" in k6) == hold
    assert k6[k6.index("--vus") + 1] == "7"
    locust = (BY_NAME["locust"].hold if hold else BY_NAME["locust"].churn)(job)
    script = Path(locust[locust.index("-f") + 1]).read_text()
    compile(script, "locustfile.py", "exec")
    assert ("close" in script) is not hold
    assert locust[locust.index("-H") + 1] + "/" == URL


@pytest.mark.parametrize("hold", [True, False])
def test_the_configuration_of_tsung_is_xml(hold: bool, tmp_path: Path) -> None:
    tree = ElementTree.fromstring(tsung_configuration(Job(7, 3.0, tmp_path, source="127.0.1.2"), hold=hold))
    users, address = tree.find(".//users"), tree.find(".//ip")
    assert users is not None
    assert address is not None
    assert (users.get("maxnumber"), address.get("value")) == ("7", "127.0.1.2")


def test_a_measurement_of_no_time_is_refused() -> None:
    with pytest.raises(SystemExit):
        parse(["--seconds", "1"])
    assert parse([]).seconds == 10
