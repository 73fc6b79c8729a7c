"""No pattern of loadgen takes time with the square of its text: a pasted line may have sixty thousand characters."""

from __future__ import annotations

import ast
import gc
import importlib
import pkgutil
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import pytest

import loadgen
from tests.backtracking import slow

_ROOT = Path(loadgen.__file__).parent
#: Methods that a pattern is used by where it begins: all others look for it anywhere.
_ANCHORED = frozenset({"match", "fullmatch"})
#: Patterns that share a text between two repeats, and why that costs nothing.
_HARMLESS = {
    "loadgen.explain.formats.iptables._COMMENT": "cannot fail: a comment without an end ends with the line",
    "loadgen.explain.formats.json_documents._STRING": "fails once: the rest of the line is then taken at once",
    "loadgen.trace.arguments._PIECE": "cannot fail: a string without an end ends with the line",
    "loadgen.explain.formats.netstat._REST": "gets 400 characters",
    "loadgen.explain.formats.sockets._LEFT_OUT": "gets 80 characters",
    "loadgen.explain.sosreport._SYSCTL": "gets a path",
    "loadgen.explain.sosreport._NETNS": "gets a path",
    "loadgen.explain.sosreport._TEXT": "gets a path",
}


class Use(NamedTuple):
    """A pattern and where it stands. methods: those it is used by; empty: not known, so it is taken to be searched."""

    where: str
    pattern: str | bytes
    flags: int
    methods: frozenset[str]

    @property
    def slow(self) -> str:
        searched = not self.methods or bool(self.methods - _ANCHORED)
        whole = "fullmatch" in self.methods
        flags = self.flags & ~re.UNICODE if isinstance(self.pattern, bytes) else self.flags
        return slow(self.pattern, flags, searched=searched, whole=whole)


def modules() -> list[ModuleType]:
    names = [module.name for module in pkgutil.walk_packages(loadgen.__path__, "loadgen.")]
    return [importlib.import_module(name) for name in names if not name.endswith("__main__")]


def compiled(module: ModuleType) -> Iterator[tuple[str, re.Pattern[Any]]]:
    """Yield the patterns that a module holds, in tables as well, each with the name under which it is found."""
    for name, value in vars(module).items():
        seen: set[int] = set()
        stack = [value]
        while stack:
            held = stack.pop()
            if id(held) in seen:
                continue
            seen.add(id(held))
            if isinstance(held, re.Pattern):
                yield name, held
            elif isinstance(held, tuple | list | dict | frozenset | set | partial) or (
                type(held).__module__.startswith("loadgen.") and not isinstance(held, type | FunctionType)
            ):
                stack += gc.get_referents(held)


def methods_of(module: ModuleType) -> dict[str, set[str]]:
    """Return the methods that a module uses of each name in it: `NAME.search(...)`, also not yet called."""
    found: dict[str, set[str]] = defaultdict(set)
    for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found[node.value.id].add(node.attr)
    return found


def in_place(module: ModuleType) -> Iterator[Use]:
    """Yield the patterns that functions name in a call, as `re.search("...", text)`."""
    for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "re"
            and node.func.attr != "compile"
            and isinstance(argument := node.args[0], ast.Constant)
            and isinstance(pattern := argument.value, str | bytes)
        ):
            yield Use(f"{module.__name__}:{node.lineno}", pattern, 0, frozenset({node.func.attr}))


def uses() -> list[Use]:
    methods: dict[tuple[str | bytes, int], set[str]] = defaultdict(set)
    names: dict[tuple[str | bytes, int], str] = {}
    for module in modules():
        of_name = methods_of(module)
        for name, pattern in compiled(module):
            key = pattern.pattern, pattern.flags
            names.setdefault(key, f"{module.__name__}.{name}")
            methods[key] |= of_name[name] if getattr(module, name) is pattern else set()
    found = [Use(where, *key, frozenset(methods[key])) for key, where in names.items()]
    return found + [use for module in modules() for use in in_place(module)]


@pytest.mark.timeout(300)  # seconds of work, minutes on a busy machine
def test_no_pattern_shares_its_text_between_two_repeats() -> None:
    found = uses()
    assert len(found) > 300
    shared = {use.where: (use.pattern, characters) for use in found if (characters := use.slow)}
    assert {where: pattern for where, pattern in shared.items() if where not in _HARMLESS} == {}
    assert _HARMLESS.keys() <= shared.keys(), "a pattern that is mended needs no excuse"


@pytest.mark.parametrize(
    ("pattern", "searched", "whole", "expected"),
    [
        (r"\s*;?\s*", False, True, True),
        (r"\s*;?\s*", False, False, False),  # never fails
        (r"\s*+;?\s*", False, True, False),  # gives nothing back
        (r"\s*(?:;\s*)?", False, True, False),
        (r"(?:a+)+b", False, False, True),
        (r"(?:a*)*b", False, False, True),
        (r"(?:ab|a|b)*c", False, False, True),
        (r".*foo.*bar", False, False, True),
        (r".*foo.*", False, False, False),
        (r"\w+=", True, False, True),
        (r"\w+=", False, False, False),
        (r"\b\w+=", True, False, False),
        (r"\b[\w.]+=", True, False, True),
        (r"(?<![\w.])[\w.]+=", True, False, False),
        (r"^\w+=", True, False, False),
        (r"foo.*bar", True, False, True),
        (r'"(?:\\.|[^"\\])*"', False, False, False),
        (r"(?i:A+)a+B", False, False, True),
        (rb"[a-z]*\d?[^0-9]*;", False, False, True),
    ],
)
def test_shared_texts_are_found(pattern: str | bytes, searched: bool, whole: bool, expected: bool) -> None:
    assert bool(slow(pattern, searched=searched, whole=whole)) == expected
