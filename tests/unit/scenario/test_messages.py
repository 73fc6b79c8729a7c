"""The mistakes of a scenario: all of them, each with its place and its remedy."""

from __future__ import annotations

import random
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.errors import MISTAKES_MAX, ScenarioError
from loadgen.scenario import parse

VALID: Final = {
    "name": "name: small",
    "lab": "lab: {topology: loopback, sysctls: {net.ipv4.tcp_tw_reuse: 1}}",
    "sources": "sources: {addresses: [127.0.0.2], strategy: late}",
    "targets": 'targets: [{address: "127.0.0.1:9000", sink: true}]',
    "connections": "connections: 100",
    "hold": "hold: 30s",
    "timeout": "timeout: 3s",
    "close": "close: rst",
    "in_flight": "in_flight: 256",
    "arrival": "arrival: {rate: 20000/s}",
    "expect": "expect: [outcomes.failed == 0]",
    "description": "description: text",
}
#: One line of the scenario with a mistake in it, and a part of what is said about it.
MISTAKES: Final = {
    "name": ("name: ../x", "name: write 1 to 64 letters"),
    "lab": ("lab: {topology: vent, sysctls: {net.ipv4.tcp_tw_reuse: 1}}", 'lab.topology: unknown word "vent"'),
    "sources": ("sources: {addresses: [010.0.0.1], strategy: late}", "sources.addresses.0: "),
    "targets": ('targets: [{address: "127.0.0.1", sink: true}]', "targets.0.address: "),
    "connections": ("connections: 1e5", "connections: write a whole number, 100000"),
    "hold": ("hold: 30", "hold: write 30s, 2m or 500ms"),
    "timeout": ("timeout: 2h", "timeout: write a duration from 1ms to 1h"),
    "close": ("close: rts", 'did you mean "rst"?'),
    "in_flight": ("in_flight: 0", "in_flight: write at least 1"),
    "arrival": ("arrival: {rate: 20000}", "arrival.rate: write 20000/s"),
    "expect": ("expect: [outcomes.failed = 0]", "expect.0: write PATH OP VALUE"),
    "description": ("descriptoin: text", 'unknown key "descriptoin"; did you mean "description"?'),
}
assert MISTAKES.keys() == VALID.keys()


def refused(text: str, *overrides: str) -> ScenarioError:
    with pytest.raises(ScenarioError) as caught:
        parse(text, "s.yaml", overrides)
    assert caught.value.mistakes[0].message == caught.value.message
    return caught.value


def places(error: ScenarioError) -> list[tuple[str, int]]:
    return [(mistake.file, mistake.line) for mistake in error.mistakes]


@settings(max_examples=60)
@given(st.sets(st.sampled_from(sorted(VALID)), min_size=1), st.randoms(use_true_random=False))
def test_every_mistake_is_shown_in_the_order_of_the_file(wrong: set[str], order: random.Random) -> None:
    """Any of them, in a file in any order."""
    keys = order.sample(sorted(VALID), len(VALID))
    error = refused("\n".join(MISTAKES[key][0] if key in wrong else VALID[key] for key in keys) + "\n")
    expected = [(line, MISTAKES[key][1]) for line, key in enumerate(keys, 1) if key in wrong]
    lines = str(error).split("\n")
    assert places(error) == [("s.yaml", line) for line, _ in expected]
    assert len(lines) == len(expected)
    for shown, (line, message) in zip(lines, expected, strict=True):
        assert shown.startswith(f"s.yaml:{line}:")
        assert message in shown
        assert shown.isprintable()


@settings(max_examples=30)
@given(st.sets(st.sampled_from(sorted(VALID)), min_size=1))
def test_those_of_the_command_line_too(wrong: set[str]) -> None:
    """A mistake of --set is shown beside those of the file, and hides what the file says for its key."""
    text = "\n".join(VALID.values())
    error = refused(text.replace("hold: 30s", "hold: soon"), "connections=0", "targets.7.sink=true", "name", "x=[")
    assert places(error)[-1] == ("s.yaml", 6)
    assert sorted(file for file, line in places(error)[:-1]) == [
        "--set connections=0",
        "--set name",
        "--set targets.7.sink=true",
        "--set x=[",
    ]
    overrides = [MISTAKES[key][0].replace(": ", "=", 1) for key in sorted(wrong)]
    assert {file for file, _ in places(refused(text, *overrides))} == {f"--set {override}" for override in overrides}


def test_beyond_twenty_the_number_of_the_others_is_shown() -> None:
    text = "\n".join([*VALID.values(), *(f"unknown{number}: 1" for number in range(25))])
    error = refused(text)
    *lines, last = str(error).split("\n")
    assert (len(lines), last, len(error.mistakes)) == (MISTAKES_MAX, "and 5 more mistakes", 25)
    one_more = "\n".join([*VALID.values(), *(f"unknown{number}: 1" for number in range(21))])
    assert str(refused(one_more)).endswith("\nand 1 more mistake")
    exactly = "\n".join([*VALID.values(), *(f"unknown{number}: 1" for number in range(20))])
    assert "more mistake" not in str(refused(exactly))


def test_a_key_with_a_slip_in_it_is_not_missing_as_well() -> None:
    error = refused("nam: x\nsources: {adresses: 127.0.0.2}\nconnections: 1\n")
    assert [mistake.message.partition(";")[0] for mistake in error.mistakes] == [
        'unknown key "nam"',
        'sources: unknown key "adresses"',
        "targets is missing",
    ]


def test_keys_that_do_not_agree_are_all_shown() -> None:
    """Once each of them is right by itself: before that nothing can be said about them together."""
    text = """\
name: x
lab: {topology: veth, fallback: host}
sources: {addresses: 127.0.0.2}
targets: [{address: "198.19.0.1:9000", sink: true}, {address: "127.0.0.1:9001"}]
churn: {duration: 1s}
hold: 1s
engine: io_uring
"""
    assert places(refused(text)) == [("s.yaml", line) for line in (2, 2, 3, 4, 4, 6, 7)]
    assert places(refused(text.replace("name: x", "name: ''"))) == [("s.yaml", 1)]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("lab: {sysctls: {kernel.a: 1, net.b: true, net.c: 1}}", 2),
        ("lab: {}\nprobes: [{name: a, when: hold, kind: listen, count: 2, sink: true}]", 3),
        ("lab: {}\nmatrix: {repeat: [1], hold: [], close: [fin, fin]}", 3),
        ("lab: {}\nmatrix: {hold: [soon, 1s], timeout: [1s, late]}", 2),
        ("lab: {}\nrepeat: 2\nexpect: [cells.0.open.lost == 0, cells.1.open.lost == 0, cells.x.open.lost == 0]", 2),
    ],
)
def test_those_of_one_section_are_all_shown(text: str, lines: int) -> None:
    smallest = "\n".join(VALID[key] for key in ("name", "sources", "targets", "connections"))
    assert len(refused(f"{smallest}\n{text}\n").mistakes) == lines


@pytest.mark.parametrize("text", ["name: x\nhold: 5\nname: y\n", "hold: 5\nlab: {\n", "hold: 5\nin_flight: 0\nlab:\n"])
def test_what_is_not_yaml_as_it_is_read_here_is_shown_alone(text: str) -> None:
    assert len(refused(text).mistakes) == 1
