"""The protocols of a view; a view that prints notices only, one that survives a closed terminal, and two as one."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.text import Text

from loadgen.format import visible
from loadgen.model import Plan
from loadgen.results.schema.line import Line


class RunObserver(Protocol):
    """Receives the lines and notices of a run while it goes on."""

    def update(self, plan: Plan, line: Line) -> None:
        """A new line of the series."""

    def notice(self, text: str) -> None:
        """Something happened that is worth a sentence."""


class LiveView(RunObserver, Protocol):
    """Shows a run to a person while it is open."""

    def hide(self) -> None:
        """Leave the terminal as it was found; the next line of the series shows the run again."""

    def __enter__(self) -> LiveView: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class NoticesOnly:
    """Prints notices and nothing else."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def update(self, plan: Plan, line: Line) -> None:
        """Nothing."""

    def notice(self, text: str) -> None:
        """A sentence on a line of its own."""
        self._console.print(Text(f"loadgen: {visible(text)}"), soft_wrap=True)

    def hide(self) -> None:
        """Nothing."""

    def __enter__(self) -> NoticesOnly:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class DetachableView:
    """Another view, until writing to it fails: a closed or full stderr must not end a run."""

    def __init__(self, view: LiveView) -> None:
        self.view: LiveView | None = view

    def update(self, plan: Plan, line: Line) -> None:
        """Pass it on to the other view."""
        self._do(lambda view: view.update(plan, line))

    def notice(self, text: str) -> None:
        """Pass it on to the other view."""
        self._do(lambda view: view.notice(text))

    def hide(self) -> None:
        """Pass it on to the other view."""
        self._do(lambda view: view.hide())

    def __enter__(self) -> DetachableView:
        self._do(lambda view: view.__enter__())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(lambda view: view.__exit__(None, None, None))

    def _do(self, show: Callable[[LiveView], object]) -> None:
        if self.view is None:
            return
        try:
            show(self.view)
        except OSError:
            self.view = None


class Beside:
    """A view, and another observer of the same run beside it."""

    def __init__(self, view: RunObserver, other: RunObserver) -> None:
        self._view, self._other = view, other

    def update(self, plan: Plan, line: Line) -> None:
        """To both."""
        self._view.update(plan, line)
        self._other.update(plan, line)

    def notice(self, text: str) -> None:
        """To both."""
        self._view.notice(text)
        self._other.notice(text)
