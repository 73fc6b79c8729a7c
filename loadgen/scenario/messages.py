"""Messages for the mistakes that pydantic finds: each with its place in the file, and what to write instead."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from loadgen.errors import ScenarioError
from loadgen.scenario import masking, units, yaml_document
from loadgen.scenario.fields import Model
from loadgen.scenario.nat import NatSpec, NatTimeouts
from loadgen.scenario.nearest import closest, nearest
from loadgen.scenario.profile import ProfileSpec
from loadgen.scenario.scenario import ScenarioSpec
from loadgen.scenario.search import FindSpec
from loadgen.scenario.sections import (
    AgentSpec,
    AgentsSpec,
    Arrival,
    ChurnSpec,
    HeartbeatSpec,
    Lab,
    ProbeSpec,
    Sources,
    StageSpec,
    TargetSpec,
)
from loadgen.scenario.sinks import SinkSpec
from loadgen.scenario.traffic import TlsSpec
from loadgen.scenario.yaml_document import Document, shown

#: pydantic lists the valid words of an enum as "'fin' or 'rst'".
_QUOTED: Final = re.compile(r"'([^']*)'")

_REFERENCE: Final = re.compile(r"\$\{(?:env|file):")

#: The model of the mapping at each path; indexes are left out.
MODELS: Final[Mapping[tuple[str, ...], type[Model]]] = {
    (): ScenarioSpec,
    ("lab",): Lab,
    ("lab", "nat"): NatSpec,
    ("lab", "nat", "timeouts"): NatTimeouts,
    ("sources",): Sources,
    ("targets",): TargetSpec,
    ("targets", "sink"): SinkSpec,
    ("tls",): TlsSpec,
    ("heartbeat",): HeartbeatSpec,
    ("churn",): ChurnSpec,
    ("profile",): ProfileSpec,
    ("probes",): ProbeSpec,
    ("arrival",): Arrival,
    ("arrival", "stages"): StageSpec,
    ("find",): FindSpec,
    ("agents",): AgentsSpec,
    ("agents", "shares"): AgentSpec,
    ("agents", "shares", "targets"): TargetSpec,
    ("agents", "shares", "targets", "sink"): SinkSpec,
}


def validated(document: Document, overrides: Sequence[str]) -> ScenarioSpec:
    """Return the scenario in a document, after KEY=VALUE overrides. Raises: ScenarioError for all of its mistakes."""
    mistakes: list[ScenarioError] = []
    for setting in overrides:
        try:
            document.override(setting, masking.kept_setting(setting))
        except ScenarioError as error:
            mistakes.append(error)
    misplaced = list(_misplaced_references(document))
    try:
        scenario = ScenarioSpec.model_validate(document.data)
    except ValidationError as error:
        mistakes += _mistakes(document, error, complete=not mistakes)
    else:
        if not mistakes and not misplaced:
            return scenario
    raise ScenarioError.of(mistakes + misplaced)


def _misplaced_references(document: Document) -> Iterator[ScenarioError]:
    """Yield a mistake for each reference where the value would be written to the results."""
    for path, text in _texts(document.data):
        key = path[1] if path[0] == "matrix" and len(path) > 1 else path[0]
        if _REFERENCE.search(text) and str(key).partition(".")[0] not in ("protocol", "description"):
            name = ".".join(map(str, path))
            yield document.place(path).error(
                f"{name}: only options of protocol are filled in, and this value is written to the results; write it "
                f'out, or let the shell fill it in: --set {name}="$NAME"'
            )


def _texts(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield every text in plain data, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, (dict, list)):
        for step, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(inner, (*path, step))


def first_mistake(error: ValidationError, above: tuple[str, ...]) -> tuple[str, str]:
    """Return key and message of the first mistake in a part of a scenario, one that would stand below `above`."""
    path, _, message = next(_parts(error.errors(include_url=False)[0], above))
    return str(path[-1]), message


def _mistakes(document: Document, error: ValidationError, *, complete: bool) -> list[ScenarioError]:
    """Return the mistakes in the order of the file; those that lack a key come last.

    complete: False where an override could not be applied, so that a key that is missing may be one that was given.
    """
    details = error.errors(include_url=False)
    meant = {_key_meant(detail) for detail in details}
    mistakes = []
    for detail in details:
        missing = detail["type"] == "missing"
        if missing and (not complete or tuple(detail["loc"]) in meant):  # it is there, under a name with a slip in it
            continue
        for path, kind, message in _parts(detail):
            place = document.key_place(path) if kind in ("extra_forbidden", "wrong_key") else document.place(path)
            name = ".".join(str(step) for step in (path[:-1] if kind in ("extra_forbidden", "missing") else path))
            text = f"{yaml_document.printable(name)}: {message}" if name else message
            mistakes.append((missing, place, place.error(text)))
    return [mistake for _, _, mistake in sorted(mistakes, key=lambda row: row[:2])]


def _key_meant(detail: ErrorDetails) -> tuple[str | int, ...] | None:
    """Return the path of the key that an unknown one was probably meant to be."""
    if detail["type"] != "extra_forbidden":
        return None
    *above, key = detail["loc"]
    close = closest(key, list(fields_of(above)))
    return (*above, close) if close else None


def _parts(detail: ErrorDetails, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """Yield path, kind and message of each mistake in what pydantic reports as one; see `fields.refuse`."""
    context = detail.get("ctx", {})
    path = (*above, *detail["loc"])
    for mistake in context.get("mistakes", ()):
        yield (*path, *mistake["path"]), mistake["kind"], mistake["message"]
    if "mistakes" not in context:
        path = (*path, *context.get("path", ()))
        yield path, detail["type"], _message(detail, path, context)


def _message(detail: ErrorDetails, path: tuple[str | int, ...], context: Mapping[str, Any]) -> str:
    """Return the message of one mistake: what to write, and what was written."""
    kind, value = detail["type"], detail["input"]
    text = masking.masked(value)[0] if isinstance(value, str) else value
    got = f"; got {shown(text)}" if isinstance(text, (str, int, float)) else ""
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
    """Return the valid keys of the mapping at `path`."""
    fields = MODELS[tuple(step for step in path if isinstance(step, str))].model_fields
    return {field.alias or name: field for name, field in fields.items()}


def _example(path: tuple[str | int, ...]) -> str:
    """Return an example of a value at `path`, in YAML."""
    if path and isinstance(path[-1], str):
        return json.dumps((fields_of(path[:-1])[path[-1]].examples or [""])[0])
    items = (fields_of(path[:-2])[str(path[-2])].examples or [[""]])[0]
    return json.dumps(items[0] if isinstance(items, list) else items)
