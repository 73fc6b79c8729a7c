"""The JSON Schema of a scenario file, for editors."""

from __future__ import annotations

from typing import Any

from loadgen.scenario.whole import Scenario


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a scenario file, for editors; stricter rules live in the models."""
    schema = _without_null(Scenario.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "loadgen scenario"}


def _without_null(node: Any) -> Any:
    """Pydantic's schema for `X | None` without the null, which a scenario never has: keys are left out."""
    if isinstance(node, list):
        return [_without_null(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _without_null(value) for key, value in node.items() if not (key == "default" and value is None)}
    kinds = node.get("anyOf", [])
    if {"type": "null"} in kinds:
        del node["anyOf"]
        rest = [kind for kind in kinds if kind != {"type": "null"}]
        node |= rest[0] if len(rest) == 1 else {"anyOf": rest}
    return node
