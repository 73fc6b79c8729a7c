"""The schema that editors have: it takes every scenario that loadgen takes, and refuses what an editor should mark."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.nodes import ScalarNode

from loadgen import scenario
from loadgen.errors import ScenarioError
from loadgen.scenario import ScenarioSpec, messages, parse, yaml_document

from .support import SMALLEST as SMALLEST_TEXT

CHECKOUT = Path(__file__).parents[3]
SCENARIOS = sorted((CHECKOUT / "scenarios").glob("*.yaml"))
DOCUMENTS = sorted([CHECKOUT / "README.md", *(CHECKOUT / "docs").glob("*.md")])
#: What the YAML language server of an editor looks for, and where the schema lies beside the scenarios.
MODELINE = "# yaml-language-server: $schema=../docs/schema/scenario.schema.json"

VALIDATOR = jsonschema.Draft202012Validator(scenario.json_schema())
SMALLEST: dict[str, Any] = {
    "name": "s",
    "sources": {"addresses": "127.0.0.1"},
    "targets": [{"address": "127.0.0.1:9000"}],
    "connections": 10,
}


class _AsEditorsRead(SafeConstructor):
    """YAML 1.2 has no underscores in numbers, and editors go by that: 100_000 is a text to them."""

    def construct_yaml_int(self, node: ScalarNode) -> Any:
        return node.value if "_" in node.value else super().construct_yaml_int(node)


_AsEditorsRead.add_constructor("tag:yaml.org,2002:int", _AsEditorsRead.construct_yaml_int)


def as_editors_read(text: str) -> Any:
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _AsEditorsRead
    return yaml.load(text)


def documented() -> list[str]:
    """Whole scenarios in the documentation."""
    blocks = [
        block for path in DOCUMENTS for block in re.findall(r"^```yaml\n(.*?)^```", path.read_text(), re.M | re.S)
    ]
    return [block for block in blocks if re.search(r"^name:", block, re.M) and re.search(r"^targets:", block, re.M)]


@pytest.mark.parametrize("text", [*(path.read_text() for path in SCENARIOS), *documented()], ids=lambda text: text[:40])
def test_every_scenario_fits(text: str) -> None:
    assert scenario.parse(text)
    VALIDATOR.validate(yaml_document.read(text, "s.yaml").data)
    VALIDATOR.validate(as_editors_read(text))


def test_the_documentation_has_whole_scenarios() -> None:
    assert len(documented()) >= 2
    assert any("_000" in text for text in documented())


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_scenario_names_its_schema_to_editors(path: Path) -> None:
    first, _, _ = path.read_text().partition("\n")
    assert first == MODELINE
    assert (path.parent / first.partition("=")[2]).resolve() == CHECKOUT / "docs" / "schema" / "scenario.schema.json"


@pytest.mark.parametrize(
    "changes",
    [
        {"connections": "100_000"},
        {"churn": {"duration": "10s", "concurrency": "1_000"}, "connections": None},
        {"hold": "1m30s", "timeout": "500ms", "interval": "1.5s"},
        {"arrival": {"rate": "20_000/s", "ramp": "2s"}},
        {"arrival": {"stages": [{"from": "0/s", "to": "600/min", "over": "1h"}]}},
        {"sources": {"addresses": ["127.0.0.2-9", "10.0.0.0/28", "eth0"], "ports": 1024}},
        {"sources": {"addresses": "127.0.0.1", "ports": "1024-65535"}},
        {"targets": [{"address": "[::1]:9000-9009", "sink": True, "weight": 3}]},
        {"targets": [{"address": "127.0.0.1:9000", "sink": {"speaks": "http", "drop": "10%", "body": 1024}}]},
        {"protocol": "echo", "heartbeat": {"every": "1s", "share": "1%"}},
        {"protocol": {"name": "payload", "send": "PING", "expect": "PONG"}},
        {"lab": {}, "tls": {"alpn": ["h2"]}},
        {"lab": {"sysctls": {"net.ipv4.tcp_tw_reuse": 1, "net.ipv4.ip_local_port_range": "1024 65535"}}},
        {"lab": {}, "matrix": {"sources.strategy": ["late", "kernel"], "connections": [1, 2]}, "repeat": 3},
        {"lab": {}, "probes": [{"name": "a", "when": "hold", "uid": 65534}]},
        {"expect": ["outcomes.failed == 0", "latency_us.connect.p99 < 5_000"]},
    ],
    ids=lambda changes: ",".join(changes),
)
def test_every_notation_fits(changes: dict[str, Any]) -> None:
    VALIDATOR.validate({key: value for key, value in {**SMALLEST, **changes}.items() if value is not None})


@pytest.mark.parametrize(
    "changes",
    [
        {"conections": 10},
        {"connections": 0},
        {"connections": "100k"},
        {"connections": "many"},
        {"connections": 1.5},
        {"hold": 30},
        {"hold": "30"},
        {"hold": "1d"},
        {"arrival": {"rate": 20_000}},
        {"sources": {"addresses": "127.0.0.1", "strategy": "best"}},
        {"sources": {}},
        {"targets": [{"adress": "127.0.0.1:9000"}]},
        {"transport": "sctp"},
        {"workers": None},
    ],
    ids=str,
)
def test_what_an_editor_should_mark_does_not_fit_and_is_refused_by_loadgen_too(changes: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid({**SMALLEST, **changes})
    with pytest.raises(ScenarioError):
        scenario.parse(str({**SMALLEST, **changes}).replace("None", "null"))


# --- The models ------------------------------------------------------------------------------------


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


#: What else an example needs to be valid.
NEEDED = {"find": ("arrival.rate=9/s", "expect=[outcomes.failed == 0]")}


@pytest.mark.parametrize("model", messages.MODELS.values())
def test_every_example_and_default_of_the_schema_is_valid(model: type[Any]) -> None:
    """An editor offers these, so they must be accepted, each in an otherwise valid scenario."""
    for name, field in model.model_fields.items():
        for example in field.examples or ():
            if model is ScenarioSpec:
                key = field.alias or name
                smallest = SMALLEST_TEXT.replace("connections: 100\n", "") if key == "churn" else SMALLEST_TEXT
                assert parse(smallest, overrides=["lab={}", *NEEDED.get(key, ()), f"{key}={json.dumps(example)}"])


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
