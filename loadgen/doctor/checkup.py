"""One checkup of a host: its limits judged for a purpose, its features and permissions; and the same as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from loadgen.doctor import features, limits, reading
from loadgen.doctor.features import Feature, Permission
from loadgen.doctor.finding import Grade, LimitFinding, Purpose

SCHEMA: Final = "loadgen.doctor/1"


@dataclass(frozen=True, slots=True)
class Checkup:
    """The result of one checkup.

    kernel: its release. uid: of the user who asked. netns: the network namespace as it was named; "": that of the user.
    """

    purpose: Purpose
    kernel: str
    uid: int
    findings: Sequence[LimitFinding]
    features: Sequence[Feature]
    permissions: Sequence[Permission]
    netns: str = ""

    @property
    def walls(self) -> list[LimitFinding]:
        """The limits at which the purpose fails."""
        return [finding for finding in self.findings if finding.verdict is Grade.WALL]

    def to_json(self) -> dict[str, Any]:
        """Return plain values: {"schema": "loadgen.doctor/1", "purpose", "summary", "change_first", "limits", ...}."""
        return {
            "schema": SCHEMA,
            "kernel": self.kernel,
            "uid": self.uid,
            "netns": self.netns,
            "purpose": {
                "connections": self.purpose.connections,
                "pairs": self.purpose.pairs,
                "rate_per_s": self.purpose.rate_per_s,
                "close": self.purpose.close.value,
                "services": list(self.purpose.services),
                "processes": self.purpose.processes,
            },
            "summary": limits.count(self.findings),
            "change_first": [finding.name for finding in limits.to_change_first(self.findings)],
            "limits": [
                {
                    "name": finding.name,
                    "value": finding.value,
                    "verdict": finding.verdict.value,
                    "allows": finding.judgement.allows,
                    "gain": finding.judgement.gain,
                    "gains": finding.judgement.gains,
                    "change_now": list(finding.judgement.change.now),
                    "change_for_good": list(finding.judgement.change.for_good),
                }
                for finding in self.findings
            ],
            "features": [
                {
                    "name": feature.name,
                    "present": feature.present,
                    "since": feature.since,
                    "without": feature.without,
                    "reason": feature.absent,
                    "change": list(feature.change) if feature.absent else [],
                }
                for feature in self.features
            ],
            "permissions": [
                {
                    "name": permission.name,
                    "allowed": not permission.refused,
                    "reason": permission.refused,
                    "ordinary_user": not permission.ordinary_refused,
                    "ordinary_reason": permission.ordinary_refused,
                }
                for permission in self.permissions
            ],
        }


def take(purpose: Purpose, netns: str = "") -> Checkup:
    """Examine this host, in the network namespace of this process, without changing it.

    netns: what that namespace was named by, if it is not the user's own.

    Raises: HostError where the kernel does not tell a value that every judgement needs.
    """
    host = reading.read(purpose.services)  # before the trials, which are processes and sockets themselves
    permissions = features.permissions()
    return Checkup(
        purpose=purpose,
        kernel=platform.release(),
        uid=os.geteuid(),
        findings=limits.find_all(host, purpose),
        features=features.features(host, permissions),
        permissions=list(permissions.values()),
        netns=netns,
    )
