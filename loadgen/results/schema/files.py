"""JSON text <-> the types of a run directory: the one place where they are read and written.

Reading is tolerant of versions: an unknown key is passed over, one that an older version did not write has its default
in the type. Anything else is refused with the key that is wrong. Behind this module no reader asks whether a key
is there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from loadgen import secret
from loadgen.model import Plan
from loadgen.results.schema.find import FIND_SCHEMA, FindSummary
from loadgen.results.schema.matrix import MatrixSummary
from loadgen.results.schema.run import RunSummary

#: JSON values as Python has them.
Json = Mapping[str, Any]
_Shape = TypeVar("_Shape")

#: A summary that has `cells` is that of a matrix; that of a search names its own schema.
Summary = RunSummary | MatrixSummary | FindSummary

#: Fields of a plan that most do without.
_SELDOM: Final = ("profile", "arrival_carry", "guests", "agents", "nat")
#: Deeper JSON than this is refused by the parser's own limit; no file of ours comes near it.
_ENCODER: Final = msgspec.json.Encoder(enc_hook=secret.encoded)


def read(text: bytes, shape: type[_Shape]) -> _Shape:
    """Read JSON text as a value of that type. Raises: ValueError with the key that is wrong, or that it is no JSON."""
    try:
        return msgspec.json.decode(text, type=shape)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def plan_of(plan: Plan) -> Json:
    """Return a plan as plan.json has it: with what only some plans have, where this one has it."""
    written = {field.name: getattr(plan, field.name) for field in dataclasses.fields(plan)}
    for name in _SELDOM:
        if not written[name]:
            del written[name]
    if plan.agents:
        written["agents"] = [{"name": agent.name, "plan": plan_of(agent.plan)} for agent in plan.agents]
    return written


def read_summary(text: bytes) -> Summary:
    """Read a summary.json, of a run, a matrix or a search. Raises: ValueError as `read`."""
    keys = read(text, dict[str, msgspec.Raw])
    if keys.get("schema") == msgspec.Raw(f'"{FIND_SCHEMA}"'.encode()):
        return read(text, FindSummary)
    return read(text, MatrixSummary) if "cells" in keys else read(text, RunSummary)


def line_of(value: object) -> bytes:
    """Return the value as one line of JSON, with its line feed."""
    return _ENCODER.encode(value) + b"\n"


def pretty(value: object) -> str:
    """Return the value as JSON for people, two spaces deep."""
    return msgspec.json.format(_ENCODER.encode(value), indent=2).decode() + "\n"


def plain(value: object) -> Any:
    """Return the value as plain dicts, lists, numbers and texts, as --json prints it and expressions check it."""
    return msgspec.json.decode(_ENCODER.encode(value))


def convert(data: Json, shape: type[_Shape]) -> _Shape:
    """Convert a plain value to that type. Raises: ValueError with the key that is wrong."""
    try:
        return msgspec.convert(data, shape)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
