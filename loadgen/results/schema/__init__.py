"""The shape of summary.json: what every key is, in which unit, and what may be missing; and the JSON Schema made of it.

These types describe what `loadgen.results` writes and have no part in writing it, so that processes which make load
never import pydantic. The tests hold every kind of summary against the schema.
"""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from loadgen.results.schema.matrix import MatrixSummary
from loadgen.results.schema.run import RunSummary

__all__ = ["MatrixSummary", "RunSummary", "json_schema"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a summary.json, of a run or of a matrix: the one that has `cells` is a matrix."""
    schema = TypeAdapter(MatrixSummary).json_schema()
    definitions = schema.pop("$defs")
    return {
        "$schema": _DIALECT,
        "title": "loadgen summary",
        "description": "summary.json of a run, or of a matrix of runs, as --json prints it.",
        "type": "object",
        "if": {"required": ["cells"]},
        "then": {"$ref": "#/$defs/MatrixSummary"},
        "else": {"$ref": "#/$defs/RunSummary"},
        "$defs": {**definitions, "MatrixSummary": schema},
    }
