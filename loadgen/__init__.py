"""Open very many outbound TCP connections from one Linux host, and know which limit stops you.

In Python, for tests and tools of one's own (docs/python.md):

    from loadgen import Scenario, run

    result = run(Scenario.load("scenarios/wall-28k.yaml"))
    assert not result.problems
"""

from __future__ import annotations

#: As in typing, whose import takes a while in which Ctrl-C is not caught yet.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from loadgen.api import Scenario as Scenario
    from loadgen.api import look as look
    from loadgen.api import run as run
    from loadgen.api import run_async as run_async
    from loadgen.control.orchestrator import Result as Result
    from loadgen.errors import LoadgenError as LoadgenError

__all__ = ["LoadgenError", "Result", "Scenario", "look", "run", "run_async"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that workers and `loadgen --help` do not pay for it (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from loadgen import api

    return getattr(api, name)
