"""The command around a checkup: options, output and exit code."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from loadgen.cli.doctor import doctor
from loadgen.doctor import checkup
from loadgen.doctor.checkup import Checkup
from loadgen.doctor.finding import Grade, LimitCheck, LimitJudgement, Purpose
from loadgen.doctor.reading import Reading
from loadgen.watch import netns

HOST = Reading(sysctls={}, descriptors=(1, 1), files_used=0, memory_available_bytes=0, cpus=1, tasks=1)


def judge(_: Reading, purpose: Purpose) -> LimitJudgement:
    return LimitJudgement(
        Grade.WALL if purpose.connections > 1_000 * purpose.pairs else Grade.GOOD, "1,000 for each pair"
    )


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    def take(purpose: Purpose, netns: str) -> Checkup:
        found = [LimitCheck("a thousand", lambda _: "1000", judge).find(HOST, purpose)]
        return Checkup(purpose, "6.18.0", 0, found, [], [], netns)

    monkeypatch.setattr(checkup, "take", take)


def invoke(*args: str) -> Any:
    return CliRunner().invoke(doctor, args)


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ((), 0),
        (("--fail-if-wall",), 3),
        (("--fail-if-wall", "--json"), 3),
        (("--fail-if-wall", "--connections", "1000"), 0),
        (("--fail-if-wall", "--pairs", "100"), 0),
        (("--fail-if-wall", "--pairs", "99"), 3),
        (("--connections", "0"), 2),
        (("--pairs", "many"), 2),
    ],
)
def test_a_wall_is_an_exit_code_only_when_asked_for(args: tuple[str, ...], code: int) -> None:
    assert invoke(*args).exit_code == code


def test_text_or_json_on_stdout() -> None:
    assert "wall    a thousand" in invoke().output
    data = json.loads(invoke("--json", "--connections", "7").output)
    assert data["purpose"]["connections"] == 7
    assert data["limits"][0]["verdict"] == "good"


def purpose_of(*args: str) -> dict[str, Any]:
    return dict(json.loads(invoke("--json", *args).output)["purpose"])


def test_a_rate_stands_for_the_connections_of_a_second() -> None:
    assert purpose_of() == {
        "connections": 100_000, "pairs": 1, "rate_per_s": None, "close": "fin", "services": [], "processes": 1,
    }  # fmt: skip
    found = purpose_of("--rate", "330.5/s", "--close", "rst", "--processes", "4")
    assert (found["rate_per_s"], found["connections"], found["close"], found["processes"]) == (330.5, 331, "rst", 4)
    assert purpose_of("--rate", "30/min", "--connections", "50")["connections"] == 50
    assert purpose_of("--services", "8500,38151", "--services", "9000-9002")["services"] == [
        8500, 9000, 9001, 9002, 38151,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (("--rate", "331"), "write 331/s"),
        (("--rate", "0/s"), "above 0"),
        (("--close", "slowly"), "'fin', 'rst', 'target'"),
        (("--services", "http"), "neither a port nor a range of ports; write 8500,38151"),
        (("--services", "0"), "port 0"),
        (("--netns", "9lab"), "write a pid, the name of a namespace"),
    ],
)
def test_what_cannot_be_meant(args: tuple[str, ...], hint: str) -> None:
    result = invoke(*args)
    assert result.exit_code == 2
    assert hint in " ".join(result.output.split())


def test_the_namespace_is_entered_before_it_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[int | str] = []
    monkeypatch.setattr(netns, "enter", entered.append)
    assert json.loads(invoke("--json", "--netns", "4711").output)["netns"] == "process 4711"
    assert "the network namespace of /run/netns/blue" in " ".join(invoke("--netns", "/run/netns/blue").output.split())
    assert entered == [4711, "/run/netns/blue"]
