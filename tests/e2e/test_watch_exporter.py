"""`loadgen watch --exporter` as Prometheus has it: scrapes, another namespace, refusals, and how it ends."""

from __future__ import annotations

import re
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
    second = "loadgen_watch_snapshots_total 2.0"
    running.until(
        lambda: second in scraped(url) or "loadgen_watch_snapshots_total 3.0" in scraped(url), "a second snapshot"
    )
    with pytest.raises(urllib.error.HTTPError, match="403"):
        scraped(url, Host="attacker.example")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        scraped(url + "/files")
    running.signal(number)
    done = running.finish()
    assert (done.code, done.out, done.err) == (0, "", f"loadgen: metrics at {url}\n")


def test_a_port_that_is_taken(loadgen: Loadgen, busy: Busy) -> None:
    done = loadgen("watch", "--exporter", "127.0.0.1:9000", prefix=busy.enter)
    assert done.code == 3
    assert "cannot listen on 127.0.0.1:9000: Address already in use" in assert_one_message(done)


def test_a_condition_ends_it(loadgen: Loadgen, busy: Busy) -> None:
    done = loadgen("watch", "--exporter", "127.0.0.1:9435", "--fail-if", "used > 65%", prefix=busy.enter)
    assert (done.code, done.out) == (99, "")
    assert "--fail-if used > 65%: 70%, 7 of 10 ports" in done.err
