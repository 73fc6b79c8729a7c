"""The commit of a package: from its checkout's .git, read as files, or from what the build wrote."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from loadgen import version

HEAD = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40


def written(root: Path, **files: str) -> Path:
    """A directory with these files; __ in a name stands for /, and a leading one for a dot."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def git(checkout: Path, head: str, packed: str = "", **references: str) -> Path:
    """A checkout with a .git of these files."""
    directory = checkout / ".git"
    directory.mkdir(parents=True)
    written(directory, HEAD=head, **references)
    if packed:
        (directory / "packed-refs").write_text(packed)
    return checkout


def test_a_branch_is_read_from_its_file(tmp_path: Path) -> None:
    git(tmp_path, "ref: refs/heads/main\n", refs__heads__main=f"{HEAD}\n")
    assert version.of_checkout(tmp_path) == HEAD


def test_a_detached_head_is_the_commit_itself(tmp_path: Path) -> None:
    assert version.of_checkout(git(tmp_path, f"{HEAD}\n")) == HEAD


def test_a_packed_branch_is_found_among_others(tmp_path: Path) -> None:
    packed = f"# pack-refs with: peeled\n{OTHER} refs/heads/main2\n{HEAD} refs/heads/main\n^{OTHER}\n"
    assert version.of_checkout(git(tmp_path, "ref: refs/heads/main\n", packed)) == HEAD


def test_a_loose_branch_is_newer_than_a_packed_one(tmp_path: Path) -> None:
    git(tmp_path, "ref: refs/heads/main\n", f"{OTHER} refs/heads/main\n", refs__heads__main=f"{HEAD}\n")
    assert version.of_checkout(tmp_path) == HEAD


@pytest.mark.parametrize("absolute", [True, False])
def test_a_worktree_has_its_own_head_and_the_branches_of_the_repository(tmp_path: Path, absolute: bool) -> None:
    git(tmp_path / "main", f"{OTHER}\n", refs__heads__side=HEAD)
    own = written(tmp_path / "main" / ".git" / "worktrees" / "side", HEAD="ref: refs/heads/side\n", commondir="../..\n")
    (tmp_path / "side").mkdir()
    pointer = own if absolute else Path(os.path.relpath(own, tmp_path / "side"))
    (tmp_path / "side" / ".git").write_text(f"gitdir: {pointer}\n")
    assert version.of_checkout(tmp_path / "side") == HEAD


@pytest.mark.parametrize(
    "head",
    ["", "ref: refs/heads/.invalid\n", "ref: refs/heads/none\n", "ref: refs/../../elsewhere\n", "0123\n", "x" * 40],
)
def test_an_unknown_commit_is_left_out(tmp_path: Path, head: str) -> None:
    """As with reftables, whose HEAD names .invalid, and in a repository without a commit."""
    git(tmp_path / "checkout", head)
    (tmp_path / "elsewhere").write_text(HEAD)
    (tmp_path / "checkout" / "elsewhere").write_text(HEAD)
    assert version.of_checkout(tmp_path / "checkout") == ""


def test_without_git_there_is_no_commit(tmp_path: Path) -> None:
    assert version.of_checkout(tmp_path) == ""
    (tmp_path / ".git").write_bytes(b"\xff\xfe")
    assert version.of_checkout(tmp_path) == ""


def test_an_installed_package_has_the_commit_of_its_build(tmp_path: Path) -> None:
    """And not that of another project's repository around it."""
    git(tmp_path, OTHER)
    package = written(tmp_path / "loadgen", **{version.COMMIT_FILE: f"{HEAD}\n"})
    assert version.commit_of(package) == HEAD
    (tmp_path / "hatch_build.py").touch()
    assert version.commit_of(package) == OTHER


@pytest.mark.parametrize(("commit", "shown"), [(HEAD, ", commit 0123456789ab, "), ("", ", ")])
def test_the_line_names_version_commit_and_kernel(monkeypatch: pytest.MonkeyPatch, commit: str, shown: str) -> None:
    monkeypatch.setattr(version, "version", lambda _: "1.2.3")
    monkeypatch.setattr(version, "commit_of", lambda _: commit)
    assert version.line() == f"loadgen 1.2.3{shown}Linux {os.uname().release}"


def test_without_metadata_the_version_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_: str) -> str:
        raise PackageNotFoundError

    monkeypatch.setattr(version, "version", absent)
    assert version.line().startswith("loadgen of unknown version, as it is not installed")
