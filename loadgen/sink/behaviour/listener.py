"""One listening address with a behaviour of its own: state shared by all of its connections."""

from __future__ import annotations

import ssl

from loadgen.model import SinkBehaviour
from loadgen.sink.behaviour.responder import responder_factory
from loadgen.sink.even_share import EvenShare


class Listener:
    """context: the TLS context if the behaviour includes TLS. responder: makes the responder of one connection."""

    def __init__(self, behaviour: SinkBehaviour, context: ssl.SSLContext | None = None) -> None:
        self.behaviour, self.context = behaviour, context
        self.responder = responder_factory(behaviour)
        self._resets = EvenShare(1.0 if behaviour.reset else behaviour.drop)

    def rejects_next(self) -> bool:
        """Count one accepted connection; return True if it is to be reset."""
        return self._resets.selects_next()
