"""The command line: flags in, exit code out.

Slow imports are made where they are needed, so that `loadgen --help` answers at once.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

import click

from loadgen import crash, reserve, shortage
from loadgen.cli import completion, interrupts
from loadgen.cli.agent import agent
from loadgen.cli.churn import churn
from loadgen.cli.cluster import cluster
from loadgen.cli.compare import compare
from loadgen.cli.doctor import doctor
from loadgen.cli.explain import explain
from loadgen.cli.export import export
from loadgen.cli.facts import facts
from loadgen.cli.find import find
from loadgen.cli.init import init
from loadgen.cli.man import man
from loadgen.cli.occupy import occupy
from loadgen.cli.open import open_
from loadgen.cli.plan import plan
from loadgen.cli.report import report
from loadgen.cli.run import run
from loadgen.cli.runs import runs
from loadgen.cli.scenarios import scenarios
from loadgen.cli.schema import schema
from loadgen.cli.sink import sink
from loadgen.cli.streams import EPILOG, ReaderLeftError, complain, fit_the_locale, output, stderr_may_fail
from loadgen.cli.trace import trace
from loadgen.cli.watch import watch
from loadgen.errors import ExitCode, LoadgenError, OutputError
from loadgen.processes import lifetime

_TAB = """\b
Tab completion:
  bash   eval "$(_LOADGEN_COMPLETE=bash_source loadgen)"
  zsh    eval "$(_LOADGEN_COMPLETE=zsh_source loadgen)"
  fish   _LOADGEN_COMPLETE=fish_source loadgen | source
"""


def _show_version(context: click.Context, _option: click.Parameter, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        from loadgen import version

        click.echo(version.line())
        context.exit()


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG + "\n" + _TAB,
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show version, commit and kernel, and exit.",
)
@click.pass_context
def cli(context: click.Context) -> None:
    """Open very many outbound TCP connections from this host, and learn which limit stops you.

    \b
    loadgen run scenarios/past-64k.yaml        # 100,000 connections to one destination
    loadgen open 127.0.0.1:9000 -c 20000 --lab  # the same without a file; loadgen churn for short ones
    loadgen scenarios                          # scenarios to look at; loadgen init writes one to start from
    loadgen run hold.yaml --set connections=5000 --json
    loadgen find hold.yaml --vary connections --from 100 --to 60000   # the highest value that holds
    loadgen plan scenarios/past-64k.yaml       # what it needs, and which limit comes first
    loadgen sink 127.0.0.1:9000                # a target of your own, in another terminal
    loadgen report results/RUN                 # rebuild summary and report of a run
    loadgen export results/RUN --format csv    # its series for pandas, HdrHistogram, Prometheus, Parquet
    loadgen runs                               # the runs in results/, newest first
    loadgen compare results/A results/B        # what differs by more than noise
    loadgen agent --coordinator tls://H:9786   # this host's part in runs on many hosts
    loadgen facts                              # how this kernel picks source ports
    loadgen trace -- curl http://10.0.0.7/     # how a program connects, and what it ends with
    loadgen watch                              # how full each destination of this host is
    loadgen occupy --netns 4711 --leave 0      # let a service run out of ports, in staging
    loadgen explain ticket.txt                 # which limit pasted ss, netstat, strace and logs show
    """
    if context.invoked_subcommand != "trace":  # it runs programs of the user, as they are
        lifetime.gain_no_privileges()


cli.add_command(agent)
cli.add_command(churn)
cli.add_command(cluster)
cli.add_command(compare)
cli.add_command(doctor)
cli.add_command(explain)
cli.add_command(export)
cli.add_command(facts)
cli.add_command(find)
cli.add_command(init)
cli.add_command(man)
cli.add_command(occupy)
cli.add_command(open_)
cli.add_command(plan)
cli.add_command(report)
cli.add_command(run)
cli.add_command(runs)
cli.add_command(scenarios)
cli.add_command(schema)
cli.add_command(sink)
cli.add_command(trace)
cli.add_command(watch)


def _open_standard_streams() -> None:
    """Give every closed standard stream (`2>&-`) to /dev/null, before a socket or file takes its number."""
    while not all(map(_is_open, range(3))):
        try:
            os.open(os.devnull, os.O_RDWR)
        except OSError:  # a chroot without it; what is read from a path-only descriptor, or written to it, fails
            os.open("/", os.O_PATH)
    # Python gave up on those that were closed when it started.
    sys.stdout = output(sys.stdout)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    fit_the_locale()


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def main() -> int:
    """Run the command line and return the exit code; every failure becomes one message, never a traceback."""
    _open_standard_streams()
    reserve.take()
    # NumPy's linear algebra is not used here; it would start a thread for each core when it is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if "_LOADGEN_COMPLETE" in os.environ:
        completion.in_bash()
    with stderr_may_fail():
        return _written(_run())


def _run() -> int:
    """Run the command and return the exit code."""
    try:
        if "_LOADGEN_COMPLETE" in os.environ:
            cli(standalone_mode=False)  # ends the process
        # Not as cli(), which prints an empty line for an interrupt.
        with cli.make_context(_program(), sys.argv[1:]) as context:
            if not {"-h", "--help"} & {*sys.argv}:
                shortage.require_memory()
            cli.invoke(context)
    except SystemExit as ended:
        return int(ended.code or 0)
    except ReaderLeftError:
        return ExitCode.FINE
    except click.ClickException as error:
        with suppress(OSError):  # the exit code tells as much
            error.show()
        return ExitCode.USAGE
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except (click.Abort, KeyboardInterrupt):
        interrupts.seen()
        complain("interrupted")
        return ExitCode.INTERRUPTED
    except LoadgenError as error:
        complain(error)
        return error.exit_code
    except Exception as error:
        if interrupts.happened():
            interrupts.seen()
            complain("interrupted")
            return ExitCode.INTERRUPTED
        if short := shortage.of(error):
            complain(short)
            return short.exit_code
        complain(crash.told(error))
        return ExitCode.BUG
    return ExitCode.FINE


def _program() -> str:
    """Return how loadgen was called, for lines of usage."""
    return "python -m loadgen" if sys.argv[0].endswith("__main__.py") else os.path.basename(sys.argv[0])


def _written(code: int) -> int:
    """Write what stdout still has in its buffer; return the exit code, which is another one where that fails."""
    try:
        sys.stdout.flush()
    except ReaderLeftError:
        pass
    except OutputError as error:
        complain(error)
        return code or error.exit_code
    return code
