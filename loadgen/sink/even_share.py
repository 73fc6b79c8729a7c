"""Choose a fixed share of events, spread evenly and without chance: of 10 % every tenth."""

from __future__ import annotations

from typing import Final

#: Shares are added up in integer billionths: ten times 10 % is exactly one event.
_WHOLE: Final = 1_000_000_000


class EvenShare:
    """Selects `share` (0 to 1) of a sequence of events."""

    def __init__(self, share: float) -> None:
        self._share = round(share * _WHOLE)
        self._credit = 0

    def selects_next(self) -> bool:
        """Count one event; return True if it belongs to the share."""
        self._credit += self._share
        if self._credit < _WHOLE:
            return False
        self._credit -= _WHOLE
        return True
