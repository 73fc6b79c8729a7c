"""The text of a scenario: valid, with the reason of each value before it, and harmless whatever the evidence says."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loadgen.errors import ExitCode
from loadgen.model import PortRange
from loadgen.reproduce.circumstances import Circumstances
from loadgen.reproduce.rebuilt import NotReproducibleError
from loadgen.reproduce.writing import write
from loadgen.scenario import parse

from .situations import ANY

TICKET = Circumstances(
    "four-tuples",
    fails=("connect", "EADDRNOTAVAIL"),
    sources=("10.0.0.5",),
    targets=("10.0.0.7:443",),
    ports=PortRange(32768, 60999),
    sysctls={"net.ipv4.tcp_tw_reuse": "0"},
    because={
        "limit": "ticket.txt:9",
        "fails": "ticket.txt:9: connect() failed (99)",
        "sources": "ticket.txt:12",
        "targets": "ticket.txt:12",
        "ports": "ticket.txt:3",
        "sysctls": "ticket.txt:4",
    },
)


def comment_of(text: str, line: str) -> str:
    """The comment before a line, on one line."""
    lines = text.splitlines()
    end = next(number for number, found in enumerate(lines) if found.strip() == line)
    comments: list[str] = []
    for found in reversed(lines[:end]):
        if not found.strip().startswith("#"):
            break
        comments.insert(0, found.strip().removeprefix("# "))
    return " ".join(comments)


@pytest.mark.parametrize(
    ("line", "comment"),
    [
        ("net.ipv4.ip_local_port_range: 40000 40099", "ticket.txt:3; 32768 60999 there"),
        ("net.ipv4.tcp_tw_reuse: 0", "ticket.txt:4"),
        ("addresses: 127.0.0.1", "ticket.txt:12; here an address of the lab"),
        ("strategy: kernel", "chosen here: the usual way that ends with connect EADDRNOTAVAIL"),
        ("- address: 127.0.0.1:443", "ticket.txt:12; here an address of the lab"),
        ("connections: 120", "chosen here: a fifth more than the 100 that fit"),
        ("- errors.connect.EADDRNOTAVAIL >= 1", "ticket.txt:9: connect() failed (99)"),
        ("- verdict.limit == four-tuples", "ticket.txt:9"),
    ],
)
def test_each_value_has_its_reason_before_it(line: str, comment: str) -> None:
    assert comment_of(write(TICKET), line) == comment


def test_the_description_says_what_was_scaled() -> None:
    assert "100 ports instead of 28,232" in parse(write(TICKET)).description
    assert "instead of" not in parse(write(TICKET, full_size=True)).description


def test_every_fact_may_be_known_and_none_need_be() -> None:
    """A field that is added is one that the strategy of the tests has to make."""
    made = set(ANY.wrapped_strategy.kwargs)  # type: ignore[attr-defined]  # of st.builds
    assert made == {field.name for field in fields(Circumstances)}


def test_a_limit_without_a_recipe_is_refused() -> None:
    with pytest.raises(NotReproducibleError, match='"in-flight" cannot be rebuilt') as caught:
        write(Circumstances("in-flight"))
    assert caught.value.exit_code == ExitCode.USAGE
    with pytest.raises(NotReproducibleError, match=r'"\\x1b\[31m'):
        write(Circumstances("\x1b[31m" * 50))


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(ANY, st.booleans())
def test_any_situation_gives_a_scenario_or_a_reason(circumstances: Circumstances, full_size: bool) -> None:
    """Numbers too large or not there, addresses that are none, hostile text: what is written can be read again."""
    refusal = ""
    try:
        text = write(circumstances, full_size=full_size)
    except NotReproducibleError as error:
        text, refusal = "", str(error)
    assert refusal.isprintable()
    assert refusal or parse(text).name == f"reproduce-{circumstances.limit}"
    assert re.fullmatch(r"[^\x00-\x09\x0b-\x1f\x7f]*", text)
