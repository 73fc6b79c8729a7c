"""The command line without a run: help, exit codes, and how little `--help` imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from inspect import cleandoc
from pathlib import Path
from typing import Any, TextIO

import click
import pytest
from click.testing import CliRunner

from loadgen import crash, errors
from loadgen.cli import main
from loadgen.errors import CapacityError, ExitCode, LoadgenError, ScenarioError
from tests import listed_commands, samples

COMMANDS = sorted(main.cli.commands)
#: Each takes tens or hundreds of milliseconds to import.
HEAVY = ("numpy", "pydantic", "aiohttp", "rich", "ruamel", "uvloop", "jinja2", "pyroute2", "asyncio", "opentelemetry")


def invoke(*args: str) -> Any:
    return CliRunner().invoke(main.cli, args)


def test_help_lists_every_command_and_every_exit_code() -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    for command in COMMANDS:
        assert f"\n  {command} " in result.output
    for code in ExitCode:
        assert f"{code.value} " in result.output.split("Exit codes:")[1]


def test_the_summary_of_every_command_is_whole_on_80_columns() -> None:
    usage, *lines = CliRunner().invoke(main.cli, ["--help"], terminal_width=80).output.splitlines()
    assert usage.endswith("COMMAND [ARGS]...")
    assert max(map(len, lines)) > 70, "it was not laid out for 80 columns"
    assert [line for line in lines if line.endswith("...")] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_every_option_explained(command: str) -> None:
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert max(map(len, result.output.splitlines())) <= 100
    for parameter in main.cli.commands[command].params:
        if isinstance(parameter, click.Option):
            assert parameter.help
            assert parameter.opts[0] in result.output


def test_the_options_of_the_contract_are_there() -> None:
    options = {option for parameter in main.cli.commands["run"].params for option in parameter.opts}
    assert options >= {"--set", "--out", "--json", "--quiet", "--allow"}
    assert {"run", "sink", "report", "schema"} <= set(COMMANDS)


def commands(group: click.Group, above: str = "") -> dict[str, click.Command]:
    """By name, as `cluster certs`; with those of groups."""
    found = {above + name: command for name, command in group.commands.items()}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= commands(command, f"{above}{name} ")
    return found


@pytest.mark.parametrize("command", commands(main.cli))
def test_the_examples_of_a_help_use_commands_and_options_that_exist(command: str) -> None:
    text = cleandoc(commands(main.cli)[command].help or "")
    calls = listed_commands.of_script(text[text.find("Example") :])
    assert calls
    for call in calls:
        listed_commands.assert_exists(call)


def test_help_imports_nothing_that_takes_time() -> None:
    """The budget of `loadgen --help` is 150 ms; one of these alone would spend most of it."""
    code = (
        "import sys, loadgen.cli.main as c\n"
        f"for args in [['--help'], *([name, '--help'] for name in {COMMANDS!r})]:\n"
        "    c.cli(args, standalone_mode=False)\n"
        f"print('loaded:', *[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded:"


def test_schema_is_json_on_stdout() -> None:
    result = invoke("schema")
    assert json.loads(result.stdout)["title"] == "loadgen scenario"
    assert result.stderr == ""


# --- main(): a failure becomes one message and its exit code --------------------------------------


def ends(monkeypatch: pytest.MonkeyPatch, *args: str, raises: BaseException | None = None) -> object:
    """The exit code of main() with these arguments, or when the command raises."""
    if raises is not None:
        error = raises

        def fail() -> None:
            raise error

        monkeypatch.setitem(main.cli.commands, "fail", click.Command("fail", callback=fail))
        args = ("fail",)
    monkeypatch.setattr(sys, "argv", ["loadgen", *args])
    return main.main()


@pytest.mark.parametrize(
    "error",
    [
        LoadgenError("a sentence"),
        errors.UsageError("a sentence"),
        ScenarioError("a sentence", file="s.yaml", line=1, column=2),
        errors.HostError("a sentence"),
        CapacityError("four-tuples", needed=2, available=1, remedy="a sentence"),
        errors.LabForbiddenError("a sentence"),
        errors.ResultsError("a sentence"),
        errors.IncompleteError("a sentence"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failure_is_one_line_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: LoadgenError
) -> None:
    assert ends(monkeypatch, raises=error) == error.exit_code
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"loadgen: {error}\n")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_has_its_own_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    assert ends(monkeypatch, raises=error) == ExitCode.INTERRUPTED
    assert capsys.readouterr().err == "loadgen: interrupted\n"


@pytest.mark.parametrize(
    "args",
    [
        ["schema"],
        ["report", "run", "--json"],
        ["report", "run"],
    ],
)
def test_a_reader_that_has_seen_enough_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, args: list[str]
) -> None:
    """`| head -1`: stdout is a pipe that nobody reads."""
    monkeypatch.chdir(tmp_path)
    samples.write(tmp_path / "run", {"plan.json": {}})
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", stdout)
        assert ends(patched, *args) == ExitCode.FINE


@pytest.mark.parametrize("broken", ["full", "closed", "terminal gone"])
@pytest.mark.parametrize(
    "args",
    [
        *([command, "--help"] for command in COMMANDS),
        ["--help"],
        ["--version"],
        ["compare", "run", "run", "--anyway"],
        ["compare", "run", "run", "--anyway", "--json"],
        ["explain", "--what-to-collect"],
        ["explain", "run/plan.json"],
        ["facts", "--list"],
        ["man"],
        ["man", "run"],
        ["report", "run"],
        ["report", "run", "--json"],
        ["runs", "."],
        ["runs", ".", "--json"],
        ["schema"],
        ["schema", "summary"],
    ],
    ids=" ".join,
)
def test_a_stdout_that_cannot_be_written_is_one_line_and_3(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    args: list[str],
    broken: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    samples.write(tmp_path / "run", {"plan.json": {}})
    with ExitStack() as stack:
        patched = stack.enter_context(monkeypatch.context())
        stdout: TextIO | None = None
        reason = "it is closed"
        match broken:
            case "full":
                stdout, reason = stack.enter_context(open("/dev/full", "w")), "No space left on device"
            case "terminal gone":
                ours, theirs = os.openpty()
                stdout, reason = stack.enter_context(os.fdopen(theirs, "w")), "Input/output error"
                os.close(ours)
        patched.setattr(sys, "stdout", stdout)
        code = ends(patched, *args)
    assert (code, capsys.readouterr().err) == (
        ExitCode.HOST,
        f"loadgen: cannot write to stdout: {reason}; send it to a file with room\n",
    )


def test_what_nobody_foresaw_is_one_line_and_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(crash, "directory", str(tmp_path))
    assert ends(monkeypatch, raises=ZeroDivisionError("a \x1b[31m\nb")) == ExitCode.BUG
    (details,) = tmp_path.iterdir()
    assert capsys.readouterr().err == (
        f"loadgen: unforeseen ZeroDivisionError: a \\x1b[31m\\nb; details in {details}; please report it\n"
    )
    assert "Traceback (most recent call last)" in details.read_text()
    assert details.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["run"], "Missing argument 'SCENARIO'"),
        (["run", "x.yaml", "--nonsense"], "No such option"),
        (["run", "no-such-file.yaml"], "no-such-file.yaml: no such file; check the path"),
        (["report"], "Missing argument 'RUN...'"),
        (["report", "no-such-run"], "no-such-run is no run directory"),
        (["sink"], "Missing argument"),
        (["sink", "127.0.0.1"], "Error: "),
        (["sink", "127.0.0.1:9000", "--workers", "0"], "Invalid value for '--workers'"),
    ],
)
def test_wrong_usage_is_2_and_says_what(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, args: list[str], hint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ends(monkeypatch, *args) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert hint in err
    assert out == ""
    assert not list(tmp_path.iterdir()), "nothing was made"


def test_a_scenario_that_is_wrong_is_refused_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text("name: x\nconections: 5\n")
    assert ends(monkeypatch, "run", "s.yaml") == ExitCode.USAGE
    err = capsys.readouterr().err
    assert err.startswith("loadgen: s.yaml:2:1: ")
    assert 'did you mean "connections"?' in err
    assert [path.name for path in tmp_path.iterdir()] == ["s.yaml"]


@pytest.mark.parametrize("args", [["--help"], ["run", "--help"], ["--version"]])
def test_asking_for_help_is_fine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], args: list[str]
) -> None:
    assert ends(monkeypatch, *args) == 0
    assert capsys.readouterr().out


def test_the_version_is_that_of_the_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from importlib.metadata import version

    assert ends(monkeypatch, "--version") == 0
    assert version("loadgen") in capsys.readouterr().out
