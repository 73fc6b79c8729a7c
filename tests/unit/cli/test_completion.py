"""What <TAB> offers: files, keys, values; and that bash, which splits words at "=", gets its own part of them."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from click.shell_completion import get_completion_class

from loadgen import scenario
from loadgen.cli import completion
from loadgen.cli.main import cli
from loadgen.errors import ScenarioError
from loadgen.model import Strategy

CONTEXT = click.Context(cli, info_name="loadgen")


def files(incomplete: str) -> list[str]:
    return completion.scenarios(CONTEXT, cli.params[0], incomplete)


def settings(incomplete: str) -> list[str]:
    return [str(item.value) for item in completion.settings(CONTEXT, cli.params[0], incomplete)]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("one.yaml", "other.yml", "notes.txt", ".hidden.yaml", "deep/deeper/a.yaml", "deep/deeper/b.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("home")
def test_scenario_files_and_folders() -> None:
    assert files("") == ["deep/", "one.yaml", "other.yml"]
    assert files("o") == ["one.yaml", "other.yml"]
    assert files("./on") == ["./one.yaml"]
    assert files("n") == []
    assert files(".h") == [".hidden.yaml"]
    assert files("nowhere/") == []


@pytest.mark.usefixtures("home")
def test_a_folder_is_never_the_only_answer() -> None:
    """The shell would put a space behind it."""
    assert files("d") == files("deep/") == ["deep/deeper/a.yaml", "deep/deeper/b.yaml"]


def test_a_home_directory_stays_as_it_was_written(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home))
    assert files("~/on") == ["~/one.yaml"]


def test_a_circle_of_links_has_an_end(home: Path) -> None:
    (home / "circle").mkdir()
    (home / "circle" / "again").symlink_to(home / "circle")
    assert len(files("circle")) == 1


def test_keys() -> None:
    keys = ("addresses", "count", "strategy", "ports", "freebind")
    assert settings("sources.") == [f"sources.{key}=" for key in keys]
    assert {"connections=", "targets.0.address=", "targets.0.sink.speaks=", "lab.sysctls="} <= set(settings(""))
    assert settings("gremlins") == []


@pytest.mark.parametrize(
    ("incomplete", "offered"),
    [
        ("sources.strategy=late", ["sources.strategy=late", "sources.strategy=late-range"]),
        ("sources.str", [f"sources.strategy={one.value}" for one in Strategy]),
        ("sources.freebind=", ["sources.freebind=true", "sources.freebind=false"]),
        ("tls.verify=f", ["tls.verify=false"]),
        ("hold=", ["hold=0s", "hold=30s"]),
        ("workers=", ["workers=", "workers=2"]),
        ("engine=x", []),
    ],
)
def test_values_of_a_key(incomplete: str, offered: list[str]) -> None:
    assert settings(incomplete) == offered


def complaint(text: str, setting: str) -> str:
    """What is wrong with a scenario after a --set, if anything is."""
    try:
        scenario.parse(text, overrides=[setting])
    except ScenarioError as error:
        return str(error)
    return ""


def test_every_key_and_value_that_is_offered_is_one() -> None:
    """Every key leads somewhere in a scenario; what is wrong with it then is at most what stands beside it."""
    smallest = 'name: s\nsources: {addresses: 127.0.0.1}\ntargets: [{address: "127.0.0.1:9000"}]\nconnections: 1\n'
    for key in settings(""):
        for setting in settings(key):
            if not setting.endswith("="):
                message = complaint(smallest, setting)
                assert not re.search("unknown|did you mean|write one of (?!those)", message), setting


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["run", "--set", "sources.strategy", "=", "late-"], ["plain,late-range"]),
        (["run", "--set", "sources.freebind", "="], ["plain,true", "plain,false"]),
        (["run", "--set", "a", "=", "1", "--set", "tls.resume", "=", "t"], ["plain,true"]),
        (["run", "--set", "tls.resume=t"], ["plain,tls.resume=true"]),
        (["run", "--set", "tls.resu"], ["plain,tls.resume=true", "plain,tls.resume=false"]),
        (["run", "--set", "a", "=", "--jso"], ["plain,--json"]),
        (["run", "--jun"], ["plain,--junit"]),
        (["ru"], ["plain,run", "plain,runs"]),
    ],
)  # fmt: skip
def test_bash(words: list[str], offered: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """COMP_WORDS as bash has it: each "=" is a word of its own, unless somebody changed that."""
    monkeypatch.setenv("COMP_WORDS", "\n".join(["loadgen", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    completion.in_bash()
    bash = get_completion_class("bash")
    assert bash
    assert bash(cli, {}, "loadgen", "_LOADGEN_COMPLETE").complete().splitlines() == offered
