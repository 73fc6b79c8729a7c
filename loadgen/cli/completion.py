"""Completion on <TAB>: scenario files, and keys and values for --set from the scenario's schema."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem

_SUFFIXES: Final = (".yaml", ".yml")
#: Values that need no quotes in any shell; others are not offered.
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/%:-]*")
#: Maximum depth of directories with a single entry each; a link may lead in a circle.
_DEPTH_MAX: Final = 20


def scenarios(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the scenario files that begin with `incomplete`, and the directories on the way to others.

    A shell ends a single answer with a space, so a directory is never the single answer: its entries are.
    """
    paths = _files(incomplete)
    for _ in range(_DEPTH_MAX):
        if len(paths) != 1 or not paths[0].endswith("/") or not (inside := _files(paths[0])):
            break
        paths = inside
    return paths


def _files(incomplete: str) -> list[str]:
    folder, slash, start = incomplete.rpartition("/")
    try:
        entries = sorted(os.scandir(os.path.expanduser(folder + slash) or "."), key=lambda entry: entry.name)
    except OSError:
        return []
    return [
        folder + slash + entry.name + ("/" if entry.is_dir() else "")
        for entry in entries
        if entry.name.startswith(start)
        and (start or not entry.name.startswith("."))
        and (entry.is_dir() or entry.name.endswith(_SUFFIXES))
    ]


def settings(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Return KEY= for each key that begins with `incomplete`; for a single key, KEY=VALUE for each of its values."""
    from click.shell_completion import CompletionItem

    from loadgen.scenario import json_schema

    schema = json_schema()
    leaves = {f"{path}=": node for path, node in _leaves(schema, schema, "")}
    keys = {key: node for key, node in leaves.items() if key.startswith(incomplete) or incomplete.startswith(key)}
    if len(keys) != 1:
        return [CompletionItem(key, help=node.get("description")) for key, node in keys.items()]
    ((key, node),) = keys.items()
    values = _values(node, schema)
    offered = [key, *(key + value for value in values)] if len(values) < 2 else [key + value for value in values]
    return [CompletionItem(text) for text in offered if text.startswith(incomplete)]


def _leaves(node: Mapping[str, Any], schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each key that has a value, with its dotted path; for a list that of its first item."""
    for kind in _kinds(node, schema):
        for name, inner in kind.get("properties", {}).items():
            yield from _leaves(inner, schema, f"{path}.{name}" if path else name)
        items = kind.get("items")
        if items and any("properties" in kind for kind in _kinds(items, schema)):
            yield from _leaves(items, schema, f"{path}.0")
    if path and not any("properties" in kind for kind in _kinds(node, schema)[:1]):
        yield path, node


def _kinds(node: Mapping[str, Any], schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the alternatives of a schema node: itself, the node it refers to, or each of several."""
    if "anyOf" in node:
        return [kind for alternative in node["anyOf"] for kind in _kinds(alternative, schema)]
    if "$ref" in node:
        return [schema["$defs"][node["$ref"].rpartition("/")[2]]]
    return [node]


def _values(node: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """Return the values that the schema names for a key: an enumeration, true and false, default and examples."""
    named: list[object] = []
    for kind in _kinds(node, schema):
        named += kind.get("enum", ["true", "false"] if kind.get("type") == "boolean" else [])
    named = named or [node.get("default"), *node.get("examples", ())]
    texts = [str(value) for value in named if isinstance(value, str | int) and not isinstance(value, bool)]
    return list(dict.fromkeys(text for text in texts if _PLAIN.fullmatch(text)))


def in_bash() -> None:
    """Make bash complete KEY=VALUE, which it splits into words at each "=" (COMP_WORDBREAKS, bash(1))."""
    from click.shell_completion import BashComplete, add_completion_class

    class Bash(BashComplete):
        _kept = ""

        def get_completion_args(self) -> tuple[list[str], str]:
            args, last = super().get_completion_args()
            *args, incomplete = _joined([*args, last])
            self._kept = incomplete.removesuffix(last.lstrip("=")) if incomplete != last else ""
            return args, incomplete

        def format_completion(self, item: CompletionItem[Any]) -> str:
            return f"{item.type},{str(item.value).removeprefix(self._kept)}"

    add_completion_class(Bash)


def _joined(words: list[str]) -> list[str]:
    """Return the words with the value of --set in one piece again: "key", "=", "value" is key=value."""
    joined: list[str] = []
    for word in words:
        after_set = joined[-2:-1] == ["--set"]
        if after_set and (set(word) == {"="} or (joined[-1].endswith("=") and not word.startswith("--"))):
            joined[-1] += word
        else:
            joined.append(word)
    return joined
