"""The tutorial, docs/symptoms.md and docs/explain.md to the letter: their commands in order, in a directory and
namespace each.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from .conftest import CHECKOUT, Namespace, environment

TUTORIAL: Final = CHECKOUT / "docs" / "tutorial.md"
SYMPTOMS: Final = CHECKOUT / "docs" / "symptoms.md"
EXPLAIN: Final = CHECKOUT / "docs" / "explain.md"
#: A minute on an idle machine.
TIME_LIMIT_S: Final = 400
#: How often a connect() was refused a port, and how many never started: both depend on the number of workers.
BY_WORKERS: Final = frozenset({"24", "244"})

#: A whole number as it is shown, but for those of the machine: with a decimal point, a unit or a per cent sign.
_EXACT = re.compile(r"(?<![\d.,+-])\d+(?:,\d{3})*(?![\d,]|\.\d|/s| [num]?s\b| %)")
_ERRNO = re.compile(r"\bE[A-Z]{4,}\b")
_WORD = re.compile(r"\b(?:four-tuples|source-ports|ListenOverflows|LISTEN|refused|FAIL|pass)\b")


@dataclass(frozen=True)
class Command:
    """A line that begins with `$ `, and the lines shown below it."""

    line: str
    shown: str

    @property
    def promised(self) -> set[str]:
        """The facts in the lines shown."""
        return facts(self.shown) - BY_WORKERS


def facts(text: str) -> set[str]:
    """Numbers, errno names, limits and results of expectations; not the words around them."""
    return {fact for pattern in (_EXACT, _ERRNO, _WORD) for fact in pattern.findall(text)}


def commands(page: Path = TUTORIAL) -> list[Command]:
    """All of a page, in order."""
    blocks = re.findall(r"^```console\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    parts = [part for block in blocks for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    return [Command(*part.split("\n", 1)) for part in parts]


def script(steps: list[Command]) -> str:
    """One shell for all; each command has its output and its exit code in files of its own."""
    lines = []
    for number, step in enumerate(steps):
        lines += ["{", step.line, f"}} >{number}.out 2>&1", f"code=$?; echo $code >{number}.code"]
        if step.line.endswith("&"):
            # A reader takes longer to type the next command than a server to listen.
            (host, port) = re.findall(r"(\S+):(\d+)", step.line)[0]
            lines.append(f"until (exec 3<>/dev/tcp/{host}/{port}) 2>/dev/null; do sleep 0.1; done")
        lines.append("(exit $code)")
    return "\n".join([*lines, "wait"])


def set_up_checkout(home: Path, page: Path) -> None:
    """What `make run` finds in a checkout that is set up: the Makefile, the scenarios, .venv; and the page's files."""
    shutil.copy(CHECKOUT / "Makefile", home)
    shutil.copytree(CHECKOUT / "scenarios", home / "scenarios")
    (home / ".venv").mkdir()
    (home / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    for name in ("pyproject.toml", "requirements/run.txt"):
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).touch()
        os.utime(home / name, (0, 0))
    (home / ".venv" / ".run").touch()
    for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        title = re.match(r"# (\S+\.yaml)\n", block)
        assert title, "the first line of each file is its name"
        (home / title[1]).write_text(block)
    for name, block in re.findall(r"^<!-- (\S+) -->\n```text\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        (home / name).write_text(block)


@pytest.mark.timeout(TIME_LIMIT_S + 20)
@pytest.mark.parametrize(
    ("page", "least"), [(TUTORIAL, 10), (SYMPTOMS, 6), (EXPLAIN, 5)], ids=["tutorial", "symptoms", "explain"]
)
def test_a_page_comes_true(tmp_path: Path, namespace: Namespace, page: Path, least: int) -> None:
    steps = commands(page)
    assert len(steps) >= least
    set_up_checkout(tmp_path, page)
    with subprocess.Popen(
        [*namespace.enter, "bash", "-c", script(steps)],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # The tutorial sets the path itself.
        env=environment(PATH=os.environ["PATH"] if page == TUTORIAL else f"{tmp_path}/.venv/bin:{os.environ['PATH']}"),
        start_new_session=True,
    ) as shell:
        try:
            shell.communicate(timeout=TIME_LIMIT_S)
        finally:
            if shell.poll() is None:
                os.killpg(shell.pid, 9)
    for number, step in enumerate(steps):
        out = (tmp_path / f"{number}.out").read_text()
        code = int((tmp_path / f"{number}.code").read_text())
        asked = steps[number + 1 : number + 2]
        if asked and asked[0].line == "echo $?":
            assert code == int(asked[0].shown), f"{step.line}: {out}"
        else:
            assert code == 0, f"{step.line}: {out}"
        assert step.promised <= facts(out), f"{step.line}: {out}"


def test_the_lines_shown_hold_the_facts_that_the_tutorial_is_about() -> None:
    """So that the test above compares something: a pattern that finds nothing would agree with everything."""
    promised = {step.line.split(" --set")[0]: step.promised for step in reversed(commands())}
    symptoms = {step.line: step.promised for step in commands(SYMPTOMS)}
    explained = {step.line: step.promised for step in commands(EXPLAIN)}
    assert symptoms["loadgen run short-queue.yaml --quiet"] >= {"40", "ListenOverflows"}
    assert explained["loadgen explain ticket.txt"] >= {"EADDRNOTAVAIL", "10", "9"}
    assert promised["make run"] == {"100,000", "0"}
    assert promised["loadgen run scenarios/wall-28k.yaml"] >= {"28,232", "28,500", "EADDRNOTAVAIL", "four-tuples"}
    assert promised["loadgen plan mine.yaml"] == {"112,928", "1,000", "four-tuples"}
