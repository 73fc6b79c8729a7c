"""A run in a few options -> the text of its scenario, with a comment for each value that was not written.

Every line of the text belongs to one option, so that a mistake in a value is told with the option that has it: a user
who never wrote YAML is not sent to a line of it. Pure text; addresses that only this host knows come from the caller.
"""

from __future__ import annotations

import ipaddress
import json
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from loadgen.errors import ScenarioError, UsageError
from loadgen.model import Strategy
from loadgen.scenario import units
from loadgen.scenario.fields import LOOPBACK, VETH_NETWORKS, within_networks

#: Values that are the same text with and without quotes; all others get quotes.
_PLAIN: Final = re.compile(
    r"(?:[0-9]+(?:\.[0-9]+)?(?:h|ms?|s))+|[0-9]+/(?:s|min|h)|[0-9]+(?:\.[0-9]+){3}(?:-[0-9]+|/[0-9]+)?(?::[0-9]+(?:-[0-9]+)?)?"
)
_WORD: Final = re.compile(r"[a-z]+(?:-[a-z]+)*")
#: Words with another meaning, in YAML 1.2 or in 1.1, which editors may read.
_NOT_TEXT: Final = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n"))
#: Keys that messages name, and the options that stand for them.
_OPTIONS: Final = (("sources.addresses", "--from"), ("leave lab out", "leave --lab out"))
_WIDTH: Final = 110


@dataclass(frozen=True, slots=True)
class Brief:
    """The options of one run, each as it was written; "" or None where it was left out.

    sources: addresses, ranges or interfaces. found: why they are these, where no option names them. connections: to
    hold; None: churn, for `duration` with `concurrency`. lab: in a lab, where loadgen listens at the target.
    expects_none_failed: whether a connection that fails makes the exit code 99.
    """

    name: str
    target: str
    sources: tuple[str, ...]
    found: str = ""
    strategy: str = ""
    connections: int | None = None
    hold: str = ""
    duration: str = ""
    concurrency: int | None = None
    rate: str = ""
    lab: bool = False
    expects_none_failed: bool = False


@dataclass(frozen=True, slots=True)
class BriefText:
    """A scenario, and for each of its lines the option that it stands for; "" for a line that none does."""

    text: str
    options: tuple[str, ...]

    def mistake(self, error: ScenarioError, file: str) -> UsageError:
        """Return the mistakes of a scenario as those of options. file: the name under which the text was read.

        Mistakes with another place, as those of --set, are kept as they are.
        """
        return UsageError("\n".join(dict.fromkeys(self._of_option(each, file) for each in error.mistakes)))

    def _of_option(self, mistake: ScenarioError, file: str) -> str:
        option = self.options[mistake.line - 1] if mistake.file == file and mistake.line else ""
        if not option:
            return str(mistake)
        text = _without_path(mistake.message)
        for key, written in _OPTIONS:
            text = text.replace(key, written)
        return f"{option}: {text}"


def _without_path(message: str) -> str:
    """Return a message without the path of the value before it, as in "sources.addresses.0: write ...\"."""
    path, _, rest = message.partition(": ")
    return rest if rest and all(step.isidentifier() or step.isdecimal() for step in path.split(".")) else message


def write(brief: Brief, head: str) -> BriefText:
    """Return the scenario of a brief. head: the comment at its top, of one line or several. Raises: UsageError."""
    lines = [*((f"# {line}", "") for part in head.split("\n") for line in textwrap.wrap(part, _WIDTH))]
    lines += [(f"name: {_quoted(brief.name)}", "NAME"), ("", "")]
    if brief.lab:
        lines += [*_comment("A network namespace, made for the run and removed again: the host is not touched.")]
        lines += [(f"lab: {{topology: {lab_topology(brief.target)}}}", "--lab"), ("", "")]
    lines += [*_sources(brief), ("", "")]
    lines += [("targets:", "HOST:PORT"), (f"  - address: {_quoted(brief.target)}", "HOST:PORT")]
    if brief.lab:
        lines += [*_comment("loadgen itself listens there.", 4), ("    sink: true", "--lab")]
    lines += [("", ""), *(_churn(brief) if brief.connections is None else _held(brief))]
    if brief.rate:
        lines += [
            *_comment("Without it, as fast as possible."),
            (f"arrival: {{rate: {_quoted(brief.rate)}}}", "--rate"),
        ]
    if brief.expects_none_failed:
        lines += [
            ("", ""),
            *_comment("Exit code 99 if one of these is not so; every key of summary.json can stand here."),
        ]
        lines += [("expect:", ""), ("  - outcomes.failed == 0", "")]
    return BriefText("".join(f"{text}\n" for text, _ in lines), tuple(option for _, option in lines))


def lab_topology(target: str) -> str:
    """Return the topology of the lab in which loadgen listens at a target, "loopback" or "veth". Raises: UsageError."""
    address = _literal(target)
    if address:
        block = units.block(address)
        if block.within(LOOPBACK) or address == "::1":
            return "loopback"
        if within_networks(block, VETH_NETWORKS):
            return "veth"
    raise UsageError(
        f"--lab: a lab has no {target}; write an address of 127.0.0.0/8, ::1 or {', '.join(VETH_NETWORKS)}, or leave "
        "--lab out"
    )


def lab_source(target: str) -> str:
    """Return a source address in the lab of a target: with a cable the lowest of its network that is not the target.

    Raises: UsageError for a target that no lab has.
    """
    topology, address = lab_topology(target), _literal(target)
    if topology == "loopback":
        return "::1" if ":" in address else "127.0.0.1"
    network = next(network for network in VETH_NETWORKS if within_networks(units.block(address), (network,)))
    return next(each for each in map(str, ipaddress.ip_network(network).hosts()) if each != address)


def default_strategy(sources: Sequence[str]) -> str:
    """Return the strategy where none is named: `kernel` without sources to bind; "", that of every scenario, with."""
    return "" if sources else Strategy.KERNEL.value


def _literal(target: str) -> str:
    """Return the address of a target; "" for a host name. Raises: UsageError for what is neither."""
    try:
        return units.destination(target).address
    except ValueError as error:
        raise UsageError(f"HOST:PORT: {error}; got {json.dumps(target)}") from None


def _sources(brief: Brief) -> list[tuple[str, str]]:
    texts = [_quoted(source) for source in brief.sources]
    lines = [("sources:", "--from")]
    if brief.found:
        lines += _comment(f"{brief.found[0].upper()}{brief.found[1:]}.", 2)
    lines += [(f"  addresses: {texts[0] if len(texts) == 1 else '[' + ', '.join(texts) + ']'}", "--from")]
    if brief.strategy:
        lines += [(f"  strategy: {_quoted(brief.strategy)}", "--strategy")]
    return lines


def _held(brief: Brief) -> list[tuple[str, str]]:
    lines = [(f"connections: {brief.connections}", "--connections")]
    if brief.hold:
        lines += [
            *_comment("All stay open for this long after the last was due."),
            (f"hold: {_quoted(brief.hold)}", "--hold"),
        ]
    return lines


def _churn(brief: Brief) -> list[tuple[str, str]]:
    lines = _comment("Connections are opened, closed and replaced for this long; concurrency: most at a time.")
    lines += [("churn:", "--for"), (f"  duration: {_quoted(brief.duration)}", "--for")]
    if brief.concurrency is not None:
        lines += [(f"  concurrency: {brief.concurrency}", "--concurrency")]
    return lines


def _comment(text: str, indent: int = 0) -> list[tuple[str, str]]:
    return [(f"{' ' * indent}# {line}", "") for line in textwrap.wrap(text, _WIDTH - indent)]


def _quoted(text: str) -> str:
    """Return a text as a YAML value that is read as this text."""
    plain = _PLAIN.fullmatch(text) or (_WORD.fullmatch(text) and text not in _NOT_TEXT)
    return text if plain else json.dumps(text)
