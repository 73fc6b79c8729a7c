"""A case: text that people paste, and what `loadgen explain` has to say about it.

README.md describes the files. This module reads them, gives the evidence to the command in this process, and compares
the JSON that it prints with what is right.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from click.testing import CliRunner
from ruamel.yaml import YAML

from loadgen.cli.main import cli
from loadgen.errors import ExitCode, LoadgenError
from tests.incidents.incident import Remedy, untrue

HERE: Final = Path(__file__).parent
RIGHT: Final = "right.yaml"
#: A line of the evidence that stands for many.
_BULK: Final = re.compile(r"^<bulk (\S+)>$", re.MULTILINE)


class Bulk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lines that differ in little, so that 28,232 sockets need no file of 2 MB."""

    count: int
    line: str
    """{n}: from 0; {port}; {hex}: the port as /proc/net/tcp writes it; {m}: from 1 to `of`, again and again"""
    port: int = 32768
    of: int = 1
    each: int = 1
    """lines that have the same port"""

    def lines(self) -> Iterator[str]:
        """Return the lines."""
        for n in range(self.count):
            port = self.port + n // self.each
            yield self.line.format(n=n, port=port, hex=f"{port:04X}", m=1 + n % self.of)


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Columns that one of the spaces must have."""

    scope: str | None = None
    transport: str | None = None
    source: str | None = None
    destination: str | None = None
    destination_port: int | None = None
    port: int | None = None
    used: int | None = None
    in_use: int | None = None
    time_wait: int | None = None
    usable: int | None = None
    free: int | None = None
    assumed: bool | None = None
    strategy: str | None = None
    owner: str | None = None
    """the command that has most"""

    def holds(self, row: Mapping[str, Any]) -> bool:
        """True if a row of the answer has all of them."""
        wanted = msgspec.to_builtins(self)
        owner = wanted.pop("owner", None)
        owners = row.get("owners") or [{"command": None}]
        return all(row.get(key) == value for key, value in wanted.items()) and owner in (None, owners[0]["command"])


class Reproduced(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a run of the scenario that explain writes has to meet."""

    limit: str
    fails: str = ""
    """system call and errno, as in "connect EADDRNOTAVAIL"; empty: no connection fails"""
    probe: str = ""
    """the same of a service that the scenario starts"""
    says: str = ""
    """a regular expression found in the scenario, where it cannot be quite the same"""
    needs: str = ""
    """a program that the lab calls: nft"""
    alone: bool = False
    """no other run meanwhile, because it uses up what all namespaces of a host share"""


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The answer that is right."""

    limit: str | tuple[str, ...] = ()
    """the limit of the first finding, of several each is right; "none": there is no finding"""
    confidence: tuple[str, ...] = ()
    """how sure the first finding may be"""
    candidates: tuple[str, ...] = ()
    """limits that must be left where it is open: the first one, too"""
    also: tuple[str, ...] = ()
    """limits that must be found as well, in whatever place"""
    only: bool = False
    """there is no second finding"""
    never: tuple[str, ...] = ()
    """limits that no finding may name, nor leave possible"""
    refuted: tuple[str, ...] = ()
    """limits that the first finding must rule out"""
    source: str | None = None
    target: str | None = None
    """of the first finding"""
    text: str = ""
    """a regular expression that the first finding's sentence or its evidence has"""
    lines: tuple[str, ...] = ()
    """FILE:LINE that the evidence of the first finding must name"""
    first: Remedy | None = None
    remedies: tuple[Remedy, ...] = ()
    no_remedy: tuple[Remedy, ...] = ()
    """of all findings: what would not come true, or do harm"""
    fullest: Row | None = None
    """the first of the spaces"""
    spaces: tuple[Row, ...] = ()
    """others that must be there"""
    no_spaces: bool = False
    first_missing: str = ""
    """a regular expression for the command that is most useful to decide"""
    missing: tuple[str, ...] = ()
    """for further commands"""
    unread: tuple[str, ...] | None = ()
    """exactly these, as FILE:FIRST-LAST or FILE:LINE; null: it does not matter"""
    facts: tuple[str, ...] = ()
    """`PATH OP VALUE` on the JSON, as in tests/incidents"""
    exit: int = 0
    message: str = ""
    """a regular expression found in the message with which it refuses, and then prints nothing else"""


class Situation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file right.yaml, or an item of a list of cases with short texts."""

    kind: str
    """what family it belongs to"""
    right: Expected
    situation: str = ""
    """what happened, in a line"""
    thread: str = ""
    """the public thread that describes such a case"""
    name: str = ""
    """in a list; else it is the directory's"""
    text: str = ""
    """what was pasted, where no file has it; it comes by standard input"""
    files: tuple[str, ...] = ()
    """in this order; else all beside right.yaml, by name"""
    arguments: tuple[str, ...] = ()
    """further ones"""
    bulk: dict[str, Bulk] = {}
    """for the lines "<bulk NAME>" of the evidence"""
    reproduces: Reproduced | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A case, and where its files are."""

    path: Path
    situation: Situation

    @property
    def name(self) -> str:
        """Where it is, below tests/evidence."""
        inside = str(self.path.relative_to(HERE).with_suffix(""))
        return f"{inside}/{self.situation.name}" if self.situation.name else inside

    @property
    def is_small(self) -> bool:
        """True if it is plain text, and has no lines by the thousand."""
        return not self.situation.bulk and self.situation.kind not in ("hostile", "archive")

    def prepare(self, home: Path) -> tuple[list[str], bytes]:
        """Write the evidence with all its lines into a directory; return the arguments, and the standard input."""
        situation = self.situation
        if situation.text:
            return ["-"], self._whole(situation.text.encode())
        names = situation.files or tuple(sorted(one.name for one in self.path.iterdir() if one.name != RIGHT))
        for source in sorted(self.path.rglob("*")):
            if source.is_file() and source.name != RIGHT:
                copy = home / source.relative_to(self.path)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(self._whole(source.read_bytes()))
        return list(names), b""

    def _whole(self, content: bytes) -> bytes:
        if not self.situation.bulk:
            return content
        return _BULK.sub(lambda found: "\n".join(self.situation.bulk[found[1]].lines()), content.decode()).encode()


def cases() -> list[Case]:
    """Every case, by name. Raises: msgspec.ValidationError for a file that is not as described above."""
    yaml = YAML(typ="safe", pure=True)
    alone = [Case(path.parent, msgspec.convert(yaml.load(path), Situation)) for path in sorted(HERE.rglob(RIGHT))]
    lists = sorted(HERE.glob("*.yaml"))
    return alone + [
        Case(path, one) for path in lists for one in msgspec.convert(yaml.load(path), tuple[Situation, ...])
    ]


@dataclass(frozen=True, slots=True)
class Said:
    """What the command said."""

    code: int
    out: str
    message: str = ""
    document: Mapping[str, Any] = field(default_factory=dict)

    @property
    def findings(self) -> Sequence[Mapping[str, Any]]:
        """The findings, most likely first."""
        found: Sequence[Mapping[str, Any]] = self.document.get("findings") or []
        return found


def explain(*arguments: str, stdin: bytes = b"") -> Said:
    """Run `loadgen explain` in this process, with files relative to the working directory."""
    result = CliRunner().invoke(cli, ["explain", *arguments], input=stdin, standalone_mode=False)
    error = result.exception
    if isinstance(error, LoadgenError):
        return Said(error.exit_code, result.stdout, str(error))
    if isinstance(error, click.ClickException):
        return Said(ExitCode.USAGE, result.stdout, error.format_message())
    if isinstance(error, click.exceptions.Exit):
        return Said(error.exit_code, result.stdout)
    if error and not isinstance(error, SystemExit):
        raise error
    # Without standalone_mode click returns the code of ctx.exit() instead of raising it.
    code = result.return_value if isinstance(result.return_value, int) else result.exit_code
    document = json.loads(result.stdout) if "--json" in arguments and result.stdout else {}
    return Said(code, result.stdout, result.stderr, document)


def wrong(right: Expected, said: Said) -> Iterator[str]:
    """Everything in which an answer differs from what is right."""
    if said.code != right.exit:
        yield f"exit code {said.code}, not {right.exit}: {said.message}"
    if right.message:
        if not re.search(right.message, said.message):
            yield f"no message {right.message!r} but {said.message!r}"
        return
    if not said.document:
        yield f"no answer: {said.message}"
        return
    yield from _wrong_findings(right, said)
    yield from _wrong_spaces(right, said.document["spaces"])
    commands = [one["command"] for one in said.document["missing"]]
    if right.first_missing and not re.search(right.first_missing, commands[0] if commands else ""):
        yield f"first of what is missing: {commands[:1]}, not {right.first_missing!r}"
    for command in right.missing:
        if not any(re.search(command, one) for one in commands):
            yield f"{command!r} is not missing: {commands}"
    if right.unread is not None and _lines(said.document["unread"]) != set(_named(right.unread)):
        yield f"unread: {_lines(said.document['unread'])}, not {set(_named(right.unread))}"
    for fact in right.facts:
        if reason := untrue(fact, said.document):
            yield reason


def contradictions(said: Said) -> Iterator[str]:
    """What no answer may have, whatever the evidence: each is a sentence."""
    for finding in said.findings:
        candidates, limit = finding["candidates"], finding["limit"]
        refuted = {one["limit"] for one in finding["refuted"]}
        if contradictory := refuted & {limit, *candidates}:
            yield f"named and refuted: {contradictory}"
        if finding["confidence"] == "open" and not (finding["looks"] or said.document["missing"]):
            yield f"{limit} is open, and nothing says what would decide"
        if candidates and (finding["confidence"] != "open" or candidates[0] != limit):
            yield f"{limit} is {finding['confidence']}, with the candidates {candidates}"
        if not finding["text"] or not finding["evidence"]:
            yield f"{limit} has no sentence or no evidence"
        if any("192.0.2." in one["text"] + one["command"] for one in finding["remedies"]):
            yield f"{limit} has a remedy with an invented address"
    findings = [(one["limit"], one["source"], one["target"]) for one in said.findings]
    if len(set(findings)) < len(findings):
        yield f"a finding twice: {findings}"


def _lines(unread: Sequence[Mapping[str, Any]]) -> set[tuple[str, int]]:
    return {(one["file"], line) for one in unread for line in range(one["first"], one["last"] + 1)}


def _named(places: Sequence[str]) -> Iterator[tuple[str, int]]:
    for place in places:
        file, _, lines = place.rpartition(":")
        first, _, last = lines.partition("-")
        yield from ((file, line) for line in range(int(first), int(last or first) + 1))


def _wrong_findings(right: Expected, said: Said) -> Iterator[str]:
    limits = {right.limit} if isinstance(right.limit, str) else set(right.limit)
    first: Mapping[str, Any] = said.findings[0] if said.findings else {"limit": "none"}
    if limits and first["limit"] not in limits:
        yield f"limit {first['limit']}, not {' or '.join(sorted(limits))}"
    if right.confidence and first.get("confidence") not in right.confidence:
        yield f"confidence {first.get('confidence')}, not {right.confidence}"
    if missing := set(right.candidates) - {first["limit"], *first.get("candidates", ())}:
        yield f"no candidate: {missing}"
    if missing := set(right.also) - {one["limit"] for one in said.findings}:
        yield f"not found: {missing}"
    if right.only and len(said.findings) > 1:
        yield f"further findings: {[one['limit'] for one in said.findings[1:]]}"
    named = {one for finding in said.findings for one in (finding["limit"], *finding["candidates"])}
    if false := set(right.never) & named:
        yield f"named although it is not: {false}"
    yield from contradictions(said)
    if missing := set(right.refuted) - {one["limit"] for one in first.get("refuted", ())}:
        yield f"not refuted: {missing}"
    for key in ("source", "target"):
        wanted = getattr(right, key)
        if wanted is not None and first.get(key) != wanted:
            yield f"{key} {first.get(key)!r}, not {wanted!r}"
    proofs = first.get("evidence", ())
    sentences = [first.get("text", ""), *(one["text"] for one in proofs)]
    if right.text and not any(re.search(right.text, one, re.IGNORECASE) for one in sentences):
        yield f"{right.text!r} is not in {sentences}"
    places = {f"{one['file']}:{one['line']}" for one in proofs}
    if missing := set(right.lines) - places:
        yield f"evidence without {missing}, but {places}"
    yield from _wrong_remedies(right, said, first.get("remedies", ()))


def _wrong_remedies(right: Expected, said: Said, remedies: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if right.first and not (remedies and right.first.holds(remedies[0])):
        yield f"first remedy {remedies[0]['text'] if remedies else None!r}, not {_shown(right.first)}"
    for wanted in right.remedies:
        if not any(wanted.holds(one) for one in remedies):
            yield f"no remedy {_shown(wanted)}"
    for harmful in right.no_remedy:
        for finding in said.findings:
            yield from (f"remedy {one['text']!r}" for one in finding["remedies"] if harmful.holds(one))


def _shown(wanted: Remedy | Row) -> str:
    return json.dumps({key: value for key, value in msgspec.to_builtins(wanted).items() if value})


def _wrong_spaces(right: Expected, spaces: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if right.no_spaces and spaces:
        yield f"spaces: {spaces[0]}"
    if right.fullest and not (spaces and right.fullest.holds(spaces[0])):
        yield f"the fullest space is {spaces[0] if spaces else None}, not {_shown(right.fullest)}"
    for row in right.spaces:
        if not any(row.holds(one) for one in spaces):
            yield f"no space {_shown(row)} among {[_brief(one) for one in spaces[:6]]}"


def _brief(row: Mapping[str, Any]) -> str:
    return json.dumps({key: value for key, value in row.items() if value and key not in ("where", "because")})
