"""The text of a scenario that rebuilds a situation, with the reason of each value in a comment before it."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from loadgen import format as fmt
from loadgen import scenario as scenarios
from loadgen.errors import LoadgenError, ScenarioError
from loadgen.reproduce.circumstances import Circumstances
from loadgen.reproduce.draft import Draft, Noted
from loadgen.reproduce.rebuilt import NotReproducibleError, Rebuilt
from loadgen.reproduce.recipes import RECIPES

if TYPE_CHECKING:
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

_WIDTH: Final = 110
_STEP: Final = 2
_HEAD: Final = (
    "A situation of another host, rebuilt by loadgen in a lab on this machine. Run it with: loadgen run FILE\n"
    "Before each value stands where it comes from: a line of the evidence, or `chosen here`."
)


def write(circumstances: Circumstances, *, full_size: bool = False) -> str:
    """Return a scenario, as YAML, in which the same attempts fail for the same reason.

    full_size: keep the numbers, where a scaled scenario would take seconds.

    Raises: NotReproducibleError for a situation that no lab can rebuild; the message tells what is missing.
    """
    name = circumstances.limit
    recipe = RECIPES.get(name)
    if recipe is None:
        shown = fmt.on_one_line(name)[:60]
        raise NotReproducibleError(f'a situation of limit "{shown}" cannot be rebuilt in a lab: there is no recipe')
    text = _text(f"reproduce-{name}", recipe.build(Rebuilt(circumstances, full_size)))
    try:
        scenarios.parse(text)
    except ScenarioError as error:
        raise LoadgenError(f"a bug in loadgen: the scenario that it wrote is not valid: {error}") from error
    return text


def _text(name: str, draft: Draft) -> str:
    from ruamel.yaml import YAML  # a slow import

    yaml = YAML()
    yaml.width = _WIDTH
    yaml.indent(mapping=_STEP, sequence=_STEP + 2, offset=_STEP)
    keys = {"name": Noted(name), "description": Noted(" ".join(draft.about)), **draft.whole}
    stream = io.StringIO()
    yaml.dump(_mapping(keys, 0), stream)
    return _comment(_HEAD, 0, mark="# ") + stream.getvalue()


def _value(value: object, indent: int) -> object:
    from ruamel.yaml.scalarstring import LiteralScalarString

    if isinstance(value, Mapping):
        return _mapping(value, indent)
    if isinstance(value, list):
        return _sequence(value, indent)
    if isinstance(value, str) and "\n" in value:
        return LiteralScalarString(value)
    return value


def _mapping(keys: Mapping[str, object], indent: int) -> CommentedMap:
    from ruamel.yaml.comments import CommentedMap

    made = CommentedMap()
    for key, value in keys.items():
        plain, why = (value.value, value.why) if isinstance(value, Noted) else (value, "")
        made[key] = _value(plain, indent + _STEP)
        if why:
            made.yaml_set_comment_before_after_key(key, before=_comment(why, indent), indent=indent)
    return made


def _sequence(items: list[object], indent: int) -> CommentedSeq:
    from ruamel.yaml.comments import CommentedSeq

    made = CommentedSeq()
    for index, item in enumerate(items):
        plain, why = (item.value, item.why) if isinstance(item, Noted) else (item, "")
        made.append(_value(plain, indent + _STEP))
        if why:
            made.yaml_set_comment_before_after_key(index, before=_comment(why, indent), indent=indent)
    return made


def _comment(text: str, indent: int, *, mark: str = "") -> str:
    """Return the lines of a comment; characters that a scenario may not have are escapes."""
    lines = [line for part in text.split("\n") for line in textwrap.wrap(fmt.on_one_line(part), _WIDTH - indent - 2)]
    return "".join(f"{mark}{line}\n" for line in lines) if mark else "\n".join(lines)
