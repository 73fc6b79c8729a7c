"""What all who come to one address have in common: its manners, what is made from them once, and who is turned away."""

from __future__ import annotations

import ssl
from typing import Final

from loadgen.model import Manners
from loadgen.sink.behaviour.responder import speaker

#: Shares are added up in billionths: whole numbers, so that ten times 10% is one connection and not nearly one.
_WHOLE: Final = 1_000_000_000


class Door:
    """context: of TLS, where the manners say so. speech: makes what one connection is answered with."""

    def __init__(self, manners: Manners, context: ssl.SSLContext | None = None) -> None:
        self.manners, self.context = manners, context
        self.speech = speaker(manners)
        self._share = _WHOLE if manners.reset else round(manners.drop * _WHOLE)
        self._owed = 0

    def turns_away(self) -> bool:
        """Whether the next connection is reset: of 10% every tenth, evenly and not by chance."""
        self._owed += self._share
        if self._owed < _WHOLE:
            return False
        self._owed -= _WHOLE
        return True
