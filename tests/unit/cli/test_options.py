"""Options shared by several commands: their order in help, and how their values arrive."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from loadgen.cli import options


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
