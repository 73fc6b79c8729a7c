"""Find patterns whose time grows with the square of their text, or worse, by their automata: nothing is timed.

A pattern is such a one if two of its places, p before q, can both stay where they are while one text is read, and that
same text leads from p to q: then every copy of the text may be where p ends and q begins, and all are tried before the
pattern fails. `\\s*;?\\s*$` is the simplest, `.*foo.*bar` another. A search has such a place in front, because it
begins anywhere: so `\\w+=` is one as well, unless a look behind says that a word begins there.

Sources: Weber and Seidl, On the degree of ambiguity of finite automata (1991); Glushkov's construction; of Python
Lib/re/_parser.py for the tree of a pattern.
"""

from __future__ import annotations

import re
import re._parser as parser  # type: ignore[import-not-found]  # private, so without types
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import reduce
from itertools import product
from operator import or_
from typing import Any, Final, NamedTuple, TypeAlias

#: Stand for all characters: those of Latin-1; a letter, a digit, a space and a symbol beyond.
_ALPHABET: Final = (*map(chr, range(256)), "\u4e00", "\u0663", "\u2003", "\u20ac")
#: Repeats with a maximum below this take no more than a multiple of the time.
_UNBOUNDED: Final = 4_096


def _mask(characters: Iterable[str]) -> int:
    return reduce(or_, (1 << at for at, character in enumerate(_ALPHABET) if character in characters), 0)


_ALL: Final = _mask(_ALPHABET)
_NEWLINE: Final = _mask("\n")
_CLASSES: Final = {
    name: _mask({character for character in _ALPHABET if re.match(pattern, character)})
    for name, pattern in (("DIGIT", r"\d"), ("SPACE", r"\s"), ("WORD", r"\w"))
}
_WORD: Final = _CLASSES["WORD"]


class Guard(NamedTuple):
    """A condition on the characters on both sides of a gap: one of the pairs has to hold; empty: it never does."""

    pairs: tuple[tuple[int, int], ...]

    def allows(self, before: int, after: int) -> bool:
        return any(before & left and after & right for left, right in self.pairs)


Guards: TypeAlias = tuple[Guard, ...]
_NEVER: Final = Guard(())
_ONE_CHARACTER: Final = ("LITERAL", "NOT_LITERAL", "ANY", "IN")


@dataclass(slots=True)
class _Part:
    """Places where a part of a pattern may begin and end. empty: guards under which it takes nothing; None: never."""

    first: list[tuple[int, Guards]] = field(default_factory=list)
    last: list[tuple[int, Guards]] = field(default_factory=list)
    empty: Guards | None = ()


class Automaton:
    """The places of a pattern with the characters that each of them takes, and the places that may follow each.

    searched: the pattern may begin anywhere, as with search(). whole: it ends with the text, as with fullmatch().
    """

    def __init__(self, pattern: str | bytes, flags: int = 0, *, searched: bool, whole: bool) -> None:
        self.takes: list[int] = []
        self.follow: list[dict[int, list[Guards]]] = []
        self._repeated: set[int] = set()
        tree = parser.parse(pattern, flags)
        part = self._sequence(list(tree), tree.state.flags)
        if searched:
            start = self._place(_ALL)
            self._repeated.add(start)
            anywhere: list[tuple[int, Guards]] = [(start, ())]
            self._join(anywhere, anywhere)
            part = self._then(_Part(anywhere, anywhere), part)
        #: Places from which the pattern can no longer fail: it may end there, with the text only if it takes all of it.
        self.accepts = {
            place
            for place, guards in part.last
            if not guards and (not whole or (self.takes[place] | _NEWLINE == _ALL and place in self.follow[place]))
        }

    def slow(self) -> str:
        """Return characters of a text that takes too long; "" if there is none."""
        components = self._components()
        for p, q in product(components, components):
            if p != q and q not in self.accepts and self.takes[p] & self.takes[q]:
                common = self._shared(p, q, components)
                if common:
                    return self._sample(common)
        for place, component in components.items():
            for after, ways in self.follow[place].items():
                if after in component and len(ways) > 1 and not component & self.accepts:
                    return self._sample(self.takes[place])
        return ""

    def _shared(self, p: int, q: int, components: dict[int, frozenset[int]]) -> int:
        """Return the characters of the place where a text stays at p, leads from p to q, and stays at q; 0: none."""
        start, goal = (p, p, q), (p, q, q)
        seen = {start}
        stack = [start]
        while stack:
            at = stack.pop()
            before = self._common(at)
            steps = (
                [place for place in self.follow[at[0]] if place in components[p]],
                list(self.follow[at[1]]),
                [place for place in self.follow[at[2]] if place in components[q]],
            )
            for to in product(*steps):
                after = self._common(to)
                if (to in seen and to != goal) or not after:
                    continue
                if all(self._may(here, there, before, after) for here, there in zip(at, to, strict=True)):
                    if to == goal:
                        return after
                    seen.add(to)
                    stack.append(to)
        return 0

    def _common(self, places: tuple[int, int, int]) -> int:
        return self.takes[places[0]] & self.takes[places[1]] & self.takes[places[2]]

    def _may(self, here: int, there: int, before: int, after: int) -> bool:
        return any(all(guard.allows(before, after) for guard in guards) for guards in self.follow[here][there])

    def _components(self) -> dict[int, frozenset[int]]:
        """Return, for each place that can be reached from itself, the places between."""
        reached = {place: {*self.follow[place]} & self._repeated for place in self._repeated}
        for middle, beyond in product(reached, repeat=2):
            if middle in reached[beyond]:
                reached[beyond] |= reached[middle]
        return {
            place: frozenset(other for other in others if place in reached[other])
            for place, others in reached.items()
            if place in others
        }

    @staticmethod
    def _sample(characters: int) -> str:
        return "".join(c for at, c in enumerate(_ALPHABET) if characters >> at & 1)[:100]

    def _place(self, takes: int) -> int:
        self.takes.append(takes)
        self.follow.append({})
        return len(self.takes) - 1

    def _join(self, last: list[tuple[int, Guards]], first: list[tuple[int, Guards]]) -> None:
        for (here, left), (there, right) in product(last, first):
            self.follow[here].setdefault(there, []).append(left + right)

    def _then(self, one: _Part, other: _Part) -> _Part:
        self._join(one.last, other.first)
        first, last = list(one.first), list(other.last)
        if one.empty is not None:
            first += [(place, one.empty + guards) for place, guards in other.first]
        if other.empty is not None:
            last += [(place, guards + other.empty) for place, guards in one.last]
        empty = None if one.empty is None or other.empty is None else one.empty + other.empty
        return _Part(first, last, empty)

    def _sequence(self, nodes: Iterable[tuple[Any, Any]], flags: int) -> _Part:
        part = _Part()
        for node in nodes:
            part = self._then(part, self._node(node, flags))
        return part

    def _node(self, node: tuple[Any, Any], flags: int) -> _Part:
        kind, value = str(node[0]), node[1]
        match kind:
            case _ if kind in _ONE_CHARACTER:
                place = self._place(_takes(node, flags))
                return _Part([(place, ())], [(place, ())], None)
            case "BRANCH":
                return self._either([self._sequence(nodes, flags) for nodes in value[1]])
            case "SUBPATTERN":
                _, added, removed, nodes = value
                return self._sequence(nodes, (flags | added) & ~removed)
            case "MAX_REPEAT" | "MIN_REPEAT":
                least, most, body = value
                return self._repeat(least, most, body, flags)
            case "POSSESSIVE_REPEAT":
                least, most, body = value
                return self._repeat(least, most, body, flags, keeps=True)
            case "ATOMIC_GROUP":
                return self._sequence(value, flags)
            case "AT":
                return _Part(empty=(_at(str(value), flags),))
            case "ASSERT" | "ASSERT_NOT":
                return _Part(empty=_look(kind, value[0], value[1], flags))
            case "GROUPREF":
                place = self._place(_ALL)
                return _Part([(place, ())], [(place, ())])
            case _:
                raise NotImplementedError(f"a pattern with {kind}")

    def _either(self, parts: list[_Part]) -> _Part:
        empty = [part.empty for part in parts if part.empty is not None]
        return _Part(
            [begin for part in parts for begin in part.first],
            [end for part in parts for end in part.last],
            min(empty, key=len) if empty else None,
        )

    def _repeat(self, least: int, most: int, nodes: Any, flags: int, *, keeps: bool = False) -> _Part:
        """Return the part of a repeat. keeps: it gives nothing back, so no character that it takes comes after it."""
        begin = len(self.takes)
        part = self._sequence(nodes, flags)
        if most >= _UNBOUNDED:
            self._join(part.last, part.first)
            self._repeated.update(range(begin, len(self.takes)))
        elif most > 1:
            again = self._sequence(nodes, flags)
            if least < 2:
                again.empty = ()
            part = self._then(part, again)
        if least == 0:
            part.empty = ()
        if keeps and most >= _UNBOUNDED and len(nodes) == 1 and str(nodes[0][0]) in _ONE_CHARACTER:
            ends = (Guard(((_ALL, _ALL & ~_takes(nodes[0], flags)),)),)
            part.last = [(place, guards + ends) for place, guards in part.last]
            part.empty = None if part.empty is None else part.empty + ends
        return part


def _takes(node: tuple[Any, Any], flags: int) -> int:
    """Return the characters that a node of one character takes."""
    kind, value = str(node[0]), node[1]
    match kind:
        case "ANY":
            return _ALL if flags & re.DOTALL else _ALL & ~_NEWLINE
        case "LITERAL":
            return _cased({chr(value)}, flags)
        case "NOT_LITERAL":
            return _ALL & ~_cased({chr(value)}, flags)
        case "RANGE":
            return _cased({character for character in _ALPHABET if value[0] <= ord(character) <= value[1]}, flags)
        case "CATEGORY":
            name = str(value).removeprefix("CATEGORY_")
            characters = _CLASSES[name.removeprefix("NOT_")]
            return _ALL & ~characters if name.startswith("NOT_") else characters
        case "IN":
            negated = str(value[0][0]) == "NEGATE"
            characters = reduce(or_, (_takes(item, flags) for item in value[negated:]), 0)
            return _ALL & ~characters if negated else characters
        case _:
            raise NotImplementedError(f"a pattern with {kind}")


def _cased(characters: set[str], flags: int) -> int:
    if flags & re.IGNORECASE:
        characters = characters | {c.lower() for c in characters} | {c.upper() for c in characters}
    return _mask(characters)


def _at(name: str, flags: int) -> Guard:
    match name:
        case "AT_BOUNDARY":
            return Guard(((_WORD, _ALL & ~_WORD), (_ALL & ~_WORD, _WORD)))
        case "AT_NON_BOUNDARY":
            return Guard(((_WORD, _WORD), (_ALL & ~_WORD, _ALL & ~_WORD)))
        case "AT_BEGINNING" if flags & re.MULTILINE:
            return Guard(((_NEWLINE, _ALL),))
        case "AT_END" if flags & re.MULTILINE:
            return Guard(((_ALL, _NEWLINE),))
        case _:
            return _NEVER


def _look(kind: str, direction: int, nodes: Any, flags: int) -> Guards:
    """Return the guard of a look around at one character. Any other is taken to hold always."""
    if len(nodes) != 1 or str(nodes[0][0]) not in _ONE_CHARACTER:
        return ()
    characters = _takes(nodes[0], flags)
    allowed = characters if kind == "ASSERT" else _ALL & ~characters
    return (Guard(((allowed, _ALL) if direction < 0 else (_ALL, allowed),)),)


def slow(pattern: str | bytes, flags: int = 0, *, searched: bool = False, whole: bool = False) -> str:
    """Return characters of a text that takes time with the square of its length, or worse; "" if there is none."""
    return Automaton(pattern, flags, searched=searched, whole=whole).slow()
