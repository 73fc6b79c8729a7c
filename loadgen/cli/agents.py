"""The options of commands that work on agents on several hosts: run and plan."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from loadgen.cli import options
from loadgen.errors import UsageError

if TYPE_CHECKING:
    from loadgen.cluster.coordinator import Coordinator
    from loadgen.control.find_order import Conducted
    from loadgen.control.orchestrator import Observer, Options

_COUNT: Final = click.option(
    "--agents",
    metavar="N",
    type=click.IntRange(1, 10_000),
    help="Divide the run between this many agents on other hosts; see `loadgen agent`.",
)


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """The agents to wait for, and how they are reached: the values of the options of the same names."""

    count: int
    listen: str | None
    certs: Path | None
    dask: str | None
    wait_s: float

    def coordinator(
        self,
        data: bytes,
        origin: str,
        settings: tuple[str, ...],
        permitted: Options,
        *,
        observer: Observer,
        notice: Callable[[str], None],
    ) -> Coordinator:
        """Return the run of a scenario on these agents. data, origin, settings: of the scenario, as given.

        Raises: LoadgenError for a scenario or options with mistakes, or without the extra.
        """
        from loadgen import scenario as scenarios
        from loadgen.cluster import extra

        extra.require()
        from loadgen.cluster.check import place_of
        from loadgen.cluster.coordinator import Coordinator, GivenScenario

        if permitted.allow or permitted.authorized:
            raise UsageError(
                "--allow and --i-am-authorized are given to each agent by its own operator (loadgen agent --allow "
                "CIDR); leave them out here"
            )
        scenarios.parse(data, origin, settings)  # refuses what is no text, before it is decoded
        given = GivenScenario(data.decode(), origin, settings)
        place = place_of(self.listen, self.dask)
        return Coordinator(
            place, self.count, self.certs, given, permitted, wait_s=self.wait_s, observer=observer, notice=notice
        )

    def conducted(self, data: bytes, origin: str) -> Conducted:
        """Return what makes the runs of a search on these agents; see `coordinator`."""
        return functools.partial(self.coordinator, data, origin)


def given(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options, passed as `agents`: AgentOptions, or None without --agents."""

    @functools.wraps(command)
    def bundled(
        *args: Any,
        agents: int | None,
        listen: str | None,
        certs: Path | None,
        dask: str | None,
        wait: str,
        **others: Any,
    ) -> Any:
        chosen = None
        if agents is None:
            _refuse_alone("listen", "certs", "dask", "wait")
        else:
            chosen = AgentOptions(agents, listen, certs, dask, options.wait_s(wait))
        return command(*args, agents=chosen, **others)

    return options.all_of(_COUNT, *options.reached)(bundled)


def _refuse_alone(*names: str) -> None:
    """Refuse options that do nothing without --agents. Raises: click.UsageError."""
    context = click.get_current_context()
    for name in names:
        if context.get_parameter_source(name) not in (ParameterSource.DEFAULT, None):
            raise click.UsageError(f"--{name} is for several hosts; add --agents N, or leave it out.", context)
