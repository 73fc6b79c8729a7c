"""JSON Schemas (2020-12), of summary.json and others, made from the types and the texts below their fields."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from loadgen.results.schema.find import FIND_SCHEMA, FindSummary
from loadgen.results.schema.matrix import MatrixSummary
from loadgen.results.schema.run import RunSummary

_Object = msgspec.inspect.StructType | msgspec.inspect.DataclassType
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def summary_schema() -> dict[str, Any]:
    """The schema of a summary.json: that of a search names its own schema, and the one that has `cells` is a matrix."""
    return {
        "$schema": _DIALECT,
        "title": "loadgen summary",
        "description": "summary.json of a run, a matrix of runs, or a search, as --json prints it.",
        "type": "object",
        "if": {"properties": {"schema": {"const": FIND_SCHEMA}}, "required": ["schema"]},
        "then": {"$ref": "#/$defs/FindSummary"},
        "else": {
            "if": {"required": ["cells"]},
            "then": {"$ref": "#/$defs/MatrixSummary"},
            "else": {"$ref": "#/$defs/RunSummary"},
        },
        "$defs": _definitions((RunSummary, MatrixSummary, FindSummary)),
    }


def schema_of(shape: type[msgspec.Struct], title: str, description: str) -> dict[str, Any]:
    """The schema of a document of one shape."""
    return {
        "$schema": _DIALECT,
        "title": title,
        "description": description,
        "$ref": f"#/$defs/{shape.__name__}",
        "$defs": _definitions((shape,)),
    }


def _definitions(shapes: tuple[type[msgspec.Struct], ...]) -> dict[str, Any]:
    """The schema of each type that these are made of, by its name."""
    _, definitions = msgspec.json.schema_components(shapes, ref_template="#/$defs/{name}")
    for shape in _objects(shapes):
        _describe(definitions[shape.cls.__name__], shape)
    for definition in definitions.values():  # docstrings, whose indentation Python removes from 3.13 on
        if "description" in definition:
            definition["description"] = inspect.cleandoc(definition["description"])
    return dict(sorted(definitions.items()))


def _objects(shapes: tuple[type[msgspec.Struct], ...]) -> Iterator[_Object]:
    """Each type with known keys that these are made of, once."""
    seen: set[type] = set()
    waiting: list[Any] = list(msgspec.inspect.multi_type_info(shapes))
    while waiting:
        info = waiting.pop()
        if isinstance(info, _Object):
            if info.cls in seen:
                continue
            seen.add(info.cls)
            yield info
            waiting += [field.type for field in info.fields]
        for name in ("item_type", "key_type", "value_type", "type"):
            if isinstance(inner := getattr(info, name, None), msgspec.inspect.Type):
                waiting.append(inner)
        for name in ("types", "item_types"):
            waiting += getattr(info, name, ())


def _describe(definition: dict[str, Any], shape: _Object) -> None:
    """Forbid other keys, describe each, name no defaults; a key that is left out without a value is never null."""
    definition["additionalProperties"] = False
    defaults = {field.encode_name: field.default for field in shape.fields}
    for key, text in _texts(shape.cls).items():
        value = definition["properties"][key]
        value.pop("default", None)
        if defaults[key] is None:
            options = [option for option in value.pop("anyOf") if option != {"type": "null"}]
            value |= options[0] if len(options) == 1 else {"anyOf": options}
        definition["properties"][key] = value | ({"description": text} if text else {})


def _texts(shape: type) -> dict[str, str]:
    """The text below each field, empty where there is none."""
    body = ast.parse(textwrap.dedent(inspect.getsource(shape))).body[0]
    assert isinstance(body, ast.ClassDef)
    texts = {}
    for field, below in zip(body.body, [*body.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            name = field.target.id
            text = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else ""
            texts[name] = str(text)
    return texts
