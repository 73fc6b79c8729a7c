"""`find`: the key to vary, and the bounds of the search for the highest value that holds.

The search itself is in `loadgen.find`; here is what a scenario may say of it, and how a value of the key is written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, cast

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, StrictInt, WithJsonSchema, model_validator

from loadgen.scenario import units
from loadgen.scenario.expect import Expectation
from loadgen.scenario.fields import Duration, Mistakes, Model, refuse, within, wrong_at

#: A number and its unit: 100/s, 30s, 5 %, 2000.
_QUANTITY: Final = re.compile(r"([0-9]+(?:_[0-9]+)*(?:\.[0-9]+)?) ?(/ ?(?:s|min|h)|ms|s|m|h|%|)")
#: Bounds of such a number, see `loadgen.results.schema.find`.
_LEAST: Final = 1e-9
_MOST: Final = 1e15
_KEY: Final = re.compile(r"[A-Za-z0-9_./-]{1,200}")
#: A decimal number with this many digits is the same number again after a float.
_DIGITS: Final = 15
#: Keys that decide how a search goes on, or what a trial is.
_NOT_VARIED: Final = ("find", "matrix", "repeat", "name", "description", "expect")


class FindMode(StrEnum):
    """A run for each value; or one run that opens more and more and closes nothing."""

    TRIALS = "trials"
    CONTINUOUS = "continuous"


@dataclass(frozen=True, slots=True)
class VariedValue:
    """A value of the key that varies.

    unit: as it is written behind the number. whole: True for a whole number without a unit.
    """

    number: float
    unit: str
    whole: bool

    @classmethod
    def of(cls, value: object) -> VariedValue:
        """Read a number, or a text such as 100/s or 30s. Raises: ValueError with the remedy."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            number, unit, whole = float(value), "", isinstance(value, int)
        else:
            match = _QUANTITY.fullmatch(value) if isinstance(value, str) and len(value) <= 100 else None
            if match is None:
                raise ValueError("write a number above 0 with the unit of the key, for example 1000, 100/s or 30s")
            number, unit = float(match[1].replace("_", "")), match[2].replace(" ", "")
            whole = not unit and "." not in match[1]
        if not _LEAST <= number < _MOST:
            raise ValueError("write a number above 0")
        return cls(number, unit, whole)

    def at(self, number: float) -> int | float | str:
        """Return another number as a value of the same key."""
        if self.whole:
            return round(number)
        shown = np.format_float_positional(number, precision=_DIGITS, unique=False, fractional=False, trim="-")
        return f"{shown}{self.unit}" if self.unit else float(shown)


def _quantity(value: object) -> VariedValue:
    return value if isinstance(value, VariedValue) else VariedValue.of(value)


def _varied(text: str) -> str:
    if not _KEY.fullmatch(text) or not all(text.split(".")):
        raise ValueError("write the dotted path of a key, for example arrival.rate or churn.concurrency")
    if text.partition(".")[0] in _NOT_VARIED:
        raise ValueError("vary a key of the load, for example arrival.rate, connections or churn.concurrency")
    return text


_BOUND_SCHEMA: Final = {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string"}]}
Bound = Annotated[VariedValue, PlainValidator(_quantity), WithJsonSchema(_BOUND_SCHEMA)]


class FindSpec(Model):
    """The search for the highest value of one key with which all expectations hold."""

    vary: Annotated[str, AfterValidator(_varied)] = Field(
        description="dotted path of the key, which has a number", examples=["arrival.rate"]
    )
    start: Bound = Field(alias="from", description="lowest value, tried first", examples=["100/s"])
    stop: Bound = Field(alias="to", description="highest value that is tried", examples=["20000/s"])
    precision: Annotated[
        float,
        BeforeValidator(units.share),
        WithJsonSchema({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?%$"}),
    ] = Field(cast(Any, "2%"), description="width of the interval that is good enough, as a share of its upper end")
    agree: StrictInt = Field(
        2, ge=1, le=5, description="by how many trials one outcome has to lead at each end of the interval"
    )
    trials: StrictInt = Field(60, ge=4, le=1000, description="trials at most")
    time_s: Annotated[Duration, AfterValidator(within("1s", "168h"))] = Field(
        cast(Any, "1h"), alias="time", description="time after which no further trial begins", examples=["10m"]
    )
    settle_s: Annotated[Duration, AfterValidator(within("0s", "1h"))] = Field(
        cast(Any, "70s"),
        alias="settle",
        description="on the host itself: longest wait between trials for sockets of the trial before to be gone",
        examples=["5s"],
    )
    mode: FindMode = Field(
        FindMode.TRIALS,
        description="trials: a run for each value; continuous: runs that open more in steps and close nothing",
    )
    at_least: Bound | None = Field(
        None, description="value below which the search counts as failed", examples=["400/s"]
    )

    expect: tuple[
        Annotated[Expectation, PlainValidator(Expectation.of_answer), WithJsonSchema({"type": "string"})], ...
    ] = Field(
        (),
        description="KEY OP VALUE over the answer of the search",
        examples=[["value <= 206", "limit == time-wait"]],
    )

    @model_validator(mode="after")
    def _one_unit(self) -> FindSpec:
        refuse(self._mistakes())
        return self

    def _mistakes(self) -> Mistakes:
        for key, bound in (("to", self.stop), ("at_least", self.at_least)):
            if bound is not None and bound.unit != self.start.unit:
                unit = f"the unit of from, {self.start.unit}" if self.start.unit else "no unit, as from"
                yield wrong_at((key,), f"write it with {unit}")
        if self.stop.number <= self.start.number:
            yield wrong_at(("to",), "write more than from")
        if not 0.001 <= self.precision <= 0.5:
            yield wrong_at(("precision",), "write a share from 0.1% to 50%")
        if self.mode is FindMode.CONTINUOUS and self.vary != "connections":
            yield wrong_at(("mode",), "only connections are opened in steps; write vary: connections, or mode: trials")

    @property
    def whole(self) -> bool:
        """True if the key takes whole numbers only."""
        return self.start.whole and self.stop.whole

    def at(self, number: float) -> int | float | str:
        """Return a number as a value of the key, rounded only if both bounds are whole."""
        return VariedValue(number, self.start.unit, self.whole).at(number)
