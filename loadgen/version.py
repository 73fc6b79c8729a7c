"""The version of loadgen, the commit it was made of where that is known, and the kernel it runs on, in one line.

The version is that of pyproject.toml, through the metadata of the installed package. The commit is in the file
`commit.txt` of an installed package, which the build writes (hatch_build.py); in a checkout it is read from .git.
git(1) is not run: it may be missing, and it runs programs that a repository's settings name. So changes that are not
committed go unseen.

hatch_build.py loads this file by its path: it imports the standard library only.

Sources: gitrepository-layout(5), HEAD, refs, packed-refs, commondir; git-worktree(1), the file .git of a worktree.
"""

from __future__ import annotations

import os
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

#: The file of the commit in an installed package.
COMMIT_FILE: Final = "commit.txt"
_PACKAGE: Final = Path(__file__).parent
#: SHA-1, or SHA-256 in repositories made with --object-format=sha256.
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHOWN: Final = 12
#: A reference that is read as a file: below refs/, without a way out of it.
_REFERENCE: Final = re.compile(r"ref: (refs/(?!.*\.\.).+)")
#: More than any HEAD, and than the packed references of most repositories; further ones are not looked at.
_READ_MAX: Final = 16 << 20


def number() -> str:
    """Return "0.1.0"; "" where loadgen is not installed."""
    try:
        return version("loadgen")
    except PackageNotFoundError:
        return ""


def line() -> str:
    """Return "loadgen 0.1.0, commit 10613f2c1a4b, Linux 6.18.44", without the commit where it is not known."""
    installed = number() or "of unknown version, as it is not installed"
    system = os.uname()
    commit = commit_of(_PACKAGE)
    built_from = f", commit {commit[:_SHOWN]}" if commit else ""
    return f"loadgen {installed}{built_from}, {system.sysname} {system.release}"


def commit_of(package: Path) -> str:
    """Return the commit that a package directory was made of, in full; "" where it is not known.

    package: the directory `loadgen`, of an installation or a checkout.
    """
    checkout = package.parent
    # Another project's repository may be around an installation: loadgen's own has this file beside the package.
    if (checkout / "hatch_build.py").is_file() and (commit := of_checkout(checkout)):
        return commit
    return _commit(_text(package / COMMIT_FILE))


def of_checkout(checkout: Path) -> str:
    """Return the commit that is checked out in a directory, in full; "" where that cannot be read."""
    git = checkout / ".git"
    if pointer := _text(git).removeprefix("gitdir: "):  # a worktree, or a submodule
        git = checkout / pointer
    head = _text(git / "HEAD")
    found = _REFERENCE.fullmatch(head)
    if found is None:
        return _commit(head)
    common = git / (_text(git / "commondir") or ".")
    return _commit(_text(common / found[1])) or _packed(_text(common / "packed-refs"), found[1])


def _packed(text: str, reference: str) -> str:
    """Return the commit of a reference in packed-refs: lines of "COMMIT REFERENCE", comments, "^COMMIT" of tags."""
    rows = (row.partition(" ") for row in text.splitlines())
    return next((_commit(commit) for commit, _, name in rows if name == reference), "")


def _commit(text: str) -> str:
    return text if _COMMIT.fullmatch(text) else ""


def _text(path: Path) -> str:
    """Return the text of a file without the space around it; "" for one that is absent or cannot be read."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(_READ_MAX).strip()
    except (OSError, ValueError):
        return ""
