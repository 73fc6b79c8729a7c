"""How the HTTP sink is measured: what wrk says, and processor time."""

from __future__ import annotations

import os
import time

import pytest

from bench.http_sink import cpu_s, parse_wrk
from loadgen.errors import LoadgenError

SAID = """Running 2s test @ http://127.0.0.1:9000/
  1 threads and 64 connections
  148896 requests in 3.02s, 18.32MB read
Requests/sec:  49378.82
Transfer/sec:      6.07MB
"""


def test_wrk_says_how_many_and_how_fast() -> None:
    assert parse_wrk(SAID) == (148_896, 49_378.82)


@pytest.mark.parametrize(
    "text",
    [
        "",
        SAID + "  Non-2xx or 3xx responses: 1\n",
        SAID + "  Socket errors: connect 0, read 1, write 0, timeout 0\n",
        SAID.replace("148896", "0"),
    ],
)
def test_answers_that_are_missing_or_wrong_are_no_measurement(text: str) -> None:
    with pytest.raises(LoadgenError):
        parse_wrk(text)


def test_processor_time_is_that_of_the_process_and_those_below() -> None:
    used_s = time.process_time()
    assert cpu_s(os.getpid()) == pytest.approx(used_s, abs=0.5)
