"""One change that would move a limit, as a value: settings of the scenario, sysctls, a command, and what it brings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any


class Quantity(StrEnum):
    """The figure of a run that a remedy changes.

    CONNECTIONS: open at once. CHURN: connections per second that can go on for ever. REQUESTS: per second, of the
    churn that can go on for ever. OCCUPANCY: share of the ports in use, 0 to 1.
    """

    CONNECTIONS = "connections"
    CHURN = "connections_per_s"
    REQUESTS = "requests_per_s"
    OCCUPANCY = "occupancy"


@dataclass(frozen=True, slots=True)
class Claim:
    """A figure of the plan without a remedy and with it; after None: there is no ceiling left."""

    quantity: Quantity
    before: float
    after: float | None


@dataclass(frozen=True, slots=True)
class Remedy:
    """One change and what it brings.

    set: keys of the scenario and their values, as `--set` takes them. sysctls: settings of the run's namespace, in a
    lab under `lab.sysctls`. command: a shell command for the host; a lab does without. needs: keys of the scenario
    that have to be set first, without which the change has no effect or is refused; text, gain and claim are about
    both together. Empty: an alternative to the others.
    gain: connections that it adds: to those that the plan has room for at once, in churn to those that its ports give
    in the duration; None: it cannot be computed, or is none. claim: the figure it changes; None: it has none.
    program: the text for the owner of another program, who has no scenario; "": the same; None: it is for loadgen
    alone.
    """

    text: str
    set: Mapping[str, Any] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    needs: Mapping[str, Any] = field(default_factory=dict)
    gain: int | None = None
    claim: Claim | None = None
    program: str | None = ""

    @property
    def sentence(self) -> str:
        """The change in words, and the gain where there is one."""
        return f"{self.text}: +{self.gain:,}" if self.gain else self.text

    @property
    def for_program(self) -> Remedy | None:
        """The remedy for the owner of another program; None where there is none."""
        return None if self.program is None else replace(self, text=self.program or self.text)

    def adding(self, text: str) -> Remedy:
        """Return the remedy with more at the end of its text, for loadgen and for the owner of a program."""
        return replace(self, text=self.text + text, program=self.program + text if self.program else self.program)

    def to_json(self) -> Mapping[str, object]:
        """Return plain values, as summary.json has them."""
        plain: dict[str, object] = {
            "text": self.sentence,
            "set": dict(self.set),
            "sysctls": dict(self.sysctls),
            "command": self.command,
            "needs": dict(self.needs),
            "gain": self.gain,
        }
        if self.claim:
            claim = self.claim
            plain["claim"] = {"quantity": claim.quantity.value, "before": claim.before, "after": claim.after}
        return plain


def sysctl_command(name: str, value: str) -> str:
    """Return the shell command that sets a sysctl until the next boot."""
    quoted = f'"{value}"' if not value or " " in value else value
    return f"sysctl -w {name}={quoted}"


def sysctl_commands(sysctls: Mapping[str, str]) -> str:
    """Return the shell command that sets several of them; "" for none."""
    return "; ".join(sysctl_command(name, value) for name, value in sysctls.items())


def settings_in_words(sysctls: Mapping[str, str]) -> str:
    """Return several sysctls as a phrase: "net.ipv4.tcp_tw_reuse=1 and net.ipv4.tcp_timestamps=1"."""
    return " and ".join(f"{name}={value}" for name, value in sysctls.items())
