"""`loadgen explain`: what pasted evidence proves, which limit it shows, and what is missing to decide."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loadgen.cli import files as output
from loadgen.cli import options
from loadgen.cli.streams import EPILOG, complain, show
from loadgen.errors import ExitCode, LoadgenError, ResultsError, UsageError
from loadgen.format import on_one_line, size

if TYPE_CHECKING:
    from loadgen.explain.conditions import ExplainCondition
    from loadgen.explain.evidence import Evidence


#: Files of this size take a second or more.
_LARGE_BYTES = 16 << 20


def _conditions(texts: tuple[str, ...]) -> list[ExplainCondition]:
    from loadgen.explain.conditions import ExplainCondition

    try:
        return [ExplainCondition.parse(text) for text in texts]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="'--fail-if'") from None


@click.command(epilog=EPILOG)
@click.argument("files", metavar="[FILE]...", nargs=-1)
@options.as_json("The answer")
@click.option("--scenario", metavar="FILE", help="Write a scenario that reproduces the first finding in a lab.")
@click.option("--full-size", is_flag=True, help="With --scenario: keep the numbers of the evidence.")
@click.option(
    "--fail-if",
    "conditions",
    metavar="CONDITION",
    multiple=True,
    help="Exit with 99 if the answer meets the condition: 'used > 80%', 'limit == four-tuples', 'findings > 0'; "
    "repeatable. Names: used, free, in_use, time_wait, findings, limit, candidate, unread.",
)
@click.option("--what-to-collect", is_flag=True, help="Print a shell command that collects the evidence, and exit.")
def explain(
    files: tuple[str, ...],
    as_json: bool,
    scenario: str | None,
    full_size: bool,
    conditions: tuple[str, ...],
    what_to_collect: bool,
) -> None:
    """Explain what was pasted: ss, netstat, nstat, strace, logs, more.

    Reads files, directories and tarballs of a sosreport, or stdin (-), and recognises what is in them. Says which
    limit the evidence shows, how full each source and destination is, and what is missing to decide. Nothing on this
    host is looked at.

    \b
    Examples:
      loadgen explain ticket.txt
      ss -tanp | loadgen explain
      loadgen explain sosreport-web1.tar.xz --json
      loadgen explain error.log ss.txt --scenario reproduced.yaml
      loadgen explain --what-to-collect | ssh web1 sh | loadgen explain
    """
    if what_to_collect:
        from loadgen.explain import collect

        click.echo(collect.command())
        return
    wanted = _conditions(conditions)
    if full_size and scenario is None:
        raise click.UsageError("--full-size says how --scenario writes; add --scenario FILE")
    if not files and (sys.stdin is None or sys.stdin.isatty()):
        raise click.UsageError("name a file, or pipe the text in: ss -tanp | loadgen explain")

    if scenario is not None and scenario != "-":
        output.ready(Path(scenario), "--scenario", stale=False)

    from loadgen.explain import archive, judge, plain
    from loadgen.explain.evidence import Evidence
    from loadgen.views.text import explain as view

    evidence = Evidence()
    archive.read_all(evidence, files or ("-",), _progress)
    explanation = judge.explain(evidence)
    text = reproduces = ""
    refused: LoadgenError | None = None
    if scenario is not None:
        try:  # before anything is printed: a reader that leaves early takes no file away
            text, reproduces = _reproduced(evidence, full_size=full_size)
            if scenario != "-":
                output.write(Path(scenario), text)
        except (ResultsError, UsageError) as error:
            refused = error
    show(plain.as_json(explanation), lambda console: view.render(explanation, console), as_json=as_json)
    if refused:
        raise refused
    if scenario == "-":
        click.echo(text, nl=False)
    elif scenario is not None:
        complain(f"{on_one_line(scenario)} reproduces {reproduces}: loadgen run {on_one_line(scenario)}")
    for condition in wanted:
        if met := condition.violation(explanation):
            complain(met)
            sys.exit(ExitCode.EXPECTATION)


def _progress(name: str) -> None:
    """Name a large file before it is read, where a person waits at a terminal."""
    if name == "-" or not sys.stderr.isatty():
        return
    try:
        size_bytes = Path(name).stat().st_size
    except OSError:  # a member of an archive
        return
    if size_bytes >= _LARGE_BYTES:
        complain(f"reading {on_one_line(name)}, {size(size_bytes)}")


def _reproduced(evidence: Evidence, *, full_size: bool) -> tuple[str, str]:
    """Return the scenario of the first finding, and what it reproduces. Raises: UsageError."""
    from loadgen.explain import judge, reproduced
    from loadgen.explain.case import Case
    from loadgen.reproduce import writing

    case = Case(evidence)
    judged = judge.judge(case)
    if not judged:
        raise UsageError("no limit shows in this evidence, so there is nothing to reproduce; leave --scenario out")
    first = judged[0]
    which = f"{first.limit}, the first candidate of an open finding" if len(first.named) > 1 else first.limit
    return writing.write(reproduced.circumstances_of(case, first), full_size=full_size), which
