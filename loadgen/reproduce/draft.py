"""A scenario in the making: each value with the reason why it is this one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from loadgen.model import Topology

#: The reason of a value that no evidence gives.
CHOSEN: Final = "chosen here"


@dataclass(frozen=True, slots=True)
class Noted:
    """A value of a scenario, or keys below it, and the comment that stands before it; "": none."""

    value: object
    why: str = ""


@dataclass(slots=True)
class Draft:
    """The keys of a scenario, in the order in which a reader wants them.

    about: sentences of the description. lab: keys beside topology and sysctls. keys: those at the top that have no
    field here. expect: conditions, each with its reason.
    """

    about: list[str] = field(default_factory=list)
    topology: Noted = field(default_factory=lambda: Noted(Topology.LOOPBACK.value))
    sysctls: dict[str, Noted] = field(default_factory=dict)
    lab: dict[str, Noted] = field(default_factory=dict)
    sources: dict[str, Noted] = field(default_factory=dict)
    targets: list[Noted] = field(default_factory=list)
    keys: dict[str, Noted] = field(default_factory=dict)
    expect: dict[str, str] = field(default_factory=dict)

    @property
    def whole(self) -> dict[str, Noted]:
        """The keys of the scenario after its name and description."""
        lab: dict[str, Noted] = {"topology": self.topology, **self.lab}
        if self.sysctls:
            lab["sysctls"] = Noted(self.sysctls)
        return {
            "lab": Noted(lab),
            "sources": Noted(self.sources),
            "targets": Noted(self.targets),
            **self.keys,
            "expect": Noted([Noted(condition, why) for condition, why in self.expect.items()]),
        }


def noted(values: Mapping[str, object]) -> dict[str, Noted]:
    """Return keys that need no reasons of their own."""
    return {key: value if isinstance(value, Noted) else Noted(value) for key, value in values.items()}
