"""The scenarios that come with loadgen: a directory of the installed package, or of the checkout.

A wheel has them as loadgen/scenarios (pyproject.toml); a checkout, and an editable installation of it, as scenarios/
beside the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadgen.errors import HostError, UsageError
from loadgen.scenario.load import load, read_bytes
from loadgen.scenario.nearest import nearest

_PACKAGE: Final = Path(__file__).parents[1]
_PLACES: Final = (_PACKAGE / "scenarios", _PACKAGE.parent / "scenarios")
#: The line for editors, whose path is right in the checkout only.
_FOR_EDITORS: Final = "# yaml-language-server:"


@dataclass(frozen=True, slots=True)
class ReadyScenario:
    """One of them: its name, as that of its file, and what it proves."""

    name: str
    description: str


def listing() -> list[ReadyScenario]:
    """Return all, by name. Raises: HostError when this installation has none; ScenarioError for an edited one."""
    return [ReadyScenario(path.stem, load(path).description) for path in _files()]


def text_of(name: str) -> str:
    """Return the text of one, for a copy anywhere. Raises: UsageError for an unknown name; HostError, see `listing`."""
    paths = {path.stem: path for path in _files()}
    if name not in paths:
        raise UsageError(f"no scenario is called {name!r}; {nearest(name, list(paths))}")
    text = read_bytes(paths[name]).decode()
    return text.partition("\n")[2] if text.startswith(_FOR_EDITORS) else text


def names() -> list[str]:
    """Return the names of all, sorted; none when this installation has none."""
    try:
        return [path.stem for path in _files()]
    except HostError:
        return []


def _files() -> list[Path]:
    for place in _PLACES:
        if found := sorted(place.glob("*.yaml")):
            return found
    raise HostError("this installation of loadgen has no scenarios; install its wheel, or run it from a checkout")
