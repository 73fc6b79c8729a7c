"""The pace of a run: when it begins, when it goes on to hold what it has opened, and when its sinks may end.

A run by itself has no cause to wait. One that is a share of a run on several hosts begins and holds with the others,
and where its sinks serve them they end last.
"""

from __future__ import annotations

from typing import Protocol


class RunPace(Protocol):
    """The steps that a run waits for. An interrupt, a failure or the loss of all workers cancels the wait."""

    async def start(self) -> int | None:
        """Return the instant to begin at, on CLOCK_MONOTONIC in nanoseconds; None: as soon as all processes can.

        Called once every process is ready. What is left to do until the instant takes some milliseconds; one that is
        past by then begins the run at once, and late.
        """

    async def opened(self) -> None:
        """Return when the hold may begin; called once every arrival is answered. Churn, which holds nothing, skips it.

        It is also called where no connection opened, and there is nothing to hold.
        """

    async def closing(self) -> None:
        """Return when sinks may close what they hold, because the clients of every host expect it.

        Called where sinks close first (`close: target`), once what is left of this host's connections expects it. The
        first interrupt does not cancel this wait, nor the next.
        """

    async def drained(self) -> int:
        """Return when no other host has a connection to the sinks of this one, and how many those established there.

        Called only where `Plan.guests` says that they do, once the connections of this host are closed. The first
        interrupt drains the other hosts as well.
        """


class Unpaced:
    """The pace of a run by itself: at once."""

    async def start(self) -> None:
        """Return None: as soon as all processes can."""

    async def opened(self) -> None:
        """Return at once."""

    async def closing(self) -> None:
        """Return at once."""

    async def drained(self) -> int:
        """Return 0 at once."""
        return 0
