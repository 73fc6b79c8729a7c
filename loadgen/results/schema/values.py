"""The kinds of number and text that the files of a run directory are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from loadgen.capacity.limits import LIMITS
from loadgen.capacity.remedies import Quantity
from loadgen.outcomes import Outcome

#: Name and version of the shape of summary.json.
SCHEMA: Final = "loadgen.summary/1"


class Shape(Struct, frozen=True, omit_defaults=True):
    """A JSON object with known keys. A key that has a default is left out of the file where it has that value.

    The text below a field describes its key in the JSON Schema.
    """


#: The largest whole number that every reader of JSON has exactly (RFC 8259 6), and that sums stay below 2**63 with.
COUNT_MAX: Final = 2**53
Count = Annotated[int, Meta(ge=0, le=COUNT_MAX)]
#: A number that is not below 0: seconds, microseconds, or something per second, as the name of its key says.
Amount = Annotated[float, Meta(ge=0)]
SchemaName = Annotated[str, Meta(extra_json_schema={"const": SCHEMA})]
Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
OutcomeName = Annotated[str, Meta(extra_json_schema={"enum": [outcome.value for outcome in Outcome]})]
Limit = Annotated[str, Meta(extra_json_schema={"enum": list(LIMITS)})]
MatrixLimit = Annotated[str, Meta(extra_json_schema={"enum": [*LIMITS, "mixed"]})]
QuantityName = Annotated[str, Meta(extra_json_schema={"enum": [quantity.value for quantity in Quantity]})]
TransportName = Literal["tcp", "udp"]
#: Any value that YAML can hold, and values by dotted path: what sets the cells of a matrix apart.
Setting = Any
Settings = Mapping[str, Setting]
#: A value of a scenario's key, as --set takes it.
SettingValue = bool | int | str | tuple[str, ...]
