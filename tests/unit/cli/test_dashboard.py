"""The options of the dashboard, and that a run without one shows and interrupts as ever."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from loadgen.cli import dashboard
from loadgen.errors import UsageError


@pytest.mark.parametrize(
    ("args", "address"),
    [([], None), (["--dashboard"], "127.0.0.1:0"), (["--dashboard", "127.0.0.1:8080"], "127.0.0.1:8080")],
)
def test_the_address_may_be_left_out(args: list[str], address: str | None) -> None:
    given: list[str | None] = []

    def callback(dashboard_at: str | None, dashboard_public: bool) -> None:
        assert not dashboard_public
        given.append(dashboard_at)

    assert CliRunner().invoke(click.command()(dashboard.given(callback)), args).exit_code == 0
    assert given == [address]


def test_without_an_address_there_is_none(tmp_path: Path) -> None:
    assert dashboard.made(None, tmp_path, public=False) is None
    with pytest.raises(UsageError, match="add --dashboard ADDR:PORT"):
        dashboard.made(None, tmp_path, public=True)


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:8080", "nonsense"])
def test_an_address_that_others_can_reach_has_to_be_permitted(tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError):
        dashboard.made(address, tmp_path, public=False)


@pytest.mark.parametrize(("address", "warned"), [("0.0.0.0:0", True), ("192.0.2.1:80", True), ("[::1]:0", False)])
def test_a_token_that_travels_in_clear_is_said_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], address: str, warned: bool
) -> None:
    assert dashboard.made(address, tmp_path, public=True)
    err = capsys.readouterr().err
    assert ("the token in the URL travels unencrypted" in err) == warned
    assert err.count("\n") == warned


def test_without_a_dashboard_the_view_is_shown_alone() -> None:
    shown, opened = object(), []

    @contextmanager
    def view() -> Any:
        opened.append(True)
        yield shown
        opened.append(False)

    with dashboard.beside(view(), None) as seen:
        assert (seen, opened) == (shown, [True])
    assert opened == [True, False]


def test_without_a_dashboard_nothing_is_announced_and_the_run_is_interrupted_itself() -> None:
    announced: list[str] = []

    def interrupt() -> None:
        raise AssertionError("it is not called")

    async def body() -> None:
        async with dashboard.serving(None, interrupt, announced.append) as given:
            assert given is interrupt

    asyncio.run(body())
    assert announced == []
