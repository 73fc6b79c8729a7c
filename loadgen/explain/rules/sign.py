"""Signs for and against a limit: an indication whose facts have a place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from loadgen.explain.accounts import Account
from loadgen.explain.case import Case
from loadgen.explain.explanation import Proof
from loadgen.explain.symptoms import Symptom
from loadgen.results.weighing import Indication, Weight


@dataclass(frozen=True, slots=True)
class Sign(Indication):
    """An indication.

    proofs: the facts of `supports`, with their places. account: the space that shows it; None: none does.
    because: the facts as the second half of the sentence, ": " before it; "": the sentence of the limit says enough.
    doubt: a fact that contradicts it and does not rule it out, because it may be of another place or time.
    source: the address that it is about, where the symptom has none.
    reason: of source-address, by the names of `loadgen.kernel.missing`.
    """

    proofs: tuple[Proof, ...] = ()
    account: Account | None = None
    because: str = ""
    reason: str = ""
    doubt: str = ""
    source: str = ""


Rule = Callable[[Case, Symptom], Sign]


def sign(weight: Weight, *proofs: Proof, account: Account | None = None, because: str = "", reason: str = "") -> Sign:
    """Return a sign for a limit."""
    return Sign(weight, tuple(one.text for one in proofs), "", proofs, account, because, reason)


def against(because: str) -> Sign:
    """Return the sign that rules a limit out."""
    return Sign(refuted=because)


NOTHING: Sign = Sign()
POSSIBLE: Sign = Sign(Weight.POSSIBLE)
