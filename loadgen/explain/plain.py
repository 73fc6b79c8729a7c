"""An explanation as JSON; docs/explain.md describes the keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from loadgen.explain.explanation import Explanation, Finding, Proof, SpaceRow

SCHEMA: Final = "loadgen.explain/1"


def as_json(explanation: Explanation) -> Mapping[str, object]:
    """Return plain values; docs/explain.md describes the keys."""
    return {
        "schema": SCHEMA,
        "findings": [_finding(one) for one in explanation.findings],
        "spaces": [_space(one) for one in explanation.spaces],
        "missing": [{"command": one.command, "decides": one.decides} for one in explanation.missing],
        "notes": [_proof(one) for one in explanation.notes],
        "pieces": [
            {"format": one.format, "what": one.what, "file": one.file, "first": one.first, "last": one.last}
            for one in explanation.pieces
        ],
        "unread": [
            {"file": one.file, "first": one.first, "last": one.last, "why": one.why} for one in explanation.unread
        ],
        "more_unread": explanation.more_unread,
    }


def _finding(one: Finding) -> Mapping[str, object]:
    return {
        "limit": one.limit,
        "confidence": one.confidence,
        "text": one.text,
        "source": one.source,
        "target": one.target,
        "candidates": list(one.candidates),
        "evidence": [_proof(proof) for proof in one.evidence],
        "refuted": [{"limit": limit, "because": because} for limit, because in one.refuted],
        "looks": list(one.looks),
        "remedies": [remedy.to_json() for remedy in one.remedies],
    }


def _proof(proof: Proof) -> Mapping[str, object]:
    where = proof.where
    return {"text": proof.text, "file": where.file if where else None, "line": where.line if where else None}


def _space(row: SpaceRow) -> Mapping[str, object]:
    return {
        "scope": row.scope,
        "transport": row.transport.value,
        "source": row.source,
        "destination": row.destination,
        "destination_port": row.destination_port,
        "port": row.port,
        "used": row.used,
        "in_use": row.in_use,
        "time_wait": row.time_wait,
        "usable": row.usable,
        "free": row.free,
        "assumed": row.assumed,
        "strategy": row.strategy.value if row.strategy else None,
        "because": row.because,
        "owners": [{"command": command, "sockets": sockets} for command, sockets in row.owners],
        "file": row.where.file,
        "line": row.where.line,
    }
