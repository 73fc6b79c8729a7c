"""`loadgen init`: writes a commented scenario to start from."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from loadgen.cli import brief
from loadgen.cli.scenarios import write_new
from loadgen.cli.streams import EPILOG, complain
from loadgen.errors import LoadgenError, ScenarioError

_TARGET: Final = "127.0.0.1:9000"
_CONNECTIONS: Final = 1_000
_HOLD: Final = "10s"


@dataclass(frozen=True, slots=True)
class Answers:
    """Options of the scenario, as they were given, answered or taken by default."""

    target: str
    connections: int | None
    churn: str
    rate: str
    lab: bool


@click.command(epilog=EPILOG)
@click.argument("name", default="mine")
@click.option("--target", metavar="HOST:PORT", help="End to connect to (default: 127.0.0.1:9000, in a lab).")
@click.option("--connections", metavar="N", type=int, help="Hold this many for 10 s (default: 1,000).")
@click.option(
    "--churn", metavar="DURATION", default="", help="Instead: open and close connections for this long, as 30s."
)
@brief.rate
@brief.lab
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="File to write (default: NAME.yaml in this directory).",
)
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@click.pass_context
def init(
    context: click.Context,
    name: str,
    target: str | None,
    connections: int | None,
    churn: str,
    rate: str,
    lab: bool,
    out: Path | None,
    force: bool,
) -> None:
    """Write a commented scenario called NAME to start from.

    On a terminal it asks for what no option says; elsewhere the defaults are taken. It replaces a file only with
    --force.

    \b
    Examples:
      loadgen init
      loadgen init web --target 10.20.0.7:443 --connections 5000 --rate 500/s
      loadgen init web --target 127.0.0.1:9000 --lab --churn 30s --out churn.yaml
    """
    from loadgen.scenario import brief as briefs
    from loadgen.scenario import parse

    if churn and connections is not None:
        raise click.UsageError("--connections holds them, --churn closes them at once; leave one out.", context)
    answers = _completed(target, connections, churn, rate, lab=lab)
    path = out or Path(f"{name}.yaml")
    sources, found = brief.ends(answers.target, (), lab=answers.lab)
    written = briefs.write(
        briefs.Brief(
            name=name,
            target=answers.target,
            sources=sources,
            found=f"{found}; several, as 127.0.0.2-9 or 10.0.0.0/28, open more connections",
            connections=answers.connections,
            hold=_HOLD if answers.connections is not None else "",
            duration=answers.churn,
            concurrency=None if answers.connections is not None else 64,
            rate=answers.rate,
            lab=answers.lab,
            expects_none_failed=True,
        ),
        f"Run it with: loadgen run {path}\nWhat it needs, and which limit comes first: loadgen plan {path}",
    )
    try:
        parse(written.text, name)
    except ScenarioError as error:
        raise written.mistake(error, name) from None
    write_new(path, written.text, "--out", force=force)
    click.echo(f"{path}: run it with: loadgen run {path}")


def _completed(target: str | None, connections: int | None, churn: str, rate: str, *, lab: bool) -> Answers:
    """Return the options with those that were left out: asked for on a terminal, else by default, which is said."""
    asks = sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
    held_or_churn = connections is not None or churn
    if asks:
        if target is None:
            target = click.prompt("Target, HOST:PORT", default=_TARGET, err=True)
            lab = lab or (
                _has_lab(target) and click.confirm("Let loadgen listen there in a lab?", default=True, err=True)
            )
        if not held_or_churn:
            churn = click.prompt("Churn for how long, as 30s (empty: hold connections)", default="", err=True)
            if not churn:
                connections = click.prompt("Connections to hold", default=_CONNECTIONS, type=int, err=True)
            rate = rate or click.prompt("Rate, as 500/s (empty: as fast as possible)", default="", err=True)
        return Answers(target, connections, churn, rate, lab)
    if target is None:
        target, lab = _TARGET, True
        complain(f"no --target: {target}, where loadgen listens in a lab")
    if not held_or_churn:
        connections = _CONNECTIONS
        complain(f"no --connections and no --churn: {connections:,} connections, held for {_HOLD}")
    return Answers(target, connections, churn, rate, lab)


def _has_lab(target: str) -> bool:
    """Return True if a lab can have this target."""
    from loadgen.scenario.brief import lab_topology

    try:
        lab_topology(target)
    except LoadgenError:
        return False
    return True
