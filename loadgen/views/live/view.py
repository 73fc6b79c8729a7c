"""What a view is, the one that says almost nothing, and the one that survives a closed terminal."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console
from rich.text import Text

from loadgen.format import visible
from loadgen.model import Plan


class View(Protocol):
    """What `loadgen run` tells the person watching."""

    def update(self, plan: Plan, line: dict[str, Any]) -> None:
        """A new line of the series."""

    def notice(self, text: str) -> None:
        """Something happened that is worth a sentence."""

    def __enter__(self) -> View: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Quiet:
    """Says nothing but what went wrong."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def update(self, plan: Plan, line: dict[str, Any]) -> None:
        """Nothing."""

    def notice(self, text: str) -> None:
        """A sentence on a line of its own."""
        self._console.print(Text(f"loadgen: {visible(text)}"), soft_wrap=True)

    def __enter__(self) -> Quiet:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Unheard:
    """Another view, for as long as somebody reads it: a closed or full stderr must not end a run."""

    def __init__(self, view: View) -> None:
        self.view: View | None = view

    def update(self, plan: Plan, line: dict[str, Any]) -> None:
        """As the other view."""
        self._do(lambda view: view.update(plan, line))

    def notice(self, text: str) -> None:
        """As the other view."""
        self._do(lambda view: view.notice(text))

    def __enter__(self) -> Unheard:
        self._do(lambda view: view.__enter__())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(lambda view: view.__exit__(None, None, None))

    def _do(self, show: Callable[[View], object]) -> None:
        if self.view is None:
            return
        try:
            show(self.view)
        except OSError:
            self.view = None
