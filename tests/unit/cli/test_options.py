"""Options shared by several commands: their order in help, and how their values arrive."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from loadgen.cli import options
from loadgen.errors import UsageError
from loadgen.views.progress import ProgressStyle


def command(*decorators: Any) -> tuple[click.Command, list[dict[str, Any]]]:
    """A command with these options, and the values of each call."""
    calls: list[dict[str, Any]] = []

    def callback(**values: Any) -> None:
        calls.append(values)

    return click.command("x")(options.all_of(*decorators)(callback)), calls


def test_help_lists_them_in_the_order_in_which_they_are_given() -> None:
    made, _ = command(click.option("--first"), click.option("--second"), click.option("--third"))
    assert [parameter.name for parameter in made.params] == ["first", "second", "third"]


@pytest.mark.parametrize(
    ("args", "values"),
    [
        ([], {"settings": (), "as_json": False, "allow": (), "authorized": False, "port_blocking": False}),
        (
            ["--set", "a=1", "--set", "b.c=[1, 2]", "--json", "--allow", "10.0.0.0/8", "--allow", "::/0"],
            {"settings": ("a=1", "b.c=[1, 2]"), "as_json": True, "allow": ("10.0.0.0/8", "::/0")},
        ),
        (["--i-am-authorized", "--allow-port-blocking"], {"authorized": True, "port_blocking": True}),
    ],
)
def test_values_arrive_under_these_names(args: list[str], values: dict[str, Any]) -> None:
    made, calls = command(options.settings, options.as_json("The plan"), options.permissions)
    assert CliRunner().invoke(made, args).exit_code == 0
    assert calls[0].items() >= values.items()


def test_json_says_what_it_prints() -> None:
    made, _ = command(options.as_json("The findings"))
    assert "The findings as JSON on stdout" in CliRunner().invoke(made, ["--help"]).output


@pytest.mark.parametrize(
    ("args", "variable", "expected"),
    [
        ([], None, ProgressStyle.AUTO),
        (["--quiet"], None, ProgressStyle.NONE),
        (["--quiet"], "plain", ProgressStyle.NONE),
        (["--progress", "plain"], None, ProgressStyle.PLAIN),
        (["--progress", "live"], "plain", ProgressStyle.LIVE),
        ([], "plain", ProgressStyle.PLAIN),
        ([], "none", ProgressStyle.NONE),
        ([], "", ProgressStyle.AUTO),
    ],
)
def test_progress_is_an_option_or_a_variable(
    monkeypatch: pytest.MonkeyPatch, args: list[str], variable: str | None, expected: ProgressStyle
) -> None:
    monkeypatch.delenv(options.PROGRESS, raising=False)
    if variable is not None:
        monkeypatch.setenv(options.PROGRESS, variable)
    made, calls = command(options.progress)
    result = CliRunner().invoke(made, args, catch_exceptions=False)
    assert (result.exit_code, calls) == (0, [{"progress": expected}])


def test_two_words_about_progress_are_one_too_many() -> None:
    made, calls = command(options.progress)
    result = CliRunner().invoke(made, ["--quiet", "--progress", "plain"])
    assert (result.exit_code, calls) == (2, [])
    assert "--quiet is --progress none; leave one of them out" in result.output


def test_a_variable_that_names_no_style_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(options.PROGRESS, "fancy")
    with pytest.raises(UsageError, match="LOADGEN_PROGRESS: write one of auto, live, plain, none; got 'fancy'"):
        CliRunner().invoke(command(options.progress)[0], [], catch_exceptions=False)


def test_what_is_the_output_itself_cannot_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is for all commands, so `none` there asks `watch` for nothing."""
    monkeypatch.setenv(options.PROGRESS, "none")
    made, calls = command(options.shown)
    assert CliRunner().invoke(made, []).exit_code == 0
    assert calls == [{"progress": ProgressStyle.AUTO}]
    assert CliRunner().invoke(made, ["--progress", "none"]).exit_code == 2
