"""`loadgen watch --exporter` as Prometheus has it: scrapes, another namespace, refusals, and how it ends."""

from __future__ import annotations

import re
import resource
import signal
import urllib.error
import urllib.request

import pytest

from .conftest import Loadgen, Running, assert_one_message
from .test_watch import Busy, busy

__all__ = ["busy"]


def url_of(running: Running) -> str:
    """Where it serves, from the line that it prints once there is a snapshot."""
    return str(
        running.until(
            lambda: (found := re.search(r"metrics at (\S+)\n", running.err.read_text())) and found[1], "its URL"
        )
    )


def scraped(url: str, **headers: str) -> str:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_scrape_of_another_namespace_from_here(loadgen: Loadgen, busy: Busy, number: signal.Signals) -> None:
    """The account is that of the container, and the metrics are served where the command runs."""
    running = loadgen.start("watch", "--exporter", "127.0.0.1:0", "--netns", str(busy.pid), "--interval", "100ms")
    url = url_of(running)
    pair = 'loadgen_watch_pair_used_ports{destination="127.0.0.1:9000",source="127.0.0.1"} 7.0\n'
    assert pair in scraped(url)
    second = re.compile(r"^loadgen_watch_snapshots_total ([2-9]|\d{2,})\.0$", re.MULTILINE)
    running.until(lambda: second.search(scraped(url)), "a second snapshot")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        scraped(url, Host="attacker.example")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        scraped(url + "/files")
    running.signal(number)
    done = running.finish()
    assert (done.code, done.out, done.err) == (0, "", f"loadgen: metrics at {url}\n")


def test_it_outlives_the_want_of_descriptors(loadgen: Loadgen, busy: Busy) -> None:
    """While the limit is met neither a snapshot nor a scrape is possible; then both are."""
    running = loadgen.start("watch", "--exporter", "127.0.0.1:0", "--netns", str(busy.pid), "--interval", "100ms")
    url, pid = url_of(running), running.popen.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (4, before[1]))
    running.until(lambda: "no snapshot: this process may have 4 files open" in running.err.read_text(), "failure")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    running.until(lambda: "snapshots again, after" in running.err.read_text(), "snapshot")
    assert re.search(r"^loadgen_watch_snapshot_failures_total [1-9]", scraped(url), re.MULTILINE)
    running.signal(signal.SIGTERM)
    done = running.finish()
    assert done.code == 0
    assert len(done.err.splitlines()) == 3, done.err


def test_a_port_that_is_taken(loadgen: Loadgen, busy: Busy) -> None:
    done = loadgen("watch", "--exporter", "127.0.0.1:9000", prefix=busy.enter)
    assert done.code == 3
    assert "cannot listen on 127.0.0.1:9000: Address already in use" in assert_one_message(done)


def test_a_condition_ends_it(loadgen: Loadgen, busy: Busy) -> None:
    done = loadgen("watch", "--exporter", "127.0.0.1:9435", "--fail-if", "used > 65%", prefix=busy.enter)
    assert (done.code, done.out) == (99, "")
    assert "--fail-if used > 65%: 70%, 7 of 10 ports" in done.err
