"""Results for CI systems beside the exit code: a JUnit report, and a summary below the job on GitHub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from loadgen.cli import files
from loadgen.cli.streams import complain
from loadgen.errors import ResultsError

if TYPE_CHECKING:
    from loadgen.results.schema.files import Summary

#: The file whose Markdown GitHub shows below a job; it is set in every step.
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"


def publish(summary: Summary, directory: Path, junit: Path | None) -> ResultsError | None:
    """Write the JUnit report if one is wanted, and the step summary where GitHub wants one.

    Returns: the error that kept the JUnit report from being written. A step summary that cannot be written is one
    line on stderr, because no option asked for it.
    """
    _add_to_step_summary(summary, directory)
    if junit is None:
        return None
    from loadgen.views.ci import junit as reports

    try:
        files.write(junit, reports.render(summary, directory=str(directory)))
    except ResultsError as error:
        return error
    return None


def _add_to_step_summary(summary: Summary, directory: Path) -> None:
    name = os.environ.get(STEP_SUMMARY)
    if not name:
        return
    from loadgen.views.ci import markdown

    try:
        with Path(name).open("a", encoding="utf-8") as file:
            file.write(markdown.render(summary, directory=str(directory)) + "\n")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        complain(f"cannot add to {STEP_SUMMARY} ({name!r}): {reason}")
