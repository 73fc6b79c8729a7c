"""The part that `loadgen open` and `loadgen churn` share: a scenario made of options, printed or run."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from loadgen.cli import options, otlp
from loadgen.cli.onlookers import Onlookers
from loadgen.cli.streams import complain, reader_may_leave
from loadgen.errors import ScenarioError, UsageError
from loadgen.strategies import Strategy
from loadgen.views.progress import ProgressStyle

if TYPE_CHECKING:
    from loadgen.scenario.brief import Brief

#: The name of the text in mistakes; `BriefText.mistake` replaces it by the option.
_TEXT: Final = "the options"

#: The end that is loaded; of commands that take HOST:PORT.
target: Final = click.argument("target", metavar="HOST:PORT")
rate: Final = click.option(
    "--rate", metavar="RATE", default="", help="Arrivals, as 5000/s; left out: as fast as possible."
)
lab: Final = click.option(
    "--lab", is_flag=True, help="Run in a throwaway namespace, in which loadgen itself listens at HOST:PORT."
)


@dataclass(frozen=True, slots=True)
class BriefOptions:
    """The values of the options of the same names."""

    sources: str
    strategy: str | None
    rate: str
    lab: bool
    print_scenario: bool
    settings: tuple[str, ...]
    out: Path
    as_json: bool
    junit: Path | None
    progress: ProgressStyle
    otlp_at: str | None
    allow: tuple[str, ...]
    authorized: bool
    port_blocking: bool
    force: bool

    def run(self, brief_of: Callable[..., Brief], target: str) -> NoReturn:
        """Print the scenario, or run it, and exit. brief_of: is given the options that both commands have."""
        from loadgen.cli import run
        from loadgen.control.orchestrator import Options
        from loadgen.scenario import brief as briefs
        from loadgen.scenario import parse_cells

        if self.print_scenario and self.settings:
            raise UsageError("--set is for a run, --print-scenario makes none; leave one out, and edit what is printed")
        given = options.split_by_commas(self.sources)
        if given and self.strategy == Strategy.KERNEL:
            raise UsageError("--strategy kernel leaves the source address to routing; leave --from out, or write late")
        sources, found = ends(target, given, lab=self.lab)
        if found and self.progress is not ProgressStyle.NONE and not self.print_scenario:
            complain(f"source address {', '.join(sources)}: no --from, and {found}")
        brief = brief_of(
            target=target,
            sources=sources,
            found=found,
            strategy=self.strategy or briefs.default_strategy(given),
            rate=self.rate,
            lab=self.lab,
        )
        written = briefs.write(brief, self._head(brief.name))
        try:
            whole, _ = parse_cells(written.text, _TEXT, self.settings)
        except ScenarioError as error:
            raise written.mistake(error, _TEXT) from None
        if self.print_scenario:
            with reader_may_leave():
                click.echo(written.text, nl=False)
            click.get_current_context().exit()
        if whole.find:
            raise UsageError("--set find: a search is `loadgen find` of a scenario; --print-scenario writes one")
        pushed = otlp.made(self.otlp_at)
        permitted = Options(
            results=self.out,
            allow=self.allow,
            authorized=self.authorized,
            port_blocking=self.port_blocking,
            force=self.force,
            opened=otlp.opened(pushed),
        )
        run.run_text(
            written.text.encode(),
            _TEXT,
            self.settings,
            permitted,
            Onlookers(None, pushed),
            as_json=self.as_json,
            progress=self.progress,
            junit=self.junit,
        )

    def _head(self, command: str) -> str:
        """Return the first comment: how to run it, with the permissions, which no scenario can have."""
        permissions = [word for network in self.allow for word in ("--allow", network)]
        for is_given, word in (
            (self.authorized, "--i-am-authorized"),
            (self.port_blocking, "--allow-port-blocking"),
            (self.force, "--force"),
        ):
            permissions += [word] if is_given else []
        return (
            f"The scenario of `loadgen {command}`. Run it with: {shlex.join(['loadgen', 'run', 'FILE', *permissions])}"
        )


def ends(target: str, given: tuple[str, ...], *, lab: bool) -> tuple[tuple[str, ...], str]:
    """Return the source addresses of a run, and why they are these; "" where an option names them.

    Raises: LoadgenError for a target that is none, that no lab has, or without a route.
    """
    from loadgen import event_loop
    from loadgen.control import route_source
    from loadgen.scenario import brief as briefs
    from loadgen.scenario import units

    try:
        destination = units.destination(target)
    except ValueError as error:
        raise UsageError(f"HOST:PORT: {error}; got {target!r}") from None
    if lab:
        briefs.lab_topology(target)
    if given:
        return given, ""
    if lab:
        source = briefs.lab_source(target)
        return (source,), "the lab has it"
    sources = event_loop.run(lambda: route_source.picked(target))
    return sources, f"routing picks it for {destination.address or destination.name}"


def given(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options, passed as `shared`: BriefOptions."""

    @functools.wraps(command)
    def bundled(*args: Any, **others: Any) -> Any:
        own = {name: others.pop(name) for name in BriefOptions.__dataclass_fields__}
        return command(*args, shared=BriefOptions(**own), **others)

    return options.all_of(
        click.option(
            "--from",
            "sources",
            metavar="ADDRS",
            default="",
            help="Source addresses, as 10.0.0.2-9 or 10.0.0.0/28,eth0; left out: the one that routing picks.",
        ),
        rate,
        click.option(
            "--strategy",
            type=click.Choice([strategy.value for strategy in Strategy]),
            help="Who chooses the source port, and when (default: late-range with --from, kernel without).",
        ),
        lab,
        click.option(
            "--print-scenario", is_flag=True, help="Print the scenario that this stands for, and run nothing."
        ),
        options.settings,
        options.out,
        options.as_json("The summary"),
        options.junit,
        options.progress,
        otlp.given,
        options.permissions,
        options.force,
    )(bundled)
