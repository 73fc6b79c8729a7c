"""Every command block of the pages to the letter, in order, in a directory and a namespace for each page."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from tests.command_blocks import Block, Step, blocks, files, missing_programs, script, to_run

from .conftest import CHECKOUT, Namespace, environment

DOCS: Final = CHECKOUT / "docs"
TUTORIAL: Final = DOCS / "tutorial.md"
#: The tutorial takes a minute on an idle machine.
TIME_LIMIT_S: Final = 400
#: What a page shows and another run does not: figures of the machine, by page.
OF_THE_MACHINE: Final[dict[str, frozenset[str]]] = {
    # How often a connect() was refused a port, and how many never started: both depend on the number of workers.
    "docs/tutorial.md": frozenset({"24", "244"}),
    # How often calls were denied, and passes over the ports in the time that the machine gave.
    "docs/howto-tcp-tw-reuse.md": frozenset({"459", "442", "530", "300", "200"}),
    # Pids of the trace and of the service.
    "docs/howto-eaddrinuse.md": frozenset({"6416", "6781"}),
    # Answers in two seconds.
    "docs/measuring.md": frozenset({"19", "14", "26"}),
    # Heartbeats in five seconds.
    "docs/real-peers.md": frozenset({"199"}),
    # A pid, the stops and calls of strace, the ports that were denied.
    "docs/trace.md": frozenset({"27330", "2,668", "1,334", "33"}),
    # A pid.
    "docs/watch.md": frozenset({"977"}),
}


def named(page: Path) -> str:
    """Its path in the checkout."""
    return str(page.relative_to(CHECKOUT))


def read(page: Path) -> list[Block]:
    """The blocks of a page."""
    try:
        return blocks(page.read_text())
    except ValueError as error:
        pytest.fail(f"{named(page)}, {error}")


PAGES: Final = [
    page
    for page in (CHECKOUT / "README.md", *sorted(DOCS.rglob("*.md")))
    if any(f"```{language}" in page.read_text() for language in ("console", "sh", "bash", "shell"))
]


def has_commands_to_run(page: Path) -> bool:
    """Return whether there is anything to run; of a page that cannot be read its test says why."""
    try:
        return bool(to_run(blocks(page.read_text())))
    except ValueError:
        return True


def set_up_checkout(home: Path, page: Path) -> None:
    """What a reader finds in a checkout that is set up: what commands use, .venv; and the page's files."""
    for name in ("Makefile", "pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "requirements/run.txt"):
        (home / name).parent.mkdir(exist_ok=True)
        shutil.copy(CHECKOUT / name, home / name)
        os.utime(home / name, (0, 0))  # .venv is newer
    for name in ("loadgen", "scenarios", "docs/schema", "docs/man"):
        shutil.copytree(CHECKOUT / name, home / name, ignore=shutil.ignore_patterns("__pycache__"))
    (home / ".venv").mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):  # without the last it would be the Python of the system
        (home / ".venv" / name).symlink_to(Path(sys.prefix) / name)
    (home / ".venv" / ".run").touch()
    (home / ".local" / "bin").mkdir(parents=True)
    for name, body in files(page.read_text()).items():
        (home / name).write_text(body)


@pytest.mark.timeout(TIME_LIMIT_S + 20)
@pytest.mark.parametrize("page", [page for page in PAGES if has_commands_to_run(page)], ids=named)
def test_a_page_comes_true(tmp_path: Path, namespace: Namespace, page: Path) -> None:
    steps = to_run(read(page))
    if lacking := missing_programs(steps):
        pytest.skip(lacking)
    home, notes = tmp_path / "home", tmp_path / "notes"
    home.mkdir()
    notes.mkdir()
    set_up_checkout(home, page)
    tools = "" if page == TUTORIAL else f"{home}/.venv/bin:{home}/.local/bin:"  # the tutorial sets the path itself
    with subprocess.Popen(
        [*namespace.enter, "bash", "-c", script(steps, notes, patience_s=60)],
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment(HOME=str(home), PATH=tools + os.environ["PATH"]),
        start_new_session=True,
        text=True,
    ) as shell:
        try:
            _, said = shell.communicate(timeout=TIME_LIMIT_S)
        finally:
            with suppress(ProcessLookupError):  # all have ended
                os.killpg(shell.pid, signal.SIGKILL)
    of_the_machine = OF_THE_MACHINE.get(named(page), frozenset())
    for number, step in enumerate(steps):
        result = notes / f"{number}.code"
        assert result.exists(), f"{step.line}: never came to its end: {said}"
        out = (notes / f"{number}.out").read_text(errors="replace")
        assert int(result.read_text()) in step.codes, f"{step.line}: {out}"
        assert step.promised - of_the_machine <= facts_of(out, step), f"{step.line}: {out}"


def facts_of(out: str, step: Step) -> set[str]:
    """The facts in what a command printed."""
    return Step(step.line, out).promised


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_block_that_another_test_runs_is_named_there(page: Path) -> None:
    for block in read(page):
        if block.run_by:
            test = CHECKOUT / block.run_by
            assert test.name.startswith("test_"), f"{named(page)}, line {block.line}"
            assert test.exists(), f"{named(page)}, line {block.line}: there is no {block.run_by}"
            assert page.name in test.read_text(), f"{named(page)}, line {block.line}: {block.run_by} does not name it"


def test_there_are_blocks_that_are_run_and_lines_that_are_compared() -> None:
    """So that the tests above compare something: a pattern that finds nothing would agree with everything."""
    steps = {named(page): to_run(read(page)) for page in PAGES}
    assert sum(len(read(page)) for page in PAGES) >= 80
    assert sum(map(len, steps.values())) >= 80
    promised = {page: {step.line.split(" --set")[0]: step.promised for step in reversed(steps[page])} for page in steps}
    assert promised["docs/symptoms.md"]["loadgen run short-queue.yaml --quiet"] >= {"40", "ListenOverflows"}
    assert promised["docs/explain.md"]["loadgen explain ticket.txt"] >= {"EADDRNOTAVAIL", "10", "9"}
    tutorial = promised["docs/tutorial.md"]
    assert tutorial["make run"] == {"100,000", "0"}
    assert tutorial["loadgen run scenarios/wall-28k.yaml"] >= {"28,232", "28,500", "EADDRNOTAVAIL", "four-tuples"}
    assert tutorial["loadgen plan mine.yaml"] == {"112,928", "1,000", "four-tuples"}


def test_what_goes_wrong_in_a_step_shows(tmp_path: Path) -> None:
    """So that no command can fail unseen: in a pipe, in the background, or before it is interrupted."""
    forever = "import time; print('up', flush=True); time.sleep(60)"
    lines = {
        "false | true": 1,
        "(exit 3) &": 3,
        f'{sys.executable} -c "{forever}"  # until Ctrl-C': 1,
        "exit 7  # until Ctrl-C": 7,
        "true": 0,
    }
    steps = [Step(line) for line in lines]
    done = subprocess.run(["bash", "-c", script(steps, tmp_path, patience_s=10)], timeout=60, capture_output=True)
    codes = [int((tmp_path / f"{number}.code").read_text()) for number in range(len(steps))]
    # Python ends an uncaught KeyboardInterrupt by the signal itself.
    assert codes == [130 if "Ctrl-C" in line and code == 1 else code for line, code in lines.items()], done.stderr
    assert "up" in (tmp_path / "2.out").read_text()
