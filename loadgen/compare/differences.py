"""Differences between the scenarios, plans and hosts of two runs, key by key.

Pure. A scenario is compared as it was kept, with its `--set` options applied, so a default is not part of it;
the plan beside it has the values that were computed for that host.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from msgspec.structs import asdict

from loadgen.errors import ScenarioError
from loadgen.model import Plan
from loadgen.results.schema import files
from loadgen.results.schema.host import Host
from loadgen.scenario import kept_value, yaml_document

#: Values by dotted key.
Flat = Mapping[str, Any]

_SET: Final = "# --set "
_CONTINUED: Final = "#   "
#: A cell has values of its own, and no matrix; a description or an expectation does not change a run.
_LEFT_OUT: Final = ("matrix", "repeat", "description", "expect")
#: Keys of the plan that describe it, or repeat the scenario.
_WORDS: Final = ("name", "notes", "headroom", "expect", "prediction", "ceiling")
#: Keys that differ between any two runs.
_PASSING: Final = frozenset(
    {"started_at", "memory_available_bytes", "files_free", "sysctls.net.netfilter.nf_conntrack_count"}
)


class Part(StrEnum):
    """The record of a run in which a key differs."""

    SCENARIO = "scenario"
    PLAN = "plan"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class Difference:
    """One key whose value differs between two runs; `base` or `other` is None where that run lacks it."""

    part: Part
    key: str
    base: Any
    other: Any

    def to_json(self) -> Mapping[str, object]:
        """The difference as JSON."""
        return {"part": self.part.value, "key": self.key, "base": self.base, "other": self.other}


def between(part: Part, base: Flat, other: Flat) -> list[Difference]:
    """Return the differences of two flat objects, in the order of the keys of the first."""
    keys = dict.fromkeys((*base, *other))
    return [
        Difference(part, key, base.get(key), other.get(key))
        for key in keys
        if key not in base or key not in other or base[key] != other[key]
    ]


def scenario_of(text: str) -> Flat:
    """Return the leaves of a scenario as it was kept, by dotted key, overrides applied.

    Raises: ScenarioError when it cannot be read.
    """
    overrides = list(_overrides(text))
    document = yaml_document.read(text, "scenario.yaml")
    matrix = document.data.get("matrix")
    of_cell = matrix if isinstance(matrix, dict) else {}
    # The settings of a cell stand above the overrides of the whole, and win.
    for override in (*overrides, *(text for text in reversed(overrides) if text.partition("=")[0] in of_cell)):
        document.override(override)
    kept = {key: kept_value(key, value) for key, value in document.data.items() if key not in _LEFT_OUT}
    return dict(leaves(kept))


def readable_scenario(text: str) -> Flat | None:
    """Return `scenario_of` the text; None where it is empty or this version of loadgen cannot read it."""
    try:
        return scenario_of(text) if text else None
    except ScenarioError:
        return None


def plan_of(plan: Plan) -> Flat:
    """Return the values of a plan by dotted key, without the sentences in it."""
    data = {key: value for key, value in files.plain(plan).items() if key not in _WORDS}
    data["traffic"]["options"] = kept_value("protocol", data["traffic"]["options"])  # of an older loadgen
    return dict(leaves(data))


def host_of(host: Host) -> Flat:
    """Return the values of a host by dotted key, without those that always change or that its file does not say."""
    if host == Host():
        return {}
    values = leaves(files.plain(asdict(host)))  # a Host itself is written without the values that are the default
    return {key: value for key, value in values if key not in _PASSING and value not in (None, "")}


def leaves(data: Flat, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value that is no mapping, nor a list with mappings in it, by dotted key."""
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
            value = {str(index): item for index, item in enumerate(value)}
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{name}.")
        elif not isinstance(value, Mapping):
            yield name, list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _overrides(text: str) -> Iterator[str]:
    """Yield the `--set` options above a scenario; one with a line feed goes on in the next comment."""
    pending: str | None = None
    for line in text.splitlines():
        if line.startswith(_SET):
            if pending is not None:
                yield pending
            pending = line.removeprefix(_SET)
        elif pending is not None and line.startswith(_CONTINUED):
            pending += "\n" + line.removeprefix(_CONTINUED)
        else:
            break
    if pending is not None:
        yield pending
