"""The JSON Schema of a scenario file, for editors."""

from __future__ import annotations

from typing import Any, Final

from loadgen.scenario.scenario import ScenarioSpec

#: YAML 1.2 has no underscores in numbers: an editor reads 100_000 as a text, loadgen as a number.
_GROUPED: Final = r"^[0-9]+(_[0-9]+)+$"


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a scenario file; stricter rules are in the models."""
    schema = _with_groups(_without_null(ScenarioSpec.model_json_schema()))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "loadgen scenario"}


def _without_null(node: Any) -> Any:
    """Remove the null from pydantic's schema for `X | None`: in a scenario the key is left out."""
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


def _with_groups(node: Any) -> Any:
    """Permit 100_000 for each integer. Limits apply to numbers, and the pattern to texts."""
    if isinstance(node, list):
        return [_with_groups(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _with_groups(value) for key, value in node.items()}
    return node | {"type": ["integer", "string"], "pattern": _GROUPED} if node.get("type") == "integer" else node
