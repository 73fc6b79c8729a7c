"""`loadgen watch` without a kernel: flags, what ends it and with which exit code."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from loadgen import errors
from loadgen.cli import watch as command
from loadgen.kernel.sockdiag import TcpState
from loadgen.model import PortRange
from loadgen.watch import netns
from loadgen.watch import snapshot as looks
from loadgen.watch.owners import Ownership
from loadgen.watch.snapshot import Bound, Snapshot, Usage
from loadgen.watch.space import Capacity, Reuse


def look_with(used: int) -> Snapshot:
    """One group with so many of 100 ports."""
    states = {TcpState.ESTABLISHED: used}
    group = Usage("127.0.0.1", "127.0.0.1", 9000, states, used, Capacity(used, 100), False, None, None, None)
    return Snapshot(
        at="2026-01-31T12:00:00.000Z",
        t_s=0.0,
        ports=PortRange(40_000, 40_099),
        reserved=0,
        listening=0,
        usable=100,
        reuse=Reuse(2, timestamps=True),
        bound=Bound(0, (), Ownership()),
        bound_unknown="",
        groups=(group,),
        group_count=1,
        inbound=(),
        states=states,
        counters={},
        interrupted=False,
    )


class Watcher:
    """Sees what it is told to; the last of it for ever."""

    def __init__(self, *sights: Snapshot | BaseException) -> None:
        self.sights = list(sights)
        self.made: dict[str, Any] = {}
        self.seen = 0

    def __call__(self, ends: Any, **options: Any) -> Watcher:
        self.made = {"ends": ends, **options}
        return self

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def has_lost_its_process(self) -> bool:
        return False

    def snapshot(self) -> Snapshot:
        sight = self.sights[min(self.seen, len(self.sights) - 1)]
        self.seen += 1
        if isinstance(sight, BaseException):
            raise sight
        return sight


@pytest.fixture
def slept() -> list[float]:
    """The pauses that were made."""
    return []


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch, slept: list[float]) -> Iterator[Callable[..., tuple[Result, Watcher]]]:
    """Run the command with what its watcher sees, and no time passing but its pauses."""
    monkeypatch.setattr(command, "sleep", slept.append)
    monkeypatch.setattr(command, "monotonic", lambda: sum(slept))

    def run(*args: str, sees: tuple[Snapshot | BaseException, ...] = (look_with(50),)) -> tuple[Result, Watcher]:
        watcher = Watcher(*sees)
        monkeypatch.setattr(looks, "Watcher", watcher)
        return CliRunner().invoke(command.watch, args), watcher

    yield run
    assert all(pause >= 0 for pause in slept)


Run = Callable[..., tuple[Result, Watcher]]


def test_one_look_as_json(watch: Run) -> None:
    result, watcher = watch("--once", "--json")
    assert (result.exit_code, result.stderr, watcher.seen) == (0, "", 1)
    found = json.loads(result.stdout)
    assert found["schema"] == "loadgen.watch/1"
    assert found["groups"][0]["used_share"] == 0.5


def test_so_many_looks_are_so_many_lines(watch: Run, slept: list[float]) -> None:
    result, watcher = watch("--count", "3", "--json", "--interval", "250ms")
    assert watcher.seen == 3
    assert [json.loads(line)["group_count"] for line in result.stdout.splitlines()] == [1, 1, 1]
    assert slept == pytest.approx([0.25, 0.25]), "no pause after the last snapshot"


def test_a_look_as_text(watch: Run) -> None:
    result, _ = watch("--once")
    assert result.exit_code == 0
    assert "\n50.0%" in result.stdout


def test_a_condition_ends_it_at_the_first_look_that_meets_it(watch: Run) -> None:
    result, watcher = watch(
        "--json", "--fail-if", "used > 80%", "--fail-if", "free < 1", sees=(look_with(80), look_with(81))
    )
    assert (result.exit_code, watcher.seen) == (errors.ExitCode.EXPECTATION, 2)
    assert len(result.stdout.splitlines()) == 2
    assert result.stderr == ("loadgen: --fail-if used > 80%: 81%, 81 of 100 ports, from 127.0.0.1 to 127.0.0.1:9000\n")


def test_a_condition_that_no_look_meets(watch: Run) -> None:
    result, _ = watch("--once", "--fail-if", "used > 80%")
    assert (result.exit_code, result.stderr) == (0, "")


def test_ctrl_c_is_the_normal_end(watch: Run) -> None:
    result, watcher = watch("--json", sees=(look_with(1), look_with(2), KeyboardInterrupt()))
    assert (result.exit_code, result.stderr, watcher.seen) == (0, "", 3)
    assert len(result.stdout.splitlines()) == 2


FAILURE = OSError(errno.EMFILE, "Too many open files", "/proc")


@pytest.mark.parametrize("failure", [FAILURE, MemoryError(), errors.HostError("the kernel paused")])
def test_a_look_that_fails_is_passed_over(watch: Run, slept: list[float], failure: BaseException) -> None:
    """It is said once for each row of failures, and where that ends."""
    sees = (look_with(1), failure, failure, look_with(2), failure, look_with(3), KeyboardInterrupt())
    result, _ = watch("--json", "--interval", "1s", sees=sees)
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 3
    lines = result.stderr.splitlines()
    assert [line.startswith("loadgen: no snapshot: ") for line in lines] == [True, False, True, False]
    assert lines[1::2] == [f"loadgen: snapshots again, after {count} that could not be taken" for count in (2, 1)]
    assert slept == pytest.approx([1.0] * 6)


def test_a_look_that_fails_on_a_terminal_is_said_below_the_table(watch: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    class Screen:
        def show(self, _look: Snapshot) -> None:
            done.append("show")

        def hide(self) -> None:
            done.append("hide")

        def __enter__(self) -> Screen:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(command, "_screen", lambda *_, **__: Screen())
    monkeypatch.setattr(command, "complain", lambda text: done.append(str(text).partition(":")[0]))
    watch(sees=(look_with(1), FAILURE, look_with(2), KeyboardInterrupt()))
    assert done == ["show", "hide", "no snapshot", "snapshots again, after 1 that could not be taken", "show"]


@pytest.mark.parametrize(
    ("args", "sees"),
    [((), (FAILURE,)), (("--count", "3"), (look_with(1), FAILURE, look_with(2)))],
    ids=["the first", "counted"],
)
def test_a_look_that_is_needed_ends_it(watch: Run, args: tuple[str, ...], sees: tuple[Any, ...]) -> None:
    result, _ = watch("--json", *args, sees=sees)
    assert result.exception is FAILURE


def test_a_process_that_has_exited_ends_it(watch: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = errors.HostError("there is no process 7")
    monkeypatch.setattr(Watcher, "has_lost_its_process", lambda _: True)
    result, _ = watch("--json", sees=(look_with(1), gone))
    assert result.exception is gone


def test_a_host_that_cannot_is_no_traceback(watch: Run) -> None:
    result, _ = watch(sees=(errors.HostError("no such sockets"),))
    assert isinstance(result.exception, errors.HostError)


def test_what_is_asked_for_reaches_the_watcher(watch: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[int] = []
    monkeypatch.setattr(netns, "enter", entered.append)
    monkeypatch.setattr(netns, "same", lambda _: True)
    result, watcher = watch(
        "--once", "--pid", "7", "--netns", "8", "--inbound", "--source", "10.0.0.0/8", "--destination", "[::1]:443"
    )
    assert result.exit_code == 0
    ends = watcher.made.pop("ends")
    assert (str(ends.source), str(ends.destination), ends.port) == ("10.0.0.0/8", "::1/128", 443)
    assert watcher.made == {"pid": 7, "inbound": True}
    assert entered == [8]


def test_a_process_in_another_namespace_needs_to_be_named_twice(watch: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netns, "same", lambda _: False)
    result, _ = watch("--pid", "7")
    assert isinstance(result.exception, errors.UsageError)
    assert "add --netns 7" in str(result.exception)


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (["--interval", "1"], "'--interval': write 30s, 2m or 500ms"),
        (["--interval", "1ms"], "an interval from 100ms to 1h"),
        (["--interval", "2h"], "an interval from 100ms to 1h"),
        (["--count", "0"], "'--count'"),
        (["--once", "--count", "2"], "--once is --count 1"),
        (["--pid", "0"], "'--pid'"),
        (["--netns", "9x"], "'--netns'"),
        (["--top", "0"], "'--top'"),
        (["--source", "here"], "'--source': write an address or a CIDR"),
        (["--destination", "127.0.0.1:99999"], "'--destination': write a port"),
        (["--fail-if", "used > 80"], "'--fail-if': write a share"),
        (["--once", "--fail-if", "exhausts_in < 60s"], "known from the second snapshot on"),
        (["--count", "1", "--fail-if", "exhausts_in < 60s"], "known from the second snapshot on"),
        (["surplus"], "unexpected extra argument"),
    ],
)
def test_what_cannot_be_meant(watch: Run, args: list[str], hint: str) -> None:
    result, watcher = watch(*args)
    assert result.exit_code == errors.ExitCode.USAGE
    assert hint in " ".join(result.stderr.split())
    assert watcher.seen == 0
