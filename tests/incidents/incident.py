"""An incident: a situation that people met, run as a user would, and judged by what loadgen said about it.

A directory is an incident if it has an incident.yaml; README.md describes the files. This module reads them, runs
the command in namespaces that end with it, and compares what it printed with what is right.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
from ruamel.yaml import YAML

from loadgen.worker.io_uring import ring

HERE: Final = Path(__file__).parent
CHECKOUT: Final = HERE.parents[1]
#: No incident takes a quarter of it, unless it hangs.
PATIENCE_S: Final = 100.0
#: Cores that others may keep busy before a run that is late says so rightly.
_BUSY_CPUS: Final = 0.2
#: Commands that read the scenario.
_OF_A_SCENARIO: Final = ("run", "plan")
#: Programs of a setup.sh that a minimal system lacks: the package of Debian, and what a script that calls it has.
_PROGRAMS: Final = {
    "nft": ("nftables", r"\b(nft|fill_tracking)\b"),
    "ip": ("iproute2", ""),  # run.sh itself
    "sysctl": ("procps", r"\bsysctl\b"),
}
_FACT = re.compile(r"(\S+) (==|!=|<=|>=|<|>|~|!~) (.+)")
_ORDER: Final = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


class Remedy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a remedy must be: every key that is given has to hold; a value "*" is any."""

    text: str = ""
    """a regular expression found in its text"""
    set: dict[str, Any] = {}
    """keys of the scenario that it sets, alone or with what it needs first"""
    sysctls: dict[str, str] = {}
    """settings that it changes"""
    command: str = ""
    """a regular expression found in its command"""
    any: tuple[Remedy, ...] = ()
    """at least one of these"""

    def holds(self, remedy: Mapping[str, Any]) -> bool:
        """True if the remedy of a verdict or a plan is as described."""
        sets = {**remedy.get("needs", {}), **remedy.get("set", {})}
        return (
            bool(re.search(self.text, remedy["text"], re.IGNORECASE))
            and bool(re.search(self.command, remedy.get("command", ""), re.IGNORECASE))
            and all(_given(sets, key, value) for key, value in self.set.items())
            and all(_given(remedy.get("sysctls", {}), key, value) for key, value in self.sysctls.items())
            and (not self.any or any(one.holds(remedy) for one in self.any))
        )


def _given(values: Mapping[str, Any], key: str, wanted: object) -> bool:
    return key in values and wanted in ("*", values[key])


class Right(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The answer that is right."""

    limit: str | tuple[str, ...] = ()
    """the limit of the verdict, or of the plan; of several each is right"""
    confidence: tuple[str, ...] = ()
    """how sure the verdict may be"""
    candidates: tuple[str, ...] = ()
    """limits that must be among the candidates"""
    refuted: tuple[str, ...] = ()
    """limits that must be ruled out, with a reason"""
    never: tuple[str, ...] = ()
    """limits that must be neither the verdict nor a candidate"""
    quiet: bool = False
    """there is no finding beside the limit"""
    first: Remedy | None = None
    """the first remedy"""
    remedies: tuple[Remedy, ...] = ()
    """further ones that must be offered"""
    no_remedy: tuple[Remedy, ...] = ()
    """remedies that would not come true, or do harm"""
    facts: tuple[str, ...] = ()
    """`PATH OP VALUE` on what the command printed; ~ and !~ search for a regular expression in a value, or in a list"""
    exit: int | None = None
    """the exit code, where it matters"""
    message: str = ""
    """a regular expression found in the message of a command that refuses, and then prints nothing else"""


class Description(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file incident.yaml."""

    kind: str
    """what family of situations it belongs to"""
    situation: str
    """what happens, in a line"""
    right: Right
    thread: str = ""
    """the public thread that describes such a case; empty for a variant of our own"""
    command: str = "run"
    """run, plan, watch or doctor"""
    scenario: str = ""
    """one that comes with loadgen, by its name, instead of scenario.yaml"""
    arguments: tuple[str, ...] = ()
    """further arguments of the command"""
    descriptors: int = 0
    """ulimit -n of the command"""
    alone: bool = False
    """no other incident runs meanwhile, because it uses up what all namespaces of a host share"""


@dataclass(frozen=True, slots=True)
class Incident:
    """A directory."""

    path: Path
    description: Description

    @property
    def name(self) -> str:
        """Where it is, below tests/incidents."""
        return str(self.path.relative_to(HERE))

    @property
    def scenario(self) -> Path:
        """The scenario of `run` and `plan`; there is none where the command takes none."""
        shipped = self.description.scenario
        return CHECKOUT / "scenarios" / f"{shipped}.yaml" if shipped else self.path / "scenario.yaml"

    @property
    def setup(self) -> Path | None:
        """The script that makes the lab, if there is one."""
        path = self.path / "setup.sh"
        return path if path.exists() else None

    def missing(self) -> str:
        """What this host lacks for it, with the remedy; empty if nothing."""
        setup = self.setup.read_text() if self.setup else ""
        for program, (package, called) in _PROGRAMS.items():
            if setup and re.search(called, setup) and not shutil.which(program):
                return f"needs {program}: apt install {package}"
        if self.scenario.exists() and "engine: io_uring" in self.scenario.read_text() and (reason := ring.available()):
            return f"needs io_uring: {reason}"
        return ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the command said."""

    code: int
    out: str
    err: str
    document: Mapping[str, Any] = field(default_factory=dict)
    others_cpus: float = 0.0
    """cores that other processes kept busy meanwhile"""

    @property
    def verdict(self) -> Mapping[str, Any]:
        """That of a run; of a plan the same keys as far as it has them."""
        found = self.document.get("verdict")
        return found if isinstance(found, dict) else self.document

    @property
    def limit(self) -> str:
        """The limit it names, or the message with which it refused."""
        return self.verdict.get("limit") or self.err.strip()

    @property
    def remedies(self) -> Sequence[Mapping[str, Any]]:
        """The remedies, best first."""
        detail: Sequence[Mapping[str, Any]] = self.verdict.get("remedies_detail") or []
        plain = self.verdict.get("remedies") or []
        return detail or [{"text": one} if isinstance(one, str) else one for one in plain]


def incidents() -> list[Incident]:
    """Every incident, by name. Raises: msgspec.ValidationError for a file that is not as described above."""
    return [read(path.parent) for path in sorted(HERE.rglob("incident.yaml"))]


def read(path: Path) -> Incident:
    """The incident of a directory."""
    data = YAML(typ="safe", pure=True).load(path / "incident.yaml")
    return Incident(path, msgspec.convert(data, Description))


def run(incident: Incident, home: Path, python: str = sys.executable, checkout: Path = CHECKOUT) -> Answer:
    """Run the command of an incident; results go to `home`.

    Raises: subprocess.TimeoutExpired; whatever was started has ended then, too.
    """
    described = incident.description
    arguments = [described.command, "--json"]
    if described.command in _OF_A_SCENARIO:
        arguments.append(str(incident.scenario))
    if described.command == "run":
        arguments += ["--quiet", "--out", str(home / "results")]
    arguments += described.arguments
    loadgen = [python, "-m", "loadgen"]
    command = [*loadgen, *arguments]
    if incident.setup:
        unshare = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
        command = [*unshare, "bash", str(HERE / "run.sh"), str(incident.setup), *arguments]
    if described.descriptors:
        command = ["prlimit", f"--nofile={described.descriptors}", *command]
    unwanted = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONPATH", "GITHUB_STEP_SUMMARY")
    kept = {key: value for key, value in os.environ.items() if key not in unwanted}
    began, busy_s = time.monotonic(), _cpu_s_of_others()
    with subprocess.Popen(
        command,
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**kept, "PYTHONPATH": str(checkout), "PYTHON": python, "LOADGEN": " ".join(loadgen)},
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=PATIENCE_S)
        finally:
            with suppress(ProcessLookupError):  # of a command that left nothing behind
                os.killpg(process.pid, signal.SIGKILL)
    text = out if out.startswith("{") else "{}"  # of a command that refused
    others = (_cpu_s_of_others() - busy_s) / (time.monotonic() - began)
    return Answer(process.returncode, out, err, json.loads(text), others)


def _cpu_s_of_others() -> float:
    """CPU seconds of the host since its boot, without those of this process and of its children that have ended."""
    _, user, nice, system, _, _, *interrupts = Path("/proc/stat").read_text().split("\n", 1)[0].split()[:9]
    busy_s = sum(map(int, (user, nice, system, *interrupts))) / os.sysconf("SC_CLK_TCK")
    own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return busy_s - sum(usage.ru_utime + usage.ru_stime for usage in own)


def wrong(right: Right, answer: Answer) -> Iterator[str]:
    """Yield each way in which an answer differs from the right one, with what came."""
    verdict, remedies = answer.verdict, answer.remedies
    if right.message and not answer.out and re.search(right.message, answer.err, re.IGNORECASE):
        if right.exit is not None and answer.code != right.exit:
            yield f"exit code {answer.code}, not {right.exit}"
        return
    if not answer.document or "Traceback" in answer.err:
        yield f"no answer, exit code {answer.code}: {answer.err[-2000:] or answer.out[-2000:]}"
        return
    if right.message:
        yield f"it did not refuse with {right.message!r}"
    if right.exit is not None and answer.code != right.exit:
        yield f"exit code {answer.code}, not {right.exit}"
    limits = {right.limit} if isinstance(right.limit, str) else set(right.limit)
    never, quiet = set(right.never), right.quiet
    if "none" in limits and answer.others_cpus > _BUSY_CPUS:
        # Where loadgen had to wait for a core, it is right to say that it was late, and what that cost.
        limits.add("generator")
        never.discard("generator")
        quiet = False
    if quiet and verdict.get("findings"):
        yield f"findings: {verdict['findings']}"
    if limits and answer.limit not in limits:
        yield f"limit {answer.limit}, not {' or '.join(sorted(limits))}"
    if right.confidence and verdict.get("confidence") not in right.confidence:
        yield f"confidence {verdict.get('confidence')}, not {right.confidence}"
    named = {answer.limit, *verdict.get("candidates", ())}
    if missing := set(right.candidates) - named:
        yield f"no candidate: {missing}"
    if false := never & named:
        yield f"named although it is not: {false}"
    refuted = {one["limit"] for one in verdict.get("refuted") or ()}
    if missing := set(right.refuted) - refuted:
        yield f"not refuted: {missing}"
    if contradictory := refuted & named:
        yield f"named and refuted: {contradictory}"
    if right.first and not (remedies and right.first.holds(remedies[0])):
        yield f"first remedy {remedies[0]['text'] if remedies else None!r}, not {_shown(right.first)}"
    for wanted in right.remedies:
        if not any(wanted.holds(remedy) for remedy in remedies):
            yield f"no remedy {_shown(wanted)}"
    for harmful in right.no_remedy:
        yield from (f"remedy {remedy['text']!r}" for remedy in remedies if harmful.holds(remedy))
    for fact in right.facts:
        if reason := untrue(fact, answer.document):
            yield reason


def _shown(remedy: Remedy) -> str:
    given = {key: value for key, value in msgspec.to_builtins(remedy).items() if value}
    return json.dumps(given)


def untrue(fact: str, document: Any) -> str:
    """Why a fact is not true of a document; empty if it is. Raises: ValueError for a fact that is not PATH OP VALUE."""
    parts = _FACT.fullmatch(fact)
    if not parts:
        raise ValueError(f"{fact!r} is not PATH OP VALUE")
    path, operator, text = parts.groups()
    found = document
    for step in path.split("."):
        try:
            found = found[int(step)] if isinstance(found, list) else found[step]
        except (KeyError, IndexError, ValueError, TypeError):
            return f"{fact}: there is no {step}"
    if operator in ("~", "!~"):
        shown = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
        holds = bool(re.search(text, shown, re.IGNORECASE)) == (operator == "~")
    else:
        value = YAML(typ="safe", pure=True).load(text)
        try:
            holds = _ORDER[operator](found, value)
        except TypeError:
            holds = False
    return "" if holds else f"{fact}: it is {json.dumps(found, ensure_ascii=False)[:600]}"
