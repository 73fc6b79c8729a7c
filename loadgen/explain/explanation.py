"""The answer of `loadgen explain`, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

from loadgen.capacity.remedies import Remedy
from loadgen.explain.evidence import Piece, Unread, Where
from loadgen.results.schema.run import Confidence
from loadgen.strategies import Strategy, Transport


@dataclass(frozen=True, slots=True)
class Proof:
    """A fact that speaks for a finding, and the place it was read; None: it follows from several."""

    text: str
    where: Where | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A limit that the evidence names.

    candidates: where it is open, all that are left, this one first. source, target: "" where it concerns none, or all.
    text: the sentence. refuted: limits that share the symptom, and what rules them out. looks: what would decide.
    """

    limit: str
    confidence: Confidence
    text: str
    source: str = ""
    target: str = ""
    candidates: tuple[str, ...] = ()
    evidence: tuple[Proof, ...] = ()
    refuted: tuple[tuple[str, str], ...] = ()
    looks: tuple[str, ...] = ()
    remedies: tuple[Remedy, ...] = ()


@dataclass(frozen=True, slots=True)
class SpaceRow:
    """A space of source ports.

    scope: "pair": of (source, destination, destination port); "source": whatever the destination; "port": the sockets
    that have one local port, for which usable is 0. port: of scope "port", else 0.
    usable: ports of the range; assumed: it is the kernel's default, because the evidence does not have it.
    strategy: BIND where the sockets look as if they were bound early, because of `because`.
    owners: (command, sockets), those with most first.
    """

    scope: str
    transport: Transport
    source: str
    destination: str
    destination_port: int
    port: int
    used: int
    in_use: int
    time_wait: int
    usable: int
    assumed: bool
    where: Where
    strategy: Strategy | None = None
    because: str = ""
    owners: tuple[tuple[str, int], ...] = ()

    @property
    def free(self) -> int:
        """Ports that are left."""
        return max(self.usable - self.used, 0)

    @property
    def is_limit(self) -> bool:
        """True if no port left means that the next connection fails; destinations may share those of a source."""
        if self.scope == "port":
            return False
        return self.scope == "pair" or self.strategy is not None or self.transport is Transport.UDP


@dataclass(frozen=True, slots=True)
class MissingEvidence:
    """Evidence that is not there: the command that gets it, and what it would decide."""

    command: str
    decides: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that the evidence proves, and what it does not.

    findings: most likely first. spaces: the fullest first. missing: what would decide, most useful first.
    notes: messages that are about no limit of the kernel. more_unread: lines beyond those of `unread`.
    """

    findings: tuple[Finding, ...]
    spaces: tuple[SpaceRow, ...]
    missing: tuple[MissingEvidence, ...]
    pieces: tuple[Piece, ...]
    unread: tuple[Unread, ...]
    notes: tuple[Proof, ...] = ()
    more_unread: int = 0
