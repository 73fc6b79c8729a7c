"""The mistakes of a scenario: all of them, each with its place and its remedy."""

from __future__ import annotations

import random
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.errors import MISTAKES_MAX, ScenarioError
from loadgen.scenario import parse

from .support import SMALLEST, refusal, with_line

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


# --- Each mistake by itself -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "hint"),
    [
        ("name: small", "name: ../../x", 1, 7, "letter or digit first"),
        ("name: small", "name: ''", 1, 7, "1 to 64 letters"),
        ("name: small", "name: " + "x" * 65, 1, 7, "1 to 64 letters"),
        ("name: small", "name: é", 1, 7, "letters"),
        ("name: small", 'name: "a\\nb"', 1, 7, "letters"),
        ("name: small", "name: 42", 1, 7, "in quotes"),
        ("name: small\n", "", 1, 1, "name is missing"),
        ("connections: 100", "conections: 100", 4, 1, 'unknown key "conections"; did you mean "connections"?'),
        ("connections: 100", "zzz: 100", 4, 1, 'unknown key "zzz"; write one of name, description, lab,'),
        ("connections: 100", "connections: 100k", 4, 14, "100000"),
        ("connections: 100", "connections: 1e5", 4, 14, "100000"),
        ("connections: 100", 'connections: "100"', 4, 14, "whole number, 100"),
        ("connections: 100", "connections: 1.5", 4, 14, "whole number"),
        ("connections: 100", "connections: true", 4, 14, "whole number"),
        ("connections: 100", "connections: [1]", 4, 14, "whole number"),
        ("connections: 100", "connections: 0", 4, 14, "at least 1"),
        ("connections: 100", "connections: -1", 4, 14, "at least 1"),
        ("connections: 100", "connections: 10_000_001", 4, 14, "at most 10,000,000"),
        ("{addresses: 127.0.0.2}", "127.0.0.2", 2, 10, 'write a mapping, for example {"addresses"'),
        ("{addresses: 127.0.0.2}", "{adresses: 127.0.0.2}", 2, 11, 'sources: unknown key "adresses"; did you mean'),
        ("{addresses: 127.0.0.2}", "{}", 2, 10, "sources: addresses is missing"),
        ("127.0.0.2", "[]", 2, 22, "1 to 65,536 items"),
        ("127.0.0.2", "{a: b}", 2, 22, "write a list"),
        ("127.0.0.2", "[127.0.0.2, 7]", 2, 34, "in quotes"),
        ("127.0.0.2", "[127.0.0.2, 010.0.0.1]", 2, 34, "octal"),
        ("127.0.0.2", "0.0.0.0", 2, 22, "unspecified"),
        ("127.0.0.2", "'::'", 2, 22, "unspecified"),
        ("127.0.0.2", "224.0.0.1", 2, 22, "multicast"),
        ("127.0.0.2", "255.255.255.255", 2, 22, "broadcast"),
        ("127.0.0.2", "10.0.0.0/8", 2, 22, "65,536"),
        ("127.0.0.2", "'::/0'", 2, 22, "65,536"),
        ("127.0.0.2", "0.0.0.0/0", 2, 22, "65,536"),
        ("127.0.0.2", "[10.0.0.0/16, 10.1.0.1-3]", 2, 22, "at most 65,536 addresses in all, these are 65,537"),
        ("127.0.0.2", "'fd00::1%eth0'", 2, 22, "without a zone"),
        ("127.0.0.2", "'fe80::1'", 2, 22, "with the interface it belongs to"),
        ("127.0.0.2", "'fe80::1%\"><script>'", 2, 22, "name of an interface (its zone)"),
        (
            "127.0.0.2}",
            "127.0.0.2, strategy: late_range}",
            2,
            43,
            'unknown word "late_range"; did you mean "late-range"?',
        ),
        ("127.0.0.2}", "127.0.0.2, ports: 65536}", 2, 40, "1 to 65535"),
        ("127.0.0.2}", "127.0.0.2, ports: 9-5}", 2, 40, "5-9"),
        ('[{address: "127.0.0.1:9000"}]', "[]", 3, 10, "1 to 1,000 items"),
        ('[{address: "127.0.0.1:9000"}]', "x", 3, 10, 'write a list, for example [{"address"'),
        ('[{address: "127.0.0.1:9000"}]', "[127.0.0.1]", 3, 11, 'write a mapping, for example {"address"'),
        ('"127.0.0.1:9000"', '"::1"', 3, 21, "in brackets"),
        ('"127.0.0.1:9000"', "127.0.0.1", 3, 21, "address and port"),
        ('"127.0.0.1:9000"', "my_service:80", 3, 21, "write a host name of letters, digits and hyphens"),
        ('"127.0.0.1:9000"', "'x\"><script>:80'", 3, 21, "write a host name of letters, digits and hyphens"),
        ('"127.0.0.1:9000"', "'[fe80::1]:80'", 3, 21, "with the interface it belongs to"),
        ('"127.0.0.1:9000"', "127.0.0.1:9001-9000", 3, 21, "lower port first: 9000-9001"),
        ('"127.0.0.1:9000"', "127.0.0.1:9001-10001", 3, 21, "at most 1,000 in all targets"),
        ('"127.0.0.1:9000"', "127.0.0.1:80, weight: 0", 3, 43, "at least 1"),
        ('"127.0.0.1:9000"', "127.0.0.1:80, weight: 1001", 3, 43, "at most 1,000"),
        ('"127.0.0.1:9000"}', '"127.0.0.1:5-9"}, {address: "127.0.0.1:9-12"}', 3, 49, "127.0.0.1:9 is targets.0"),
        ('"127.0.0.1:9000"}', '"a.b:9"}, {address: "A.B:9"}', 3, 41, "a.b:9 is targets.0 already"),
        ("{addresses: 127.0.0.2}", "{addresses: 127.0.0.2, freebind: 1}", 2, 43, "write true or false"),
        ("127.0.0.2}", "127.0.0.2, strategy: kernel, freebind: true}", 2, 51, "freebind is for strategies that bind"),
        ('"127.0.0.1:9000"', '"[::1]:9000"', 3, 21, "no source address is IPv6"),
        ('"127.0.0.1:9000"', '"0.0.0.0:9000"', 3, 21, "unspecified"),
        ('"127.0.0.1:9000"', '"127.0.0.1:9000", sink: yes', 3, 45, "write true or false"),
        ('"127.0.0.1:9000"}', '"127.0.0.1:9"}, {address: "[::ffff:127.0.0.1]:9"}', 3, 47, "targets.0 already"),
    ],
)
def test_mistakes_in_what_must_be_there(old: str, new: str, line: int, column: int, hint: str) -> None:
    assert old in SMALLEST
    error = refusal(SMALLEST.replace(old, new, 1))
    assert hint in error.message
    assert (error.file, error.line, error.column) == ("s.yaml", line, column)


@pytest.mark.parametrize(
    ("text", "column", "hint"),
    [
        ("description: 5", 14, "in quotes"),
        ("hold: 30", 7, "write 30s, 2m or 500ms; got 30"),
        ("hold: -1s", 7, "write 30s"),
        ("hold: inf", 7, "write 30s"),
        ("hold: .inf", 7, "finite"),
        ("hold: 8761h", 7, "from 0s to 8760h"),
        ("hold:", 1, '"hold" has no value'),
        ("timeout: 0s", 10, "from 1ms to 1h"),
        ("timeout: 61m", 10, "from 1ms to 1h"),
        ("interval: 10ms", 11, "from 50ms to 1m"),
        ("interval: 2m", 11, "from 50ms to 1m"),
        ("close: rts", 8, 'unknown word "rts"; did you mean "rst"?'),
        ("close: target", 8, "write sink: true at every target"),
        ("close: [fin]", 8, "write one of fin, rst"),
        ("in_flight: 0", 12, "at least 1"),
        ("in_flight: 65537", 12, "at most 65,536"),
        ("lab: loopback", 6, 'write a mapping, for example {"topology": "loopback"}'),
        ("lab: {topology: vent}", 17, 'did you mean "veth"?'),
        ("lab: {sysctls: []}", 16, "write a mapping"),
        ("lab: {sysctls: {kernel.pid_max: 5}}", 17, "only settings of a network namespace"),
        ("lab: {sysctls: {net.ipv4/x: 5}}", 17, "only settings of a network namespace"),
        ("lab: {sysctls: {net..x: 5}}", 17, "only settings of a network namespace"),
        ("lab: {sysctls: {net: 5}}", 17, "only settings of a network namespace"),
        ("lab: {sysctls: {net.a: true}}", 24, "number or one line of text"),
        ("lab: {sysctls: {net.a: 1.5}}", 24, "number or one line of text"),
        ("lab: {sysctls: {net.a: [1]}}", 24, "number or one line of text"),
        ('lab: {sysctls: {net.a: "1\\n2"}}', 24, "number or one line of text"),
        ("lab: {fallback: hst}", 17, 'did you mean "host"?'),
        ("arrival: 20000/s", 10, 'write a mapping, for example {"rate": "20000/s"'),
        ("arrival: {}", 10, "either rate"),
        ("arrival: {ramp: 5s}", 10, "either rate"),
        ("arrival: {rate: 1/s, stages: [{to: 1/s, over: 1s}]}", 10, "either rate"),
        ("arrival: {ramp: 1s, stages: [{to: 1/s, over: 1s}]}", 17, "ramp goes with rate"),
        ("arrival: {rate: 20000}", 17, "write 20000/s"),
        ("arrival: {rate: 1.5k/s}", 17, "write 1500/s"),
        ("arrival: {rate: 0/s}", 17, "above 0/s"),
        ("arrival: {rate: 1/s, ramp: 5}", 28, "write 30s"),
        ("arrival: {stages: []}", 19, "1 to 1,000 items"),
        ("arrival: {stages: [{to: 1/s}]}", 20, "over is missing"),
        ("arrival: {stages: [{to: 1/s, over: 0s}]}", 36, "from 1ms"),
        ("arrival: {stages: [{too: 1/s, over: 1s}]}", 21, 'unknown key "too"; did you mean "to"?'),
        ("arrival: {stages: [{to: 1/s, over: 1s}, {to: 0/s, over: 1s}]}", 46, "the last rate must be above 0/s"),
        ("expect: outcomes.failed == 0", 9, "write a list"),
        ("expect: [outcomes.failed = 0]", 10, "as in outcomes.failed == 0"),
        ("expect: [a == 1, 5]", 18, "as in outcomes.failed == 0"),
        ("hold_s: 30s", 1, 'did you mean "hold"?'),
        ("name: again", 1, "twice, first at 1:1"),
        ('"\\e": 1', 1, "U+001B"),
        ("x: !!python/object:os.system y", 4, "tags"),
    ],
)
def test_mistakes_in_the_rest(text: str, column: int, hint: str) -> None:
    error = refusal(with_line(text))
    assert hint in error.message
    assert (error.file, error.line, error.column) == ("s.yaml", 5, column)


@pytest.mark.parametrize(
    ("setting", "hint"),
    [
        ("connections=100k", "100000"),
        ("conections=5", 'did you mean "connections"?'),
        ("lab.topologie=loopback", 'did you mean "topology"?'),
        ("lab.sysctls.kernel.x=1", "only settings of a network namespace"),
        ("targets.0.address=::1", "in brackets"),
        ("targets.0={}", "address is missing"),
        ("arrival={rate: 5}", "write 5/s"),
        ("lab=", "write a value"),
        ("sources.addresses=10.0.0.0/8", "65,536"),
        ("targets.3.sink=true", "list of 1"),
    ],
)
def test_a_mistake_in_an_override_points_at_it(setting: str, hint: str) -> None:
    error = refusal(SMALLEST, setting)
    assert hint in error.message
    assert (error.file, error.line, error.column) == (f"--set {setting}", 0, 0)
    assert str(error).startswith(f"--set {setting}: ")
