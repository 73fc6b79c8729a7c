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

HOST = Reading(sysctls={}, descriptors=(1, 1), files_used=0, memory_available_bytes=0, cpus=1, tasks=1)


def judge(_: Reading, purpose: Purpose) -> LimitJudgement:
    return LimitJudgement(
        Grade.WALL if purpose.connections > 1_000 * purpose.pairs else Grade.GOOD, "1,000 for each pair"
    )


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    def take(purpose: Purpose) -> Checkup:
        return Checkup(
            purpose, "6.18.0", 0, [LimitCheck("a thousand", lambda _: "1000", judge).find(HOST, purpose)], [], []
        )

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
