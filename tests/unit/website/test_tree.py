"""Each file of the repository has one place in the site, or none."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import pytest

from website import tree

CHECKOUT: Final = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("README.md", "index.md"),
        ("docs/README.md", "pages.md"),
        ("docs/nat.md", "nat.md"),
        ("docs/decisions/README.md", "decisions/README.md"),
        ("docs/images/report.png", "images/report.png"),
        ("docs/schema/facts.schema.json", "schema/facts.schema.json"),
        ("docs/kubernetes.yaml", "kubernetes.yaml.md"),
        ("scenarios/wall-28k.yaml", "scenarios/wall-28k.yaml.md"),
        ("packaging/Containerfile", "packaging/Containerfile.md"),
        ("packaging/loadgen-sink.service", "packaging/loadgen-sink.service.md"),
        ("examples/service-ports/README.md", "examples/service-ports/README.md"),
        ("loadgen/errors.py", None),
        ("docs", None),
        ("docs/man/loadgen.1", None),
        ("../elsewhere.md", None),
    ],
)
def test_a_file_has_its_place(path: str, place: str | None) -> None:
    assert tree.place(path) == place


def test_no_two_files_have_one_place() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this checkout has no .git whose files can be listed")
    places = [place for path in listed.stdout.splitlines() if (place := tree.place(path))]
    assert len(places) > 100
    assert len(places) == len({place.lower() for place in places})


def test_sources_have_a_language_and_others_have_none() -> None:
    assert tree.language("packaging/Containerfile") == "docker"
    assert tree.language("scenarios/a.yaml") == "yaml"
    assert tree.language("docs/man/loadgen.1") is None
