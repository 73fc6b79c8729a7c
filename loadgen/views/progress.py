"""How a command shows what goes on: chosen by an option, or by where it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class ProgressStyle(StrEnum):
    """The values of --progress.

    AUTO: LIVE where that can be drawn, else PLAIN. LIVE: drawn over itself. PLAIN: one line after the other, for a log
    and for a screen reader. NONE: nothing but notices.
    """

    AUTO = "auto"
    LIVE = "live"
    PLAIN = "plain"
    NONE = "none"


def is_ci(environ: Mapping[str, str]) -> bool:
    """Return whether this is a job of a CI system, whose log keeps lines even where it has a pseudo terminal.

    Source: CI is set to true by GitHub, GitLab, Travis, CircleCI, Buildkite and others.
    """
    return environ.get("CI", "").lower() not in ("", "0", "false")


def speaks_ascii(environ: Mapping[str, str], *, utf8_mode: bool) -> bool:
    """Return whether the locale names a character set other than UTF-8, or C or POSIX, which have ASCII alone.

    Python writes UTF-8 in these (PEP 538, PEP 540), and the terminal of a person who asked for C may not show it. No
    locale at all, as in a container, asks for nothing. utf8_mode: sys.flags.utf8_mode; with it a LC_CTYPE of C.UTF-8
    is Python's own and not the user's.
    """
    of_python = utf8_mode and environ.get("LC_CTYPE") in ("C.UTF-8", "C.utf8", "UTF-8")
    named = environ.get("LC_ALL") or (not of_python and environ.get("LC_CTYPE")) or environ.get("LANG") or ""
    language, _, codeset = named.partition("@")[0].partition(".")
    return (language in ("C", "POSIX") and not codeset) or codeset.lower() not in ("", "utf-8", "utf8")
