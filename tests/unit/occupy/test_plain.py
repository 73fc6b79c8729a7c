"""The result as JSON: its keys, and their values."""

from __future__ import annotations

import json
from collections import Counter

from loadgen.occupy.plain import as_json
from tests import occupied
from tests.occupied import outcome, prospect


def test_the_document() -> None:
    before = prospect(occupied.CONNECTIONS, "10.0.0.5")
    document = json.loads(
        json.dumps(
            as_json(
                outcome(
                    before,
                    connects=87,
                    counters={"Tcp.ActiveOpens": 90, "Tcp.AttemptFails": 2},
                    failures=Counter({("connect", "ECONNREFUSED"): 2}),
                ),
                4711,
            )
        )
    )
    affected = document.pop("affected")
    assert document == {
        "schema": "loadgen.occupy/1",
        "netns": "4711",
        "by": "connections",
        "transport": "tcp",
        "source": "10.0.0.5",
        "target": "10.0.0.7:5432",
        "leave": 0,
        "for_s": 60.0,
        "ports": {"low": 40_000, "high": 40_099, "reserved": 2, "free": 85, "shared": 0, "spared": 0},
        "held": {
            "ports_max": 85,
            "processes": 1,
            "duration_s": 60.0,
            "left_min": 0,
            "left_max": 0,
            "adjustments": 3,
            "connects": 87,
            "failures": [{"syscall": "connect", "errno": "ECONNREFUSED", "count": 2}],
        },
        "interrupted": False,
        "after": {"free": 85, "in_time_wait": 0},
        "counters": {"Tcp.ActiveOpens": 90, "Tcp.AttemptFails": 2},
        "connects_of_others": 3,
    }
    assert affected["processes"][0] == {
        "pid": 4711,
        "command": "nginx",
        "outgoing": 12,
        "listening": 1,
        "accepted": 30,
        "bound": 0,
        "binds_early": False,
    }
    assert (affected["unknown"], affected["reason"]) == (3, "not permitted")


def test_what_does_not_apply_is_null() -> None:
    document = as_json(outcome(prospect()), None)
    assert (document["netns"], document["source"], document["target"]) == (None, None, None)
