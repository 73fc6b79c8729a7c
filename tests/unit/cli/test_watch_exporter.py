"""`watch --exporter` without a kernel: what it goes with, where it may listen, and how often it takes snapshots."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from loadgen.cli.watch import SnapshotPace, watch
from loadgen.errors import ExitCode, HostError, UsageError
from loadgen.model import Endpoint
from loadgen.views.dashboard.address import EXPORTER, listener_at


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (["--once"], "leave out --once"),
        (["--json"], "leave out --json"),
        (["--inbound"], "leave out --inbound"),
        (["--port", "80"], "leave out --exporter"),
    ],
)
def test_what_cannot_be_meant(args: list[str], hint: str) -> None:
    result = CliRunner().invoke(watch, ["--exporter", "127.0.0.1:0", *args])
    assert result.exit_code == ExitCode.USAGE
    assert hint in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--exporter", "9435"], "--exporter 9435: write an address and a port"),
        (["--exporter", "0.0.0.0:9435"], "add --exporter-public if this network is trusted"),
        (["--exporter-public"], "add --exporter ADDR:PORT"),
    ],
)
def test_where_it_may_not_listen(args: list[str], message: str) -> None:
    result = CliRunner().invoke(watch, args)
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)


def test_a_port_that_is_taken_is_refused_with_the_remedy() -> None:
    with listener_at(Endpoint("127.0.0.1", 0), EXPORTER) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        result = CliRunner().invoke(watch, ["--exporter", place])
    assert isinstance(result.exception, HostError)
    assert f"--exporter: cannot listen on {place}: Address already in use; give another" in str(result.exception)


def test_long_snapshots_are_taken_less_often() -> None:
    pace = SnapshotPace(interval_s=5.0, share=1 / 20)
    assert (pace.after(0.01), pace.after(1.0)) == (5.0, 20.0)
    assert SnapshotPace(interval_s=1.0).after(0.5) == 1.0
