"""What pydantic finds wrong -> what a person reads: where it stands, and what to write instead."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from loadgen.errors import ScenarioError
from loadgen.scenario import units, yaml_document
from loadgen.scenario.fields import Model
from loadgen.scenario.nearest import nearest
from loadgen.scenario.scenario import Scenario
from loadgen.scenario.sections import Arrival, ChurnSpec, HeartbeatSpec, Lab, ProbeSpec, Sources, StageSpec, TargetSpec
from loadgen.scenario.sinks import SinkSpec
from loadgen.scenario.traffic import TlsSpec
from loadgen.scenario.yaml_document import Document, shown

#: pydantic lists the valid words of an enum as "'fin' or 'rst'".
_QUOTED: Final = re.compile(r"'([^']*)'")

#: The model of the mapping at each path; indexes are left out.
MODELS: Final[Mapping[tuple[str, ...], type[Model]]] = {
    (): Scenario,
    ("lab",): Lab,
    ("sources",): Sources,
    ("targets",): TargetSpec,
    ("targets", "sink"): SinkSpec,
    ("tls",): TlsSpec,
    ("heartbeat",): HeartbeatSpec,
    ("churn",): ChurnSpec,
    ("probes",): ProbeSpec,
    ("arrival",): Arrival,
    ("arrival", "stages"): StageSpec,
}


def validated(document: Document, overrides: Sequence[str]) -> Scenario:
    """The scenario in a document, after KEY=VALUE overrides. Raises: ScenarioError for the first problem."""
    for setting in overrides:
        document.override(setting)
    try:
        return Scenario.model_validate(document.data)
    except ValidationError as error:
        details = error.errors(include_url=False)
    # A key that is missing comes last: it is often there, under a name with a slip in it.
    missing = [detail["type"] == "missing" for detail in details]
    problems = [_problem(document, detail) for detail in details]
    order = [(late, problem.line, problem.column) for late, problem in zip(missing, problems, strict=True)]
    raise problems[order.index(min(order))]


def first_problem(error: ValidationError, above: tuple[str, ...]) -> tuple[str, str]:
    """The key and the words of the first problem in a part of a scenario, one that would stand below `above`."""
    detail = error.errors(include_url=False)[0]
    context = detail.get("ctx", {})
    path = (*above, *detail["loc"], *context.get("path", ()))
    return str(path[-1]), _message(detail, path, context)


def _problem(document: Document, detail: ErrorDetails) -> ScenarioError:
    context = detail.get("ctx", {})
    path = (*detail["loc"], *context.get("path", ()))
    unknown = detail["type"] == "extra_forbidden"
    at_key = unknown or detail["type"] == "wrong_key"
    place = document.key_place(path) if at_key else document.place(path)
    parent = unknown or detail["type"] == "missing"
    words = ".".join(str(step) for step in (path[:-1] if parent else path))
    message = _message(detail, path, context)
    return place.error(f"{yaml_document.printable(words)}: {message}" if words else message)


def _message(detail: ErrorDetails, path: tuple[str | int, ...], context: Mapping[str, Any]) -> str:
    """One problem in the words of the scenario file: what to write, and what was written."""
    kind, value = detail["type"], detail["input"]
    got = f"; got {shown(value)}" if isinstance(value, (str, int, float)) else ""
    if kind in ("wrong_value", "wrong_key"):
        return str(context["message"])
    if kind == "value_error":
        return f"{context['error']}{got}"
    if kind == "extra_forbidden":
        keys = fields_of(path[:-1])
        return f"unknown key {shown(path[-1])}; {nearest(path[-1], list(keys))}"
    if kind == "missing":
        return f"{path[-1]} is missing; add {path[-1]}: {_example(path)}"
    if kind == "enum":
        return f"unknown word {shown(value)}; {nearest(value, _QUOTED.findall(context['expected']))}"
    if kind == "string_type":
        return f"write text, in quotes if it looks like a number{got}"
    if kind == "bool_type":
        return f"write true or false{got}"
    if kind == "int_type":
        meant = units.whole_number(value)
        return f"write a whole number{'' if meant is None else f', {meant}'}{got}"
    if kind == "greater_than_equal":
        return f"write at least {context['ge']:,}{got}"
    if kind == "less_than_equal":
        return f"write at most {context['le']:,}{got}"
    shape = {"tuple_type": "a list", "dict_type": "a mapping", "model_type": "a mapping"}.get(kind, "another value")
    return f"write {shape}, for example {_example(path)}{got}"


def fields_of(path: Sequence[str | int]) -> dict[str, FieldInfo]:
    """The keys that may stand in the mapping at `path`."""
    fields = MODELS[tuple(step for step in path if isinstance(step, str))].model_fields
    return {field.alias or name: field for name, field in fields.items()}


def _example(path: tuple[str | int, ...]) -> str:
    """What could stand at `path`, in YAML."""
    if path and isinstance(path[-1], str):
        return json.dumps((fields_of(path[:-1])[path[-1]].examples or [""])[0])
    items = (fields_of(path[:-2])[str(path[-2])].examples or [[""]])[0]
    return json.dumps(items[0] if isinstance(items, list) else items)
