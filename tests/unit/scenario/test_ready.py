"""The scenarios that come with loadgen: all of them, each with a description, in the wheel as well."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from loadgen import scenario as scenarios
from loadgen.errors import HostError, UsageError
from loadgen.scenario import ready

CHECKOUT = Path(__file__).parents[3]


def test_all_are_listed_with_what_they_prove() -> None:
    listed = ready.listing()
    assert [each.name for each in listed] == ready.names()
    assert {each.name for each in listed} == {path.stem for path in (CHECKOUT / "scenarios").glob("*.yaml")}
    assert all(each.description for each in listed)


def test_a_copy_is_valid_anywhere() -> None:
    """Without the line for editors, whose path is right in the checkout only."""
    text = ready.text_of("wall-28k")
    assert "$schema" not in text
    assert scenarios.parse(text) == scenarios.load(CHECKOUT / "scenarios" / "wall-28k.yaml")


def test_an_unknown_name_is_told_with_the_one_that_was_meant() -> None:
    with pytest.raises(UsageError, match='did you mean "wall-28k"'):
        ready.text_of("wall-28")


def test_an_installation_without_any_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ready, "_PLACES", (tmp_path, tmp_path / "none"))
    assert ready.names() == []
    with pytest.raises(HostError, match="has no scenarios"):
        ready.listing()


def test_the_first_place_that_has_any_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text((CHECKOUT / "scenarios" / "four-tuple.yaml").read_text())
    monkeypatch.setattr(ready, "_PLACES", (tmp_path, CHECKOUT / "scenarios"))
    assert ready.names() == ["own"]


def test_a_wheel_has_them_in_the_first_place() -> None:
    build = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    places = ready._PLACES
    assert build["force-include"] == {"scenarios": str(places[0].relative_to(CHECKOUT))}
    assert places[1] == CHECKOUT / "scenarios"
