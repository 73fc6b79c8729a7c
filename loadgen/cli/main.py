"""The command line: flags in, exit code out.

Slow imports are made where they are needed, so that `loadgen --help` answers at once.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

import click

from loadgen.cli import completion
from loadgen.cli.compare import compare
from loadgen.cli.doctor import doctor
from loadgen.cli.explain import explain
from loadgen.cli.facts import facts
from loadgen.cli.man import man
from loadgen.cli.plan import plan
from loadgen.cli.report import report
from loadgen.cli.run import run
from loadgen.cli.runs import runs
from loadgen.cli.schema import schema
from loadgen.cli.sink import sink
from loadgen.cli.streams import EPILOG, buffered, complain, stderr_may_fail
from loadgen.cli.trace import trace
from loadgen.cli.watch import watch
from loadgen.errors import ExitCode, LoadgenError

_TAB = """\b
Tab completion:
  bash   eval "$(_LOADGEN_COMPLETE=bash_source loadgen)"
  zsh    eval "$(_LOADGEN_COMPLETE=zsh_source loadgen)"
  fish   _LOADGEN_COMPLETE=fish_source loadgen | source
"""


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG + "\n" + _TAB,
)
@click.version_option(package_name="loadgen")
def cli() -> None:
    """Open very many outbound TCP connections from this host, and learn which limit stops you.

    \b
    loadgen run scenarios/past-64k.yaml        100,000 connections to one destination
    loadgen run hold.yaml --set connections=5000 --json
    loadgen plan scenarios/past-64k.yaml       what it needs, and which limit comes first
    loadgen sink 127.0.0.1:9000                a target of your own, in another terminal
    loadgen report results/RUN                 rebuild summary and report of a run
    loadgen runs                               the runs in results/, newest first
    loadgen compare results/A results/B        what differs by more than noise
    loadgen facts                              how this kernel picks source ports
    loadgen trace -- curl http://10.0.0.7/     how a program connects, and what it ends with
    loadgen watch                              how full each destination of this host is
    loadgen explain ticket.txt                 which limit pasted ss, netstat, strace and logs show
    """


cli.add_command(compare)
cli.add_command(doctor)
cli.add_command(explain)
cli.add_command(facts)
cli.add_command(man)
cli.add_command(plan)
cli.add_command(report)
cli.add_command(run)
cli.add_command(runs)
cli.add_command(schema)
cli.add_command(sink)
cli.add_command(trace)
cli.add_command(watch)


def _open_standard_streams() -> None:
    """Give every closed standard stream (`2>&-`) to /dev/null, before a socket or file takes its number."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)
    # Python gave up on those that were closed when it started.
    sys.stdout = buffered(sys.stdout or os.fdopen(1, "w", closefd=False))
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def main() -> None:
    """Run the command line; every known failure becomes one message and its exit code, never a traceback."""
    _open_standard_streams()
    # NumPy's linear algebra is not used here; it would start a thread for each core when it is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if "_LOADGEN_COMPLETE" in os.environ:
        completion.in_bash()
    with stderr_may_fail():
        _run()


def _run() -> None:
    try:
        cli(standalone_mode=False)
    except click.ClickException as error:
        with suppress(OSError):  # the exit code tells as much
            error.show()
        sys.exit(ExitCode.USAGE)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(ExitCode.INTERRUPTED)
    except LoadgenError as error:
        complain(error)
        sys.exit(error.exit_code)
