"""From scenario text to Scenario: every key, every mistake with its place and its remedy."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from loadgen import scenario
from loadgen.errors import ExitCode, ScenarioError
from loadgen.model import (
    CloseMode,
    Endpoint,
    PortRange,
    Probe,
    ProbeKind,
    ProbeWhen,
    Stage,
    Strategy,
    Target,
    Topology,
    Transport,
)
from loadgen.scenario import Fallback, Scenario, messages, parse
from loadgen.scenario.expect import Expectation

SMALLEST = """\
name: small
sources: {addresses: 127.0.0.2}
targets: [{address: "127.0.0.1:9000"}]
connections: 100
"""

EVERYTHING = """\
name: hold-100k
description: a hundred thousand, held
lab:
  topology: loopback
  fallback: host
  sysctls:
    net.ipv4.tcp_tw_reuse: 1
    net.ipv4.ip_local_port_range: 1024 65535
sources:
  addresses: [127.0.0.2-4, 127.0.1.0/30, "::ffff:127.0.0.3"]
  strategy: explicit
  ports: 40000-40099
targets:
  - address: 127.0.0.1:9000
    sink: true
  - address: "[::ffff:127.0.0.1]:9001"
connections: 100_000
arrival: {rate: 20000/s, ramp: 5s}
hold: 1m30s
timeout: 3s
interval: 250ms
close: rst
in_flight: 1024
expect:
  - outcomes.failed == 0
  - errors.connect.EADDRNOTAVAIL <= 1_000
"""


def refusal(text: str, *overrides: str) -> ScenarioError:
    with pytest.raises(ScenarioError) as caught:
        parse(text, "s.yaml", overrides)
    assert str(caught.value).isprintable(), "one line"
    assert len(str(caught.value)) < 500
    for word in ("Input should", "pydantic", "validation error", "Value error"):
        assert word not in str(caught.value)
    return caught.value


def with_line(line: str) -> str:
    """The smallest scenario and one more line, which is line 5."""
    return SMALLEST + line + "\n"


def test_the_smallest_scenario_has_these_defaults() -> None:
    found = parse(SMALLEST)
    assert (found.name, found.description, found.lab, found.arrival) == ("small", "", None, None)
    assert (found.hold_s, found.timeout_s, found.interval_s) == (0.0, 10.0, 0.5)
    assert (found.close, found.in_flight, found.expect) == (CloseMode.FIN, 256, ())
    assert (found.sources.strategy, found.sources.ports) == (Strategy.LATE_RANGE, None)
    assert not found.targets[0].sink


def test_everything_that_can_be_written() -> None:
    found = parse(EVERYTHING)
    assert found.lab is not None
    assert (found.lab.topology, found.lab.fallback) == (Topology.LOOPBACK, Fallback.HOST)
    assert found.lab.sysctls == {"net.ipv4.tcp_tw_reuse": 1, "net.ipv4.ip_local_port_range": "1024 65535"}
    assert found.sources.expanded == ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.1.1", "127.0.1.2")
    assert (found.sources.strategy, found.sources.ports) == (Strategy.EXPLICIT, PortRange(40000, 40099))
    assert [target.endpoint for target in found.every_target] == [
        Endpoint("127.0.0.1", 9000),
        Endpoint("127.0.0.1", 9001),
    ]
    assert [target.sink for target in found.targets] == [True, False]
    assert found.connections == 100_000
    assert found.arrival is not None
    assert found.arrival.stages == (Stage(0.0, 20_000.0, 5.0), Stage(20_000.0, 20_000.0, None))
    assert (found.hold_s, found.timeout_s, found.interval_s) == (90.0, 3.0, 0.25)
    assert (found.close, found.in_flight) == (CloseMode.RST, 1024)
    assert found.expect[1] == Expectation(
        "errors.connect.EADDRNOTAVAIL", "<=", 1000.0, "errors.connect.EADDRNOTAVAIL <= 1_000"
    )


def test_a_scenario_cannot_be_changed() -> None:
    found = parse(EVERYTHING)
    with pytest.raises(ValidationError):
        found.connections = 5
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.expect[0].value = 5  # type: ignore[misc] # that it cannot is the test


def test_interfaces_stay_names() -> None:
    found = parse(SMALLEST.replace("127.0.0.2", "[eth0, 10.0.0.1, br-lan, eth0]"))
    assert found.sources.interfaces == ("eth0", "br-lan")
    assert found.sources.expanded == ("10.0.0.1",)


@pytest.mark.parametrize(
    ("arrival", "stages"),
    [
        ("{rate: 600/min}", (Stage(10, 10, None),)),
        ("{rate: 10/s, ramp: 0s}", (Stage(10, 10, None),)),
        ("{stages: [{to: 5/s, over: 1s}]}", (Stage(0, 5, 1), Stage(5, 5, None))),
        (
            "{stages: [{from: 2/s, to: 0/s, over: 1s}, {to: 4/s, over: 2s}, {from: 1/s, to: 1/s, over: 500ms}]}",
            (Stage(2, 0, 1), Stage(0, 4, 2), Stage(1, 1, 0.5), Stage(1, 1, None)),
        ),
    ],
)
def test_arrivals(arrival: str, stages: tuple[Stage, ...]) -> None:
    found = parse(with_line(f"arrival: {arrival}"))
    assert found.arrival is not None
    assert found.arrival.stages == stages


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
    ("source", "target", "allowed"),
    [
        ("127.0.0.2", "127.0.0.1:9", True),
        ("127.0.0.0/24", "127.255.0.1:9", True),
        ("[127.0.0.2, 10.0.0.1]", "127.0.0.1:9", False),
        ("127.0.0.2", "10.0.0.1:9", False),
        ("[127.0.0.2, lo]", "127.0.0.1:9", False),
        ("'::1'", "'[::1]:9'", False),
        ("126.255.255.255-127.0.0.5", "127.0.0.1:9", False),
    ],
)
def test_the_fallback_to_the_host_stays_on_its_loopback(source: str, target: str, allowed: bool) -> None:
    text = f"""\
name: x
connections: 1
lab: {{fallback: host}}
sources: {{addresses: {source}}}
targets: [{{address: {target}}}]
"""
    if allowed:
        assert parse(text)
        return
    error = refusal(text)
    assert "127.0.0.0/8" in error.message
    assert (error.line, error.column) == (3, 17)


def test_families_must_be_able_to_meet() -> None:
    both = SMALLEST.replace("127.0.0.2", "[127.0.0.2, '::1']")
    assert parse(both.replace('"127.0.0.1:9000"', '"[::1]:80"')).every_target[0].endpoint == Endpoint("::1", 80)
    only_six = SMALLEST.replace("127.0.0.2", "'::1'")
    assert "no source address is IPv4" in refusal(only_six).message
    assert parse(only_six.replace("'::1'", "eth0")), "what eth0 has is not known here"


@pytest.mark.parametrize("count", [1, 65_536])
def test_the_limit_of_addresses_can_be_reached(count: int) -> None:
    found = parse(SMALLEST.replace("127.0.0.2}", f"10.0.0.0-10.0.{(count - 1) >> 8}.{(count - 1) & 255}}}"))
    assert len(found.sources.expanded) == count


def test_overrides_go_through_the_same_checks() -> None:
    settings_ = [
        "connections=1_000",
        "lab.sysctls.net.ipv4.tcp_tw_reuse=1",
        "targets.0.address=127.0.0.1:80",
        "hold=2m",
    ]
    found = parse(SMALLEST, overrides=settings_)
    assert (found.connections, found.hold_s) == (1000, 120.0)
    assert found.every_target[0].endpoint == Endpoint("127.0.0.1", 80)
    assert found.lab is not None
    assert found.lab.sysctls == {"net.ipv4.tcp_tw_reuse": 1}


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


def test_a_later_override_wins() -> None:
    assert parse(SMALLEST, overrides=["connections=1", "connections=2"]).connections == 2


def test_a_file_is_loaded_under_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(EVERYTHING, encoding="utf-8")
    assert scenario.load(path) == parse(EVERYTHING)
    assert scenario.load(path, ["connections=7"]).connections == 7
    path.write_text("name: 5", encoding="utf-8")
    with pytest.raises(ScenarioError) as caught:
        scenario.load(path)
    assert str(caught.value).startswith(f"{path}:1:7: ")
    assert caught.value.exit_code is ExitCode.USAGE


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("missing.yaml", "no such file"),
        (".", "is a directory"),
        ("x\0y", "cannot be read"),
        ("a\n\x1b.yaml", "no such"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, hint: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        scenario.load(tmp_path / name)
    assert hint in caught.value.message
    assert str(tmp_path) in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_huge_file_is_not_read_to_its_end() -> None:
    with pytest.raises(ScenarioError, match="larger than 256 KiB"):
        scenario.load(Path("/dev/zero"))


def test_bytes_that_are_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(b"name: x\nhold: \xff")
    with pytest.raises(ScenarioError, match=r":2:7: byte 0xff is not UTF-8"):
        scenario.load(path)


VALUES: Any = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["30s", "5/s", "::1", "eth0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["rate", "to", "address"]), inner),
    max_leaves=6,
)
KEYS = st.sampled_from([*messages.fields_of(()), "unknown", "lab.sysctls.net.x", "targets.0.address", "sources.ports"])


@settings(max_examples=200)
@given(st.lists(st.tuples(KEYS, VALUES), max_size=3))
def test_any_value_anywhere_is_taken_or_refused_and_nothing_else(pairs: list[tuple[str, Any]]) -> None:
    try:
        found = parse(SMALLEST, overrides=[f"{key}={json.dumps(value)}" for key, value in pairs])
    except ScenarioError as error:
        text = str(error)
    else:
        text = repr(found.name)
        assert len(found.sources.expanded) <= 65_536
    assert all(line.isprintable() for line in text.split("\n"))


@settings(max_examples=100)
@given(st.text(max_size=200))
def test_any_text_is_taken_or_refused_and_nothing_else(text: str) -> None:
    for whole in (text, SMALLEST + text):
        try:
            parse(whole)
        except ScenarioError as error:
            message = str(error)
        else:
            message = ""
        assert all(line.isprintable() for line in message.split("\n"))


def test_the_schema_knows_every_key_by_its_name_in_the_file() -> None:
    schema = scenario.json_schema()
    assert json.loads(json.dumps(schema)) == schema
    assert set(schema["properties"]) == set(messages.fields_of(()))
    assert schema["required"] == ["name", "sources", "targets"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["hold"]["default"] == "0s"
    assert schema["properties"]["timeout"]["default"] == "10s"
    assert set(schema["$defs"]["StageSpec"]["properties"]) == {"from", "to", "over"}
    assert '"null"' not in json.dumps(schema)
    for key, described in schema["properties"].items():
        assert "description" in described or "$ref" in described, key


@pytest.mark.parametrize("model", messages.MODELS.values())
def test_every_example_and_default_of_the_schema_is_valid(model: type[Any]) -> None:
    """An editor offers these, so they must be accepted, each in an otherwise valid scenario."""
    for name, field in model.model_fields.items():
        for example in field.examples or ():
            if model is Scenario:
                key = field.alias or name
                smallest = SMALLEST.replace("connections: 100\n", "") if key == "churn" else SMALLEST
                assert parse(smallest, overrides=["lab={}", f"{key}={json.dumps(example)}"])


def test_the_documentation_names_every_key() -> None:
    text = (Path(__file__).parents[3] / "docs" / "scenario.md").read_text(encoding="utf-8")
    for model in messages.MODELS.values():
        for name, field in model.model_fields.items():
            assert f"`{field.alias or name}`" in text, f"{model.__name__}.{name}"


def test_the_example_of_the_documentation_is_valid() -> None:
    text = (Path(__file__).parents[3] / "docs" / "scenario.md").read_text(encoding="utf-8")
    examples = [part.split("```")[0] for part in text.split("```yaml\n")[1:]]
    whole = [example for example in examples if example.startswith("name:")]
    assert whole
    for example in whole:
        assert parse(example)


# --- Probes, and targets with a behaviour ---------------------------------------------------------------

PROBED = """\
name: small
sources: {addresses: 127.0.0.2}
targets: [{address: "127.0.0.1:9000"}]
connections: 10
lab: {}
probes:
"""


def test_a_probe_has_these_defaults() -> None:
    found = parse(PROBED + "  - {name: somebody-else, when: hold}")
    (spec,) = found.probes
    assert found.probe(spec, PortRange(5, 6)) == Probe(
        name="somebody-else",
        when=ProbeWhen.HOLD,
        kind=ProbeKind.CONNECT,
        count=1,
        strategy=Strategy.KERNEL,
        source="",
        target=Endpoint("127.0.0.1", 9000),
        sink=False,
        ports=PortRange(5, 6),
        uid=None,
        reuseaddr=False,
    )


def test_everything_of_a_probe() -> None:
    found = parse(
        PROBED + '  - {name: a, when: after, count: 1000, strategy: explicit, source: "::1", target: "[::1]:9001", '
        "sink: true, ports: 40000-40019, uid: 65534}\n"
        "  - {name: b, when: hold, kind: restart, ports: 9100, reuseaddr: true}"
    )
    first, second = (found.probe(spec, PortRange(5, 6)) for spec in found.probes)
    assert (first.target, first.source, first.ports) == (Endpoint("::1", 9001), "::1", PortRange(40_000, 40_019))
    assert (first.uid, first.sink, first.count) == (65534, True, 1000)
    assert (second.kind, second.ports, second.reuseaddr) == (ProbeKind.RESTART, PortRange(9100, 9100), True)


@pytest.mark.parametrize(
    ("probes", "message"),
    [
        ("{name: a}", "when is missing"),
        ("{name: a.b, when: hold}", "digits, underscores or hyphens"),
        ("{name: a, when: hold, count: 1001}", "at most 1,000"),
        ("{name: a, when: hold, kind: lisen}", "listen"),
        ("{name: a, when: hold, kind: listen}", "listens on one port"),
        ("{name: a, when: hold, kind: restart, ports: 1-2}", "listens on one port"),
        ("{name: a, when: hold, kind: restart, ports: 1, count: 2}", "has no count"),
        ("{name: a, when: hold, reuseaddr: true}", "about listeners"),
        ("{name: a, when: hold, source: 127.0.0.2}", "strategy kernel chooses by itself; leave source out"),
        ("{name: a, when: hold, strategy: late}", "add source"),
        ("{name: a, when: hold, strategy: late, source: 127.0.0.2, ports: 1-2}", "cannot keep to ports"),
        ('{name: a, when: hold, strategy: late, source: "::1"}', "not of one family"),
        ("{name: a, when: hold, strategy: late, source: 127.0.0.0/30}", "write one address"),
        ("{name: a, when: hold, strategy: late, source: eth0}", "write one address"),
        ("{name: a, when: hold, uid: -1}", "at least 0"),
        ("{name: a, when: hold}\n  - {name: a, when: after}", "probes.0 has that name already"),
    ],
)
def test_probes_that_cannot_be(probes: str, message: str) -> None:
    assert message in str(refusal(f"{PROBED}  - {probes}"))


@pytest.mark.parametrize("lab", ["", "lab: {fallback: host}"])
def test_probes_are_for_labs(lab: str) -> None:
    text = PROBED.replace("lab: {}", lab) + "  - {name: a, when: hold}"
    assert "probes are for labs" in str(refusal(text))


def test_a_sink_with_behaviours() -> None:
    text = SMALLEST.replace('9000"', '9000", sink: true, {}')
    assert parse(text.replace("{}", "backlog: 9, accept: false")).every_target[0] == Target(
        Endpoint("127.0.0.1", 9000), sink=True, backlog=9, accept_after_s=None
    )
    assert parse(text.replace("{}", "accept_after: 2s")).every_target[0].accept_after_s == 2.0
    assert "write one of the two" in str(refusal(text.replace("{}", "accept: false, accept_after: 2s")))
    for key in ("backlog: 9", "accept: false", "accept_after: 2s"):
        assert "write sink: true" in str(refusal(SMALLEST.replace('9000"', f'9000", {key}')))


# --- Where targets are ------------------------------------------------------------------------------

NAMED = """\
name: named
sources: {addresses: 127.0.0.2}
targets:
  - {address: "redis.internal:6379-6380", weight: 3, sink: true}
  - {address: "127.0.0.1:9000-9002"}
  - {address: "redis.internal:7000"}
connections: 10
"""


def test_a_target_is_one_for_each_port_and_each_address_of_its_name() -> None:
    found = parse(NAMED)
    assert found.names == ("redis.internal",)
    resolved = found.resolved({"redis.internal": ["10.0.0.5", "fd00::5"]})
    assert [(str(one.endpoint), one.weight, one.sink, one.host) for one in resolved.every_target] == [
        ("10.0.0.5:6379", 3, True, "redis.internal"),
        ("10.0.0.5:6380", 3, True, "redis.internal"),
        ("[fd00::5]:6379", 3, True, "redis.internal"),
        ("[fd00::5]:6380", 3, True, "redis.internal"),
        ("127.0.0.1:9000", 1, False, ""),
        ("127.0.0.1:9001", 1, False, ""),
        ("127.0.0.1:9002", 1, False, ""),
        ("10.0.0.5:7000", 1, False, "redis.internal"),
        ("[fd00::5]:7000", 1, False, "redis.internal"),
    ]


def test_a_name_that_nobody_has_resolved_is_no_target() -> None:
    found = parse(NAMED)
    found.resolved({"redis.internal": ["10.0.0.5"]})
    with pytest.raises(KeyError):
        assert found.every_target


def test_mapped_addresses_are_the_ipv4_addresses_they_carry() -> None:
    text = SMALLEST.replace("127.0.0.2", "['::ffff:127.0.0.2-::ffff:127.0.0.3', '::ffff:127.0.1.0/126']")
    found = parse(text.replace("127.0.0.1:9000", "[::ffff:127.0.0.1]:9000-9001"))
    assert found.sources.expanded == ("127.0.0.2", "127.0.0.3", "127.0.1.1", "127.0.1.2")
    assert [str(one.endpoint) for one in found.every_target] == ["127.0.0.1:9000", "127.0.0.1:9001"]


def test_a_link_local_address_keeps_its_zone() -> None:
    text = SMALLEST.replace("127.0.0.2", "'FE80::2%eth0'").replace("127.0.0.1:9000", "[fe80::1%eth0]:9000")
    found = parse(text)
    assert found.sources.expanded == ("fe80::2%eth0",)
    assert found.sources.interfaces == ()
    assert found.every_target[0].endpoint == Endpoint("fe80::1%eth0", 9000)


@pytest.mark.parametrize(
    ("lab", "address", "reason"),
    [
        ("", "10.0.0.5", ""),
        ("lab: {}", "127.0.0.9", ""),
        ("lab: {}", "::1", ""),
        ("lab: {}", "10.0.0.5", "leads nowhere"),
        ("lab: {fallback: host}", "127.9.9.9", ""),
        ("lab: {fallback: host}", "::1", "127.0.0.0/8"),
    ],
)
def test_what_a_name_may_turn_out_to_be_in_a_lab(lab: str, address: str, reason: str) -> None:
    misfit = parse(NAMED + lab).misfit(address)
    assert reason in misfit
    assert bool(reason) == bool(misfit)


def test_what_a_name_may_turn_out_to_be_across_a_cable() -> None:
    text = """
name: named
lab: {topology: veth}
sources: {addresses: 198.18.0.1-2}
targets: [{address: "redis.internal:6379", sink: true}]
connections: 10
"""
    found = parse(text)
    assert found.misfit("198.18.0.3") == ""
    assert "on the other end already" in found.misfit("198.18.0.2")
    assert "198.18.0.0/15" in found.misfit("127.0.0.1")


@pytest.mark.parametrize(("source", "target"), [("127.0.0.3", "127.0.0.1:6379"), ("", "[::1]:6379")])
def test_a_probe_takes_the_first_address_of_its_own_family(source: str, target: str) -> None:
    text = PROBED.replace("127.0.0.1:9000", "redis.internal:6379").replace("127.0.0.2", "[127.0.0.2, '::1']")
    text += f"  - {{name: a, when: hold{f', strategy: late, source: {source}' if source else ''}}}"
    found = parse(text).resolved({"redis.internal": ["::1", "127.0.0.1"]})
    assert str(found.probe(found.probes[0], PortRange(1, 2)).target) == target


# transport: udp: what goes with it, and what is refused, with the change that mends it.

UDP = """name: small
lab: {}
sources: {addresses: 127.0.0.2}
targets: [{address: "127.0.0.1:9000", sink: true}]
connections: 10
transport: udp
"""


def udp_changed(old: str, new: str) -> Scenario:
    assert old in UDP
    return parse(UDP.replace(old, new, 1), "s.yaml", ())


def test_tcp_is_what_it_is_without_a_word() -> None:
    assert udp_changed("transport: udp\n", "").transport is Transport.TCP
    assert parse(UDP, "s.yaml", ()).transport is Transport.UDP


@pytest.mark.parametrize("strategy", [strategy for strategy in Strategy if strategy is not Strategy.REUSEADDR])
def test_these_strategies_go_with_udp(strategy: Strategy) -> None:
    assert udp_changed("127.0.0.2", f"127.0.0.2, strategy: {strategy}").sources.strategy is strategy


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sink: true", "sink: {drop: 25%}"),
        ("sink: true", "sink: {speaks: nothing}"),
        ("transport: udp", "transport: udp\nclose: fin"),
        ("transport: udp", "transport: udp\nprotocol: {name: echo, size: 65507}"),
        ("transport: udp", "transport: udp\nheartbeat: {every: 1s}"),
        ("connections: 10", "churn: {duration: 1s}\nprotocol: echo"),
    ],
)
def test_this_goes_with_udp(old: str, new: str) -> None:
    assert udp_changed(old, new).transport is Transport.UDP


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        (
            "127.0.0.2",
            "127.0.0.2, strategy: reuseaddr",
            "write late-range, late, explicit, reuseport, exclusive, bind or kernel",
        ),
        ("transport: udp", "transport: udp\nclose: rst", "leave close out"),
        ("transport: udp", "transport: udp\nclose: target", "leave close out"),
        ("transport: udp", "transport: udp\nprobes: [{name: a, when: after}]", "probes make connections of TCP"),
        ("transport: udp", "transport: udp\nprotocol: {name: echo, size: 65508}", "room for 65,507 bytes"),
        ("sink: true", "sink: true, backlog: 4", "UDP accepts nothing"),
        ("sink: true", "sink: true, accept: false", "UDP accepts nothing"),
        ("sink: true", "sink: true, accept_after: 1s", "UDP accepts nothing"),
        ("sink: true", "sink: {delay: 5ms}", "a sink of UDP sends back"),
        ("sink: true", "sink: {reset: true}", "a sink of UDP sends back"),
        ("sink: true", "sink: {speaks: http}", "a sink of UDP sends back"),
        ("transport: udp", "transport: sctp", "transport"),
    ],
)
def test_this_does_not_go_with_udp(old: str, new: str, hint: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        udp_changed(old, new)
    assert hint in str(caught.value)
    assert str(caught.value).isprintable()
