"""The kinds of number and text that a summary is made of."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field, WithJsonSchema, with_config

from loadgen.capacity.limits import LIMITS
from loadgen.outcomes import Outcome
from loadgen.results.summary import SCHEMA

#: For each shape: no key but those that are listed, and the text below a key describes it.
strict: Final = with_config(ConfigDict(extra="forbid", use_attribute_docstrings=True))

Count = Annotated[int, Field(ge=0)]
#: A number that is not below 0: seconds, microseconds, or something per second, as the name of its key says.
Amount = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
SchemaName = Annotated[str, WithJsonSchema({"const": SCHEMA})]
Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
OutcomeName = Annotated[str, WithJsonSchema({"type": "string", "enum": [outcome.value for outcome in Outcome]})]
Limit = Annotated[str, WithJsonSchema({"type": "string", "enum": list(LIMITS)})]
MatrixLimit = Annotated[str, WithJsonSchema({"type": "string", "enum": [*LIMITS, "mixed"]})]
TransportName = Literal["tcp", "udp"]
#: A value of a scenario's key, as --set takes it.
SettingValue = bool | int | str | list[str]
