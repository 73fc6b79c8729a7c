"""The keys of a JSON Schema as tables, one for each object, in the order in which a reader comes to them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from loadgen.results.schema.json_schema import summary_schema
from loadgen.scenario import json_schema as scenario_schema
from website.reference.markdown import code, codes, plain, table

Schema: TypeAlias = Mapping[str, Any]

#: A text of each form that scenarios have, and the name of the form.
_FORMS: Final = (("1m30s", "duration"), ("20/s", "rate"), ("5%", "share"))
#: The bounds of integers that only say "fits into a double".
_UNBOUNDED: Final = 2**53
#: The documents that a summary.json may be.
_KINDS: Final = {"RunSummary": "Of a run", "MatrixSummary": "Of a matrix", "FindSummary": "Of a search"}
_SCENARIO: Final = """\
# Scenario keys

Made from the JSON Schema that `loadgen schema scenario` prints. [scenario.md](../scenario.md) explains the keys, with
the rules that a schema cannot express; a duration is `1m30s`, a rate `20000/s`, a share `5%`, and
`100_000` is a number.
"""
_SUMMARY: Final = """\
# Keys of summary.json

Made from the JSON Schema that `loadgen schema summary` prints. [run-directory.md](../run-directory.md) explains the
files of a run, and [machine-output.md](../machine-output.md) how programs read them. Names
end in their unit: `_s`, `_ms`, `_us`, `_per_s`.
"""


def of_scenario() -> str:
    """Return the page of a scenario's keys."""
    schema = scenario_schema()
    return _SCENARIO + "".join(_objects(schema, {"A scenario": schema}))


def of_summary() -> str:
    """Return the page of the keys of summary.json: of a run, a matrix, and a search."""
    schema = summary_schema()
    return _SUMMARY + "".join(_objects(schema, {kind: schema["$defs"][name] for name, kind in _KINDS.items()}))


class _Section(NamedTuple):
    """An object to describe. of: the root it is in, "" in the first. path: of keys, "" for a root itself."""

    of: str
    path: str
    shape: Schema


def _objects(schema: Schema, roots: Mapping[str, Schema]) -> Iterator[str]:
    """Yield a section for each object, those of the roots first, each object once."""
    definitions = schema["$defs"]
    waiting = [_Section(of, "", root) for of, root in roots.items()]
    first, seen = waiting[0].of, {id(root) for root in roots.values()}
    while waiting:
        of, path, shape = waiting.pop(0)
        heading = of if not path else code(path) if of == first else f"{code(path)} of a {of.rpartition(' ')[2]}"
        yield f"\n## {heading}\n\n{plain(_paragraph(shape))}\n\n{_table(shape, definitions)}"
        for key, below in shape.get("properties", {}).items():
            for suffix, inner in _inner(below, definitions):
                if id(inner) not in seen:
                    seen.add(id(inner))
                    waiting.append(_Section(of, ".".join(filter(None, [path, key + suffix])), inner))


def _paragraph(shape: Schema) -> str:
    return " ".join(str(shape.get("description", "")).split("\n\n")[0].split())


def _inner(value: Schema, definitions: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield the objects with keys of their own that a value may be, or may have in a list."""
    if "$ref" in value:
        shape = definitions[value["$ref"].rpartition("/")[2]]
        if shape.get("properties"):
            yield "", shape
    for option in value.get("anyOf", ()):
        yield from _inner(option, definitions)
    for key, mark in (("items", "[]"), ("additionalProperties", ".*")):
        if isinstance(value.get(key), Mapping):
            for suffix, shape in _inner(value[key], definitions):
                yield mark + suffix, shape


def _table(shape: Schema, definitions: Schema) -> str:
    required = shape.get("required", ())
    has_defaults = any("default" in value for value in shape.get("properties", {}).values())
    rows = []
    for key, value in shape.get("properties", {}).items():
        default = code(_as_yaml(value["default"])) if _is_said(value.get("default")) else ""
        meaning = _meaning(value, definitions)
        row = [code(key), _type(value, definitions), "required" if key in required else default, meaning]
        rows.append(row if has_defaults else [row[0], row[1], row[3]])
    heads = ["key", "type", "default", "meaning"] if has_defaults else ["key", "type", "meaning"]
    return table(heads, rows)


def _is_said(default: object) -> bool:
    """Return True for a default that tells a reader something: not for an empty one, or keys without values."""
    if isinstance(default, dict):
        return any(map(_is_said, default.values()))
    return default not in (None, "", [])


def _meaning(value: Schema, definitions: Schema) -> str:
    """Return the description of a key, or of the object that it has, and examples."""
    shape = definitions[value["$ref"].rpartition("/")[2]] if "$ref" in value else {}
    text = value.get("description") or _paragraph(shape).rstrip(".")
    return "; for example ".join(filter(None, [plain(text), codes(map(_as_yaml, value.get("examples", ())))]))


def _as_yaml(value: object) -> str:
    """Return a value as a scenario may have it on one line."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _type(value: Schema, definitions: Schema) -> str:
    """Return the type in words."""
    if "$ref" in value:
        shape = definitions[value["$ref"].rpartition("/")[2]]
        return "keys" if shape.get("properties") else _type(shape, definitions)
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_type(option, definitions) for option in value["anyOf"]))
    if "enum" in value:
        return " or ".join(map(code, value["enum"]))
    if "const" in value:
        return code(value["const"])
    kind = value.get("type")
    match kind:
        case "array":
            items = value.get("items")
            return f"list of {_type(items, definitions)}" if items else "list"
        case "object":
            return "keys"
        case "string":
            return _form(value.get("pattern", ""))
        case "number":
            return f"number{_bounds(value)}"
        case "boolean":
            return "true or false"
        case "null":
            return "null"
        case None:
            return "any"
        case _:  # "integer", or with it a text, for 100_000
            return f"whole number{_bounds(value)}"


def _form(pattern: str) -> str:
    # A pattern that takes any word is one of names, which takes durations as well.
    if not pattern or re.fullmatch(pattern, "word"):
        return "text"
    return next((name for text, name in _FORMS if re.fullmatch(pattern, text)), "text")


def _bounds(value: Schema) -> str:
    low, high = value.get("minimum"), value.get("maximum")
    above = value.get("exclusiveMinimum")
    if high is not None and high >= _UNBOUNDED:
        high = None
    if low is not None and high is not None:
        return f", {low:,} to {high:,}"
    if low is not None:
        return f", {low:,} or more"
    return f", above {above:,}" if above is not None else f", at most {high:,}" if high is not None else ""
