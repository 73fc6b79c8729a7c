"""Code and docs use plain English: no vague persons or amounts, and docstrings begin with a verb or a noun."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
#: Directories and pages that are checked. Of loadgen/, `views` is still to be added.
CLEAN = (
    "loadgen/arrivals.py",
    "loadgen/clock.py",
    "loadgen/control/allowlist.py",
    "loadgen/control/dry_run.py",
    "loadgen/control/kernel_samples.py",
    "loadgen/control/name_resolution.py",
    "loadgen/control/prepare.py",
    "loadgen/control/probe.py",
    "loadgen/control/progress.py",
    "loadgen/control/sinks.py",
    "loadgen/control/standalone_sink.py",
    "loadgen/errors.py",
    "loadgen/facts",
    "loadgen/format.py",
    "loadgen/kernel",
    "loadgen/lab",
    "loadgen/outcomes.py",
    "loadgen/processes",
    "loadgen/protocols",
    "loadgen/sink",
    "loadgen/views",
    "loadgen/watch/__init__.py",
    "loadgen/watch/filters.py",
    "loadgen/watch/netns.py",
    "loadgen/watch/owners.py",
    "loadgen/watch/snapshot.py",
    "loadgen/watch/space.py",
    "loadgen/worker/backoff.py",
    "loadgen/worker/connector.py",
    "loadgen/worker/epoll",
    "loadgen/worker/freebind.py",
    "loadgen/worker/heartbeat.py",
    "loadgen/worker/http.py",
    "loadgen/worker/io_uring",
    "loadgen/worker/lifecycle.py",
    "loadgen/worker/port_ring.py",
    "loadgen/worker/recorder.py",
    "loadgen/worker/settings.py",
    "loadgen/worker/shard.py",
    "loadgen/worker/socket_pool.py",
    "loadgen/worker/tls.py",
    "loadgen/worker/worker.py",
)
#: Write "no process", "any client", "the caller", "count" and the like instead.
WORDS = re.compile(
    r"\b(nobody|whoever|somebody(?!-else)|anybody|everybody|so\s+many|what\s+came\s+of|those\s+who)\b", re.IGNORECASE
)
#: Write "Return ...", "True if ...", or the noun instead.
BEGINNINGS = re.compile(r"\s*(What|Whether|As)\b")


def files(place: str) -> list[Path]:
    path = CHECKOUT / place
    files_below = [file for suffix in ("py", "md", "yaml") for file in path.rglob(f"*.{suffix}")]
    return [path] if path.is_file() else sorted(files_below)


def vague_words(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of each word of the list."""
    for match in WORDS.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match[0]


def wrong_beginnings(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and beginning of each docstring that does not begin with a verb or a noun."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False)
            if docstring and BEGINNINGS.match(docstring):
                yield node.body[0].lineno, docstring.split("\n")[0]


@pytest.mark.parametrize("place", CLEAN)
def test_no_vague_words(place: str) -> None:
    checked = files(place)
    assert checked
    assert {path.name: found for path in checked if (found := list(vague_words(path.read_text())))} == {}


@pytest.mark.parametrize("place", [place for place in CLEAN if place.startswith("loadgen/")])
def test_docstrings_begin_with_a_verb_or_a_noun(place: str) -> None:
    checked = [path for path in files(place) if path.suffix == ".py"]
    assert checked
    assert {path.name: found for path in checked if (found := list(wrong_beginnings(path.read_text())))} == {}


def test_the_checks_find_what_they_look_for() -> None:
    source = '"""What it is."""\ndef f():\n    """As g."""\n\nclass C:\n    """Whether so."""\n    x = 1  # Nobody\n'
    assert sorted(wrong_beginnings(source)) == [(1, "What it is."), (3, "As g."), (6, "Whether so.")]
    assert list(vague_words(source)) == [(7, "Nobody")]
    text = "so\nmany; WHOEVER; somebody's; nobodys"
    assert list(vague_words(text)) == [(1, "so\nmany"), (2, "WHOEVER"), (2, "somebody")]
    assert list(wrong_beginnings('def f():\n    """Assign it."""\n')) == []
