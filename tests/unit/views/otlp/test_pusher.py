"""Snapshots: one is on its way and one waits, whatever the receiver does; and the sentence at the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loadgen import secret
from loadgen.views.otlp import pusher as pushers
from loadgen.views.otlp.pusher import MetricsSnapshot, NotTakenError, Pusher
from tests.unit.views.dashboard.samples import line, plan

URL = "http://receiver.example/v1/metrics"
PATIENCE_S = 30.0


class Recorded:
    """Takes snapshots. hold: set it to keep the thread in the first. errors: raised, in turn, and then no more."""

    def __init__(self, *errors: Exception, hold: bool = False) -> None:
        self.taken: list[MetricsSnapshot] = []
        self.errors, self.release, self.entered = list(errors), threading.Event(), threading.Event()
        if not hold:
            self.release.set()

    def __call__(self, snapshot: MetricsSnapshot) -> tuple[int, str]:
        self.entered.set()
        assert self.release.wait(PATIENCE_S)
        self.taken.append(snapshot)
        if self.errors:
            raise self.errors.pop(0)
        return 0, ""

    def value(self, number: int, name: str = "loadgen_connections_established_total") -> float:
        """A value without labels, of the snapshot with this number."""
        (found,) = [values for described, values in self.taken[number].found if described.name == name]
        (((), value),) = found
        assert isinstance(value, float | int)
        return value


def pushing(pusher: Pusher, body: Callable[[], Any], interrupts: list[str] | None = None) -> None:
    """Run `body` while it pushes."""

    async def main() -> None:
        async with pusher.pushing(lambda: (interrupts if interrupts is not None else []).append("run")):
            body()

    asyncio.run(main())


def test_the_last_values_are_pushed_at_the_end() -> None:
    sent, same = Recorded(), plan()
    pusher = Pusher(sent, URL, 3600.0)

    def body() -> None:
        pusher.opened(Path("results/matrix-1"))
        pusher.opened(Path("results/matrix-1/cell"))
        pusher.update(same, line(1.0, established=7))
        assert sent.entered.wait(PATIENCE_S)
        pusher.update(same, line(2.0, established=9))  # not due

    pushing(pusher, body)
    assert [sent.value(number) for number in range(len(sent.taken))] == [7, 9]
    first, last = sent.taken
    assert (first.run, first.scenario) == (last.run, last.scenario) == ("matrix-1", "mine")
    assert first.start_unix_ns == last.start_unix_ns == pytest.approx(first.unix_ns - 1e9, abs=60e9)
    assert first.start_unix_ns <= first.unix_ns <= last.unix_ns
    assert pusher.outcome == f"2 OTLP exports to {URL}, none failed"
    assert not pusher.failed


def test_without_a_line_nothing_is_pushed() -> None:
    sent = Recorded()
    pusher = Pusher(sent, URL, 1.0)
    pushing(pusher, lambda: None)
    assert sent.taken == []
    assert pusher.outcome == f"no OTLP export to {URL}: there was nothing to send"


def test_while_one_is_on_its_way_only_the_newest_waits() -> None:
    sent, same = Recorded(hold=True), plan()
    pusher = Pusher(sent, URL, 0.0)

    def body() -> None:
        pusher.update(same, line(1.0, established=1))
        assert sent.entered.wait(PATIENCE_S)
        for count in range(2, 1002):
            pusher.update(same, line(float(count), established=count))
        sent.release.set()

    pushing(pusher, body)
    assert sent.value(0) == 1
    assert sent.value(-1) == 1001
    assert len(sent.taken) <= 3
    assert "snapshots left out, as the receiver was not ready" in pusher.outcome


def test_counters_go_on_over_the_runs_of_a_matrix() -> None:
    sent = Recorded()
    pusher = Pusher(sent, URL, 3600.0)

    def body() -> None:
        for cell in (1, 2):
            pusher.say(f"run {cell} of 2")
            pusher.begin(lambda _: None)
            pusher.update(plan(), line(1.0, established=5))

    pushing(pusher, body)
    assert sent.value(-1) == 10
    (info,) = [values for described, values in sent.taken[-1].found if described.name == "loadgen_run_info"]
    assert info[0][0][:2] == ("mine", "run 2 of 2")


def test_the_first_failure_is_told_once_where_the_run_is_shown_and_all_are_counted() -> None:
    same, told = plan(), list[str]()
    sent = Recorded(NotTakenError("connection refused"), NotTakenError("connection refused"), ValueError("odd"))
    pusher = Pusher(sent, URL, 0.0)

    async def main() -> None:
        async with pusher.pushing(lambda: None):
            pusher.begin(told.append)
            for count in range(1, 5):
                pusher.update(same, line(float(count)))
                async with asyncio.timeout(PATIENCE_S):
                    while pusher._waiting or pusher._sending:
                        await asyncio.sleep(0)
            assert len(told) == 1

    asyncio.run(main())
    assert told == [f"OTLP export to {URL} failed: connection refused; the run goes on, and each next export is tried"]
    assert pusher.failed
    assert pusher.outcome == f"3 of 5 OTLP exports to {URL} failed: connection refused (2), ValueError: odd (1)"


def test_a_receiver_that_asks_for_a_pause_gets_only_the_last_in_it() -> None:
    sent, same = Recorded(NotTakenError("HTTP 429 Too Many Requests", 3600.0)), plan()
    pusher = Pusher(sent, URL, 0.0)

    async def main() -> None:
        async with pusher.pushing(lambda: None):
            pusher.update(same, line(1.0, established=1))
            async with asyncio.timeout(PATIENCE_S):
                while not pusher.failed:
                    await asyncio.sleep(0)
            for count in range(2, 10):
                pusher.update(same, line(float(count), established=count))

    asyncio.run(main())
    assert [sent.value(number) for number in range(len(sent.taken))] == [1, 9]
    assert pusher.outcome == (
        f"1 of 2 OTLP exports to {URL} failed: HTTP 429 Too Many Requests; "
        "7 snapshots left out, as the receiver was not ready"
    )


def test_a_pause_comes_to_its_end() -> None:
    sent, same = Recorded(NotTakenError("HTTP 503", 0.01)), plan()
    pusher = Pusher(sent, URL, 0.0)

    async def main() -> None:
        async with pusher.pushing(lambda: None):
            pusher.update(same, line(1.0))
            async with asyncio.timeout(PATIENCE_S):
                while not pusher.failed:
                    await asyncio.sleep(0)
                pusher.update(same, line(2.0))
                while len(sent.taken) < 2:
                    await asyncio.sleep(0)

    asyncio.run(main())
    assert len(sent.taken) == 3


def test_a_receiver_that_hangs_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushers, "FAREWELL_S", 0.05)
    sent, same, told = Recorded(hold=True), plan(), list[str]()
    pusher = Pusher(sent, URL, 0.0)

    def body() -> None:
        pusher.begin(told.append)
        pusher.update(same, line())
        assert sent.entered.wait(PATIENCE_S)

    pushing(pusher, body)
    outcome = pusher.outcome
    assert outcome == (
        f"1 of 1 OTLP export to {URL} failed: no answer, given up 0.05 s after the end of the run; "
        "1 snapshot left out, as the receiver was not ready"
    )
    sent.release.set()  # the thread is heard no more
    for thread in threading.enumerate():
        if thread.name == "otlp":
            assert thread.daemon
            thread.join(PATIENCE_S)
    assert pusher.outcome == outcome
    assert told == []


def test_an_interrupt_at_the_end_ends_the_wait() -> None:
    sent, same, interrupts = Recorded(hold=True), plan(), list[str]()
    pusher = Pusher(sent, URL, 0.0)

    async def main() -> None:
        async with pusher.pushing(lambda: interrupts.append("run")) as interrupt:
            pusher.update(same, line())
            assert sent.entered.wait(PATIENCE_S)
            interrupt()  # during the run it is the run's alone
            asyncio.get_running_loop().call_soon(interrupt)

    asyncio.run(main())
    sent.release.set()
    assert interrupts == ["run", "run"]
    assert "no answer, given up at an interrupt" in pusher.outcome


def test_a_bug_of_ours_costs_the_run_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sent, same = Recorded(), plan()
    pusher = Pusher(sent, URL, 0.0)

    def broken(*_: Any) -> None:
        raise KeyError("x")

    monkeypatch.setattr(pusher, "_snapshot", broken)
    pushing(pusher, lambda: pusher.update(same, line()))
    assert "given up" not in pusher.outcome, "the end waited for a thread that waited itself"
    assert pusher._done
    assert pusher._done.is_set()
    assert sent.taken == []
    assert pusher.failed
    assert "failed: KeyError: 'x'" in pusher.outcome


def test_a_host_that_refuses_a_thread_costs_the_exports_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    sent, same = Recorded(), plan()
    pusher = Pusher(sent, URL, 0.0)

    async def main() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(
                threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError("can't start new thread"))
            )
            async with pusher.pushing(lambda: None):
                pusher.update(same, line())

    asyncio.run(main())
    assert "failed: can't start new thread" in pusher.outcome


def test_kinds_of_reasons_are_bounded_and_secrets_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret, "_sought", {"s3cretw0rd"})
    pusher = Pusher(Recorded(), URL, 0.0)
    for number in range(1000):
        pusher._failed(f"s3cretw0rd {number % 100}")
    assert len(pusher._tally.reasons) <= 21
    assert "s3cretw0rd" not in pusher.outcome
    assert pusher.outcome.startswith("1,000 of 1,000 OTLP exports")


def test_what_a_receiver_rejected_is_said() -> None:
    pusher = Pusher(lambda _: (3, "too old"), URL, 0.0)
    pushing(pusher, lambda: pusher.update(plan(), line()))
    assert pusher.failed
    assert "none failed; the receiver rejected " in pusher.outcome
    assert pusher.outcome.endswith(" data points: too old")
