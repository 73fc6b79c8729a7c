"""Situations rebuilt: a run of the scenario meets the same error and limit, and without the cause it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from loadgen.model import Strategy, Transport
from loadgen.reproduce.circumstances import Circumstances
from loadgen.reproduce.writing import write

from .conftest import Done, Loadgen, assert_one_message

PORT_RANGE: Final = "lab.sysctls.net.ipv4.ip_local_port_range"
NO_RULES: Final = "table inet nothing {}"

#: A situation, and the changes that take its cause away; (): none is tried.
Case = tuple[Circumstances, tuple[str, ...]]
SITUATIONS: Final[dict[str, Case]] = {
    "four-tuples": (
        Circumstances("four-tuples", fails=("connect", "EADDRNOTAVAIL"), targets=("10.0.0.7:443",)),
        (f"{PORT_RANGE}=40000 40299",),
    ),
    "four-tuples-two-sources-ipv6": (
        Circumstances(
            "four-tuples",
            strategy=Strategy.LATE,
            sources=("2001:db8::1", "2001:db8::2"),
            targets=("[2001:db8::9]:443", "[2001:db8::9]:444"),
            reserved=tuple(range(40000, 42823)),
        ),
        (),
    ),
    "source-ports": (
        Circumstances(
            "source-ports", fails=("bind", "EADDRINUSE"), sources=("127.0.0.6",), targets=("10.0.0.1:80", "10.0.0.2:80")
        ),
        ("sources.strategy=late-range",),
    ),
    "source-ports-udp": (
        Circumstances("source-ports", transport=Transport.UDP, fails=("connect", "EAGAIN"), targets=("10.0.0.1:53",)),
        (),
    ),
    "port-held": (
        Circumstances("port-held", fails=("connect", "EADDRNOTAVAIL"), held=tuple(range(33000, 47116))),
        ("lab.held=30000",),
    ),
    "service-port": (
        Circumstances("port-held", fails=("bind", "EADDRINUSE"), service_port=38151),
        ("lab.sysctls.net.ipv4.ip_local_reserved_ports=40019", "connections=99"),
    ),
    "time-wait": (
        Circumstances(
            "time-wait", fails=("connect", "EADDRNOTAVAIL"), in_use=200, time_wait=28_032, targets=("10.0.0.7:80",)
        ),
        ("close=rst",),
    ),
    "time-wait-bound": (
        Circumstances("time-wait", fails=("bind", "EADDRINUSE"), sources=("10.0.0.5",), rate_per_s=600.0),
        (),
    ),
    "service-restarts": (Circumstances("time-wait", fails=("bind", "EADDRINUSE"), service_port=8500), ()),
    "service-port-elsewhere": (Circumstances("port-held", fails=("bind", "EADDRINUSE"), service_port=80), ()),
    "time-wait-fixed-port": (Circumstances("time-wait", fails=("bind", "EADDRINUSE"), source_port=5060), ()),
    "address-absent": (
        Circumstances("source-address", fails=("bind", "EADDRNOTAVAIL"), sources=("10.0.0.9",), reason="absent"),
        (),
    ),
    "ipv6-off": (
        Circumstances("source-address", fails=("connect", "EADDRNOTAVAIL"), targets=("[::1]:6432",), reason="ipv6-off"),
        ("lab.sysctls.net.ipv6.conf.lo.disable_ipv6=0",),
    ),
    "port-search": (Circumstances("port-search", in_use=28_000), ()),
    "descriptors": (Circumstances("descriptors", fails=("socket", "EMFILE"), descriptors=1024), ()),
    "self-connect": (
        Circumstances("self-connect", targets=("127.0.0.1:34004",)),
        (),
    ),
    "backlog": (
        Circumstances("backlog", fails=("connect", "ETIMEDOUT"), backlog=128),
        ("targets.0.backlog=1000", "targets.0.accept=true"),
    ),
    "backlog-late": (Circumstances("backlog", backlog=128), ()),
    "refused": (Circumstances("refused", targets=("10.0.0.9:8080",)), ("targets.0.sink=true",)),
}
#: Those that nft(8) makes.
WITH_RULES: Final[dict[str, Case]] = {
    "forbidden": (Circumstances("forbidden", fails=("connect", "EACCES")), ()),
    "forbidden-udp": (Circumstances("forbidden", fails=("send", "EPERM"), transport=Transport.UDP), ()),
    "conntrack": (
        Circumstances("conntrack", fails=("connect", "ETIMEDOUT"), tracked_max=65_536),
        ("lab.tracking_left=5000",),
    ),
    "nat-ports": (
        Circumstances("nat-ports", fails=("connect", "ETIMEDOUT"), nat_ports=1000, targets=("10.0.0.7:443",)),
        (f"lab.rules={NO_RULES}",),
    ),
    "nat-ports-ipv6": (Circumstances("nat-ports", targets=("[2001:db8::1]:443", "[2001:db8::2]:443")), ()),
    "neighbours": (Circumstances("neighbours", neighbours=1024), ()),
    "syn-loss": (Circumstances("syn-loss", targets=("10.0.0.7:443",)), ()),
    "path-limit": (
        Circumstances("path-limit", fails=("connect", "ETIMEDOUT"), nat_ports=64, targets=("10.0.0.7:443",)),
        (f"lab.rules_of_sinks={NO_RULES}",),
    ),
    "blackhole": (Circumstances("blackhole", fails=("connect", "ETIMEDOUT")), ()),
    "reset": (Circumstances("reset", fails=("connect", "ECONNRESET")), ()),
    "unreachable": (Circumstances("unreachable", fails=("connect", "EHOSTUNREACH")), ()),
    "unreachable-ipv6": (
        Circumstances("unreachable", fails=("connect", "ENETUNREACH"), targets=("[2001:db8::1]:443",)),
        (),
    ),
}


def rebuilt(loadgen: Loadgen, situation: Circumstances, *changes: str) -> Done:
    path = loadgen.home / "rebuilt.yaml"
    path.write_text(write(situation))
    return loadgen("run", path, "--json", "--quiet", *(word for change in changes for word in ("--set", change)))


def assert_met(done: Done) -> None:
    assert done.code == 0, (done.err, done.out and done.summary["verdict"]["text"])
    assert done.summary["expect"]


def assert_not_met(done: Done) -> None:
    """All of it came in, or failed in another way: a run, and not a refusal."""
    assert done.code == 99, done.err
    assert not all(row["passed"] for row in done.summary["expect"])


@pytest.mark.parametrize("name", SITUATIONS)
def test_the_same_error_at_the_same_limit(loadgen: Loadgen, name: str) -> None:
    assert_met(rebuilt(loadgen, SITUATIONS[name][0]))


@pytest.mark.usefixtures("_nft")
@pytest.mark.parametrize("name", WITH_RULES)
def test_the_same_error_at_the_same_limit_by_rules(loadgen: Loadgen, name: str) -> None:
    assert_met(rebuilt(loadgen, WITH_RULES[name][0]))


@pytest.mark.parametrize("name", [name for name, (_, changes) in SITUATIONS.items() if changes])
def test_without_the_cause_the_expectations_fail(loadgen: Loadgen, name: str) -> None:
    assert_not_met(rebuilt(loadgen, SITUATIONS[name][0], *SITUATIONS[name][1]))


@pytest.mark.usefixtures("_nft")
@pytest.mark.parametrize("name", [name for name, (_, changes) in WITH_RULES.items() if changes])
def test_without_the_rule_the_expectations_fail(loadgen: Loadgen, name: str) -> None:
    assert_not_met(rebuilt(loadgen, WITH_RULES[name][0], *WITH_RULES[name][1]))


def test_full_size_has_the_wall_where_it_was(loadgen: Loadgen) -> None:
    path = loadgen.home / "full.yaml"
    path.write_text(write(Circumstances("four-tuples", strategy=Strategy.LATE_RANGE, wanted=28_300), full_size=True))
    done = loadgen("plan", path)
    assert done.code == 3
    assert "four-tuples end at 28,232 of 28,300 connections" in done.out


@pytest.mark.usefixtures("_nft")
@pytest.mark.parametrize("command", ["run", "plan"])
def test_rules_that_nft_refuses_say_where(loadgen: Loadgen, command: str) -> None:
    path = loadgen.scenario(
        lab={"rules": "table inet t {\n  chain c {\n    type filter hok input priority 0\n  }\n}\n"}
    )
    done = loadgen(command, path)
    assert done.code == 3
    assert "lab.rules: nft refuses the rules, line 3, column 17: syntax error" in assert_one_message(done)


@pytest.mark.usefixtures("_nft")
def test_a_table_without_a_rule_that_tracks_is_not_filled(loadgen: Loadgen) -> None:
    done = loadgen("run", loadgen.scenario(lab={"rules": NO_RULES, "tracking_left": 10}))
    assert done.code == 3
    assert "nothing in this lab tracks connections" in assert_one_message(done)


def test_a_port_that_a_sink_needs_is_not_held(loadgen: Loadgen) -> None:
    done = loadgen("run", loadgen.scenario(lab={"held": "9000"}))
    assert done.code == 3
    assert "9000" in assert_one_message(done)


@pytest.mark.usefixtures("_nft")
def test_rules_end_with_the_lab(loadgen: Loadgen, tmp_path: Path) -> None:
    """The network namespace that loadgen is started in has the rules that it had: none."""
    script = tmp_path / "script.sh"
    script.write_text('"$@" >&2; /usr/sbin/nft list ruleset\n')
    rule = "table inet kept_in_the_lab { chain c { type filter hook input priority 0; tcp dport 9 drop; }; }"
    done = loadgen("run", loadgen.scenario(lab={"rules": rule}), prefix=("unshare", "-Urn", "sh", str(script)))
    assert done.code == 0, done.err
    assert "200 of 200 connections opened" in done.err
    assert done.out == ""
