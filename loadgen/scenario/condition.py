"""One grammar for conditions: NAME OP VALUE, as in `outcomes.failed == 0`, `used > 80%`, `verdict.limit == "lost"`.

`expect:` of a scenario and `--fail-if` of watch and compare are written in it. A value is a number, a number with a
unit, or a name; a name may stand in double or single quotes. Here the text is taken apart and two values are compared.
Which names there are, which kind of value each has, and when it is compared, is the caller's to say.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
#: Operators that have a meaning for names.
_EQUALITY: Final = ("==", "!=")
_LENGTH_MAX: Final = 300
_CONDITION: Final = re.compile(
    r" *(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_-]+)*) *(?P<operator>==|!=|<=|>=|<|>) *(?P<value>\S(?:.*\S)?) *"
)
_NUMBER: Final = re.compile(r"[-+]?[0-9]{1,18}(?:_[0-9]{1,18}){0,6}(?:\.[0-9]{1,18})?")
_QUOTED: Final = re.compile(r"""(?P<quote>["'])(?P<text>[^"'\x00-\x1f]*)(?P=quote)""")
_BARE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition taken apart. value: as it was written, with its unit or quotes. text: the whole of it."""

    name: str
    operator: str
    value: str
    text: str

    @classmethod
    def parse(cls, text: object) -> Condition:
        """Take a text apart. Raises: ValueError without a message where it is not NAME OP VALUE."""
        match = _CONDITION.fullmatch(text) if isinstance(text, str) and len(text) <= _LENGTH_MAX else None
        if not match:
            raise ValueError
        return cls(match["name"], match["operator"], match["value"], match[0].strip(" "))

    @property
    def number(self) -> float | None:
        """The value as a number without a unit; None if it is none."""
        return _number(self.value)

    @property
    def percent(self) -> float | None:
        """The value as a number of percent; None if it is none."""
        return _number(self.value[:-1].removesuffix(" ")) if self.value.endswith("%") else None

    @property
    def word(self) -> str | None:
        """The value as a name, in quotes or bare; None if it is none."""
        if match := _QUOTED.fullmatch(self.value):
            return match["text"]
        return self.value if _BARE.fullmatch(self.value) else None

    @property
    def is_quoted(self) -> bool:
        """True if the value is in quotes, so that it can only be a name."""
        return _QUOTED.fullmatch(self.value) is not None

    @property
    def is_equality(self) -> bool:
        """True if the operator is one that names can be compared with."""
        return self.operator in _EQUALITY


def _number(text: str) -> float | None:
    return float(text.replace("_", "")) if _NUMBER.fullmatch(text) else None
