"""YAML text -> plain data that remembers where every value was written.

A strict subset of YAML 1.2: one document, a mapping at the top, string keys, each key once; no
anchors, aliases, tags, merge keys or directives; no tabs, control or bidirectional characters. What
is left cannot grow when it is read, so size, depth and number of values bound time and memory.
What a key means is not known here; see `loadgen.scenario`.

ruamel.yaml scans and parses. The data is built here, straight from its events, because its composer
and constructors recurse without limit, follow aliases, and forget lines and columns.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml import events as yaml_events
from ruamel.yaml.error import MarkedYAMLError

from loadgen.errors import ScenarioError

TEXT_BYTES_MAX: Final = 256 * 1024
DEPTH_MAX: Final = 20
#: Keys and values together. Reading this many takes about a second; a scenario has a few dozen.
NODES_MAX: Final = 20_000
#: Enough for 2**64 with its sign; int() of a very long text takes quadratic time.
NUMBER_CHARACTERS_MAX: Final = 25

#: Characters of an option that stand before each mistake in it: there may be as many mistakes as values.
_OPTION_MAX: Final = 200

#: Where a value stands: keys and list indices from the top, ("targets", 0, "address").
Step = str | int
Path = tuple[Step, ...]

# Tab, C0 and C1 controls, line breaks other than LF, bidirectional controls (they make a reader see
# another text than the program does, CVE-2021-42574), lone surrogates, byte order marks.
_FORBIDDEN: Final = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)
_BIDIRECTIONAL: Final = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")

# YAML 1.2.2 section 10.3.2 (core schema), and digits grouped by "_" as Python writes them.
_CONSTANTS: Final[Mapping[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER: Final = re.compile(r"[-+]?[0-9]+(?:_[0-9]+)*|0o[0-7]+|0x[0-9a-fA-F]+")
_LEADING_ZERO: Final = re.compile(r"[-+]?0[0-9_]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")

_UNQUOTED_IPV6: Final = re.compile(r"\[[0-9a-fA-F.]*:[0-9a-fA-F:.]*\]:[0-9]+")

#: A part of a message of ruamel.yaml, and the remedy.
_REMEDIES: Final = (
    ("mapping values are not allowed", 'line keys up in one column, and quote text that holds ": "'),
    ("cannot start any token", "put text that begins with this character in quotes"),
    ("could not find expected ':'", 'write "key: value"'),
    ("unexpected end of stream", "close the quotes"),
    ("<stream end>", "close the bracket"),
    ("unknown escape character", 'use single quotes, where "\\" is an ordinary character'),
)


def shown(value: object, length_max: int = 60) -> str:
    """Return a value for a message: quoted if text, on one line, printable, not too long."""
    text = printable(_cut(value if isinstance(value, str) else str(value), length_max))
    return f'"{text}"' if isinstance(value, str) else text


def _cut(text: str, length_max: int) -> str:
    return text if len(text) <= length_max else text[: length_max - 3] + "..."


def printable(text: str) -> str:
    """Replace unprintable characters with escapes, so that the text cannot control a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A file (or a command-line option) and a line and column in it, both from 1; 0 means no line."""

    file: str
    line: int = 0
    column: int = 0

    def error(self, message: str) -> ScenarioError:
        """Return an error that points here."""
        return ScenarioError(message, file=self.file, line=self.line, column=self.column)


@dataclass(slots=True)
class Document:
    """Plain data (dict, list, str, int, float, bool) and the place of every value and key in it."""

    data: dict[str, Any]
    values: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)
    #: First and last index, exclusive, of every single value in the text; not of what was changed since it was read.
    spans: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def place(self, path: Path) -> Place:
        """Return the place of the value at `path`; of the mapping or list around it if there is none."""
        while path not in self.values:
            path = path[:-1]
        return self.values[path]

    def key_place(self, path: Path) -> Place:
        """Return the place of the last key of `path`."""
        return self.keys.get(path) or self.place(path)

    def override(self, setting: str, shown: str | None = None) -> None:
        """Apply one `KEY=VALUE` of the command line: a dotted path and a YAML value. shown: the same for messages.

        The key may name something that is not there yet; a number in it is an index into a list
        that is. Sysctl names hold dots, so what follows `lab.sysctls.` is one key; so it is with `matrix.`. The value
        null leaves a key out.

        Raises: ScenarioError, its file the option itself and its line 0.
        """
        place = Place(f"--set {printable(_cut(setting if shown is None else shown, _OPTION_MAX))}")
        name, equals, text = setting.partition("=")
        if not equals:
            raise place.error("write KEY=VALUE, for example --set connections=1000")
        if match := _FORBIDDEN.search(name):
            raise place.error(_forbidden(match[0]))
        _check_size(text, place)
        if not text.strip():
            raise place.error('write a value after the "="')
        if leaves_out(text):
            self._leave_out(name, place)
            return
        try:
            value = _Builder(text, place.file).only_value()
        except ScenarioError as error:
            raise place.error(error.message) from None
        self.put(name, value, place)

    def put(self, name: str, value: Any, place: Place, key_place: Place | None = None) -> None:
        """Put a value at a dotted path; `place` says where it was written, `key_place` where the path was.

        Raises: ScenarioError when no such path can be.
        """
        at_key = key_place or place
        steps = split_key(name)
        if not all(steps) or len(steps) > DEPTH_MAX:
            raise at_key.error("KEY is names with single dots between them, for example targets.0.address")
        container: Any = self.data
        path: Path = ()
        for count, word in enumerate(steps):
            step: Step = word
            if isinstance(container, list):
                step = _index(word, len(container), shown(".".join(steps[:count])), at_key)
            elif not isinstance(container, dict):
                raise at_key.error(f"{shown('.'.join(steps[:count]))} is a single value and has nothing inside it")
            path += (step,)
            if count == len(steps) - 1:
                container[step] = value
            elif isinstance(container, dict) and step not in container:
                container[step] = {}
                self._replace(path, place, at_key)
            container = container[step]
        self._replace(path, place, at_key)

    def _leave_out(self, name: str, place: Place) -> None:
        """Remove the key at a dotted path, as if it were not written. Raises: ScenarioError where there is none."""
        *above, last = split_key(name)
        container: Any = self.data
        path: Path = ()
        for count, word in enumerate(above):
            step: Step = word
            if isinstance(container, list):
                step = _index(word, len(container), shown(".".join(above[:count])), place)
            elif not isinstance(container, dict) or word not in container:
                container = None
                break
            container, path = container[step], (*path, step)
        if isinstance(container, list):
            raise place.error("null leaves out a key, not an item of a list; write the whole list")
        if not isinstance(container, dict) or last not in container:
            raise place.error("null leaves out a key that is written, and this one is not; check its path")
        del container[last]
        self._forget((*path, last))

    def copy(self) -> Document:
        """Return a copy that can be changed independently."""
        return Document(copy.deepcopy(self.data), dict(self.values), dict(self.keys))

    def _replace(self, path: Path, place: Place, key_place: Place) -> None:
        """Make `place` the place of the value at `path` and of everything in it, `key_place` that of its key."""
        self._forget(path)
        self.values[path], self.keys[path] = place, key_place

    def _forget(self, path: Path) -> None:
        """Forget the places of the value at `path` and of everything in it."""
        for places in (self.values, self.keys):
            for old in [old for old in places if old[: len(path)] == path]:
                del places[old]


#: The rest of a path after these is one key, dots included: the name of a sysctl, a path of a matrix.
_WHOLE: Final = ("lab.sysctls.", "matrix.")


def leaves_out(text: str) -> bool:
    """Return whether the value of a `KEY=VALUE` says that the key is to be left out."""
    return text.strip() == "null"


def split_key(name: str) -> list[str]:
    """Return the steps of a dotted path; one of them is empty where two dots meet."""
    for head in _WHOLE:
        if name.startswith(head):
            return [*head.split(".")[:-1], name[len(head) :]]
    return name.split(".")


def _index(word: str, length: int, name: str, place: Place) -> int:
    if word.isascii() and word.isdigit() and len(word) < 6 and int(word) < length:
        return int(word)
    raise place.error(f"{name} is a list of {length}; write an index from 0 to {length - 1}, not {shown(word)}")


def read(text: str | bytes, file: str) -> Document:
    """Read one YAML text.

    Raises: ScenarioError for anything outside the subset described at the top of this module.
    """
    _check_size(text, Place(file, 1, 1))
    if isinstance(text, bytes):
        text = _decode(text, file)
    builder = _Builder(text.removeprefix("\ufeff"), file)
    data = builder.only_value()
    if not isinstance(data, dict):
        raise builder.values[()].error('a scenario is a mapping; begin with "name: ..."')
    return Document(data, builder.values, builder.keys, builder.spans)


def _check_size(text: str | bytes, place: Place) -> None:
    data = text.encode("utf-8", "replace") if isinstance(text, str) else text
    if len(data) > TEXT_BYTES_MAX:
        raise place.error(f"larger than {TEXT_BYTES_MAX // 1024} KiB; write addresses as CIDR or ranges")


def _decode(data: bytes, file: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        place = _place_in(data[: error.start].decode("utf-8"), error.start, file)
        raise place.error(f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8") from None


def _place_in(text: str, index: int, file: str) -> Place:
    """Return the place of `text[index]`; an index past the end means the end."""
    before = text[:index]
    return Place(file, before.count("\n") + 1, len(before) - before.rfind("\n"))


class _Builder:
    """One pass over the events of one text; `values` and `keys` are filled on the way."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.values: dict[Path, Place] = {}
        self.keys: dict[Path, Place] = {}
        self.spans: dict[Path, tuple[int, int]] = {}
        self._text = text.replace("\r\n", "\n")
        self._nodes = 0
        self._check_characters()
        self._events: Iterator[Any] = YAML(typ="safe", pure=True).parse(self._text)

    def only_value(self) -> Any:
        """Return the value of the only document in the text."""
        self._next()  # the start of the stream
        if isinstance(self._next(), yaml_events.StreamEndEvent):
            raise Place(self.file, 1, 1).error('nothing is written here; begin with "name: ..."')
        value = self._value((), self._next())
        self._next()  # the end of the document
        if not isinstance(event := self._next(), yaml_events.StreamEndEvent):
            raise self._place(event).error("a second document begins here; keep one scenario in one file")
        return value

    def _check_characters(self) -> None:
        if match := _FORBIDDEN.search(self._text):
            raise _place_in(self._text, match.start(), self.file).error(_forbidden(match[0]))
        # A directive could switch to YAML 1.1, where `yes` is true and 1:30 is a number.
        if match := re.search(r"^%", self._text, re.MULTILINE):
            raise _place_in(self._text, match.start(), self.file).error("a YAML directive; delete the line")

    def _place(self, event: Any) -> Place:
        return Place(self.file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _next(self) -> Any:
        try:
            return next(self._events)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = Place(self.file, mark.line + 1, mark.column + 1) if mark else Place(self.file, 1, 1)
            raise place.error(self._explain(error, place.line)) from None
        except Exception as error:
            # On hostile text ruamel.yaml raises ValueError, OverflowError and others. None of them is a
            # bug in loadgen; the text cannot be read.
            raise Place(self.file, 1, 1).error(f"not readable as YAML: {shown(str(error))}; simplify it") from None

    def _explain(self, error: MarkedYAMLError, line: int) -> str:
        problem = printable(" ".join(f"{error.problem or error.context}".split()))
        lines = self._text.split("\n")
        if 1 <= line <= len(lines) and (match := _UNQUOTED_IPV6.search(lines[line - 1])):
            return f'put an IPv6 address and its port in quotes: "{match[0][:60]}"'
        remedy = next((remedy for part, remedy in _REMEDIES if part in problem), "check indentation and brackets")
        return f"not valid YAML, {problem}; {remedy}"

    def _value(self, path: Path, event: Any) -> Any:
        place = self.values[path] = self._place(event)
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise place.error(f"more than {NODES_MAX:,} keys and values; write addresses as CIDR or ranges")
        if isinstance(event, yaml_events.AliasEvent) or event.anchor is not None:
            raise place.error("anchors (&) and aliases (*) are not read; write the value out")
        if event.tag is not None:
            raise place.error(f"tags ({shown(event.tag)}) are not read; write the plain value, quoted if it is text")
        if isinstance(event, yaml_events.ScalarEvent):
            self.spans[path] = event.start_mark.index, event.end_mark.index
            return self._scalar(path, event, place)
        if len(path) >= DEPTH_MAX:
            raise place.error(f"nested deeper than {DEPTH_MAX} levels; no key of a scenario is that deep")
        if isinstance(event, yaml_events.MappingStartEvent):
            return self._mapping(path)
        items: list[Any] = []
        while not isinstance(event := self._next(), yaml_events.SequenceEndEvent):
            items.append(self._value((*path, len(items)), event))
        return items

    def _mapping(self, path: Path) -> dict[str, Any]:
        data: dict[str, Any] = {}
        while not isinstance(event := self._next(), yaml_events.MappingEndEvent):
            place = self._place(event)
            plain = isinstance(event, yaml_events.ScalarEvent) and event.implicit[0]
            if plain and event.value == "<<":
                raise place.error("merge keys (<<) are not read; write the keys out")
            # Through _value(), which checks anchors, tags and the limits of keys too.
            if isinstance(event, yaml_events.ScalarEvent) and plain and event.value in _CONSTANTS:
                key: Any = None
            else:
                key = self._value((*path, ""), event)
            if not isinstance(key, str):
                raise place.error("a key must be text; put it in quotes")
            if key in data:
                first = self.keys[(*path, key)]
                raise place.error(f"key {shown(key)} is given twice, first at {first.line}:{first.column}; delete one")
            self.keys[(*path, key)] = place
            data[key] = self._value((*path, key), self._next())
        self.values.pop((*path, ""), None)
        self.spans.pop((*path, ""), None)
        return data

    def _scalar(self, path: Path, event: Any, place: Place) -> Any:
        text: str = event.value
        # Checked again, because "\u202e" in double quotes has become the character only now.
        if match := _FORBIDDEN.search(text):
            raise place.error(_forbidden(match[0]))
        if not event.implicit[0]:  # in quotes, or a block
            return text
        if text in _CONSTANTS:
            if (constant := _CONSTANTS[text]) is None:
                name = shown(path[-1]) if path and isinstance(path[-1], str) else "this item"
                place = self.keys.get(path, place)
                raise place.error(f"{name} has no value; give one, {{}} for an empty mapping, or delete the key")
            return constant
        if _NOT_FINITE.fullmatch(text):
            raise place.error(f"{text} is not a number to count with; write a finite one")
        if _INTEGER.fullmatch(text):
            return _integer(text, place)
        if _FLOAT.fullmatch(text):
            if math.isinf(number := float(text)):
                raise place.error(f"{shown(text)} is too large a number")
            return number
        return text


def _integer(text: str, place: Place) -> int:
    if len(text) > NUMBER_CHARACTERS_MAX:
        raise place.error(f"{shown(text)} is too large a number")
    if _LEADING_ZERO.fullmatch(text):
        plain = int(text.replace("_", ""))
        raise place.error(f"{text} could be octal; write {plain}, or put it in quotes if it is text")
    return int(text, 0)


def _forbidden(character: str) -> str:
    code = f"U+{ord(character):04X}"
    if character == "\t":
        return "a tab; write spaces instead"
    if _BIDIRECTIONAL.match(character):
        return f"{code} makes text look different from what it says (bidirectional control); delete it"
    if "\udc80" <= character <= "\udcff":  # PEP 383: a byte of the command line that could not be decoded
        return f"byte 0x{ord(character) - 0xDC00:02X} is not UTF-8; write the text in UTF-8"
    return f"{code} is a control character; delete it"
