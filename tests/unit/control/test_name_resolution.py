"""Host names: resolved once, checked address by address, and left out if no source fits. No network."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Mapping
from threading import Event
from typing import Any

import pytest

from loadgen import scenario as scenarios
from loadgen.control.name_resolution import judge, look_up, pin
from loadgen.errors import ExitCode, HostError, InterruptedRunError, UsageError
from loadgen.results.schema.matrix_plan import ResolvedName
from loadgen.scenario import ScenarioSpec

AT = "2026-01-31T12:00:00Z"
Found = Mapping[str, list[tuple[Any, ...]] | OSError]


def named(address: str = "redis.internal:6379", sources: str = "127.0.0.2, '::1'", more: str = "") -> ScenarioSpec:
    return scenarios.parse(
        f"""
name: named
sources: {{addresses: [{sources}]}}
targets: [{{address: "{address}", sink: true}}]
connections: 10
{more}
"""
    )


def answers(*addresses: str, name: str = "redis.internal") -> dict[str, ResolvedName]:
    return {name: ResolvedName(addresses=addresses, resolved_at=AT)}


def resolver(monkeypatch: pytest.MonkeyPatch, found: Found) -> list[str]:
    """Replace getaddrinfo(); return the list of names it was called with."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: None, *, type: int) -> list[Any]:  # noqa: A002  # its name there
        assert (port, type) == (None, socket.SOCK_STREAM)
        asked.append(host)
        answer = found[host]
        if isinstance(answer, OSError):
            raise answer
        return [(0, type, 6, "", sockaddr) for sockaddr in answer]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


# --- Looking up -------------------------------------------------------------------------------------


def test_every_address_counts_once_in_the_order_of_the_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [("fd00::5", 0, 0, 0), ("10.0.0.5", 0), ("::ffff:10.0.0.5", 0, 0, 0), ("10.0.0.6", 0)]
    asked = resolver(monkeypatch, {"redis.internal": found, "other": [("10.0.0.7", 0)]})
    looked_up = asyncio.run(look_up(["redis.internal", "other"]))
    assert asked == ["redis.internal", "other"]
    assert looked_up["redis.internal"].addresses == ("fd00::5", "10.0.0.5", "10.0.0.6")
    assert looked_up["other"].addresses == ("10.0.0.7",)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", looked_up["other"].resolved_at)


def test_a_link_local_address_comes_with_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver(monkeypatch, {"printer.local": [("fe80::5", 0, 0, 7)]})
    monkeypatch.setattr(socket, "if_indextoname", {7: "eth0"}.__getitem__)
    assert asyncio.run(look_up(["printer.local"]))["printer.local"].addresses == ("fe80::5%eth0",)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "cannot be resolved: Name or service not"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "cannot be resolved: Temporary failure"),
        ([("fe80::5", 0, 0, 0)], "is fe80::5, which cannot be a target: .*fe80::1%eth0"),
        ([("0.0.0.0", 0)], "is 0.0.0.0, which cannot be a target: .*unspecified"),
    ],
)
def test_a_name_without_a_usable_address_is_an_error(
    monkeypatch: pytest.MonkeyPatch, found: list[tuple[Any, ...]] | OSError, message: str
) -> None:
    resolver(monkeypatch, {"redis.internal": found})
    with pytest.raises(HostError, match=rf"^redis\.internal {message}") as caught:
        asyncio.run(look_up(["redis.internal"]))
    assert caught.value.exit_code == ExitCode.HOST
    assert "\n" not in str(caught.value)


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A resolver that does not answer before the test is over."""
    over = Event()

    def getaddrinfo(*_: object, **__: object) -> list[Any]:
        over.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield
    over.set()


@pytest.mark.usefixtures("silent")
def test_a_silent_resolver_times_out() -> None:
    with pytest.raises(HostError, match=r"no answer within 0\.05 s"):
        asyncio.run(look_up(["redis.internal"], timeout_s=0.05))


@pytest.mark.usefixtures("silent")
def test_an_interrupt_ends_the_wait() -> None:
    with pytest.raises(InterruptedRunError, match="before any load"):
        asyncio.run(look_up(["redis.internal"], enough=lambda: True))


def test_without_names_the_resolver_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolver(monkeypatch, {})
    assert asyncio.run(look_up(named("127.0.0.1:80").names)) == {}
    assert asked == []


# --- Judging ----------------------------------------------------------------------------------------


def test_one_forbidden_address_forbids_the_name() -> None:
    found = answers("127.0.0.1", "169.254.169.254")
    with pytest.raises(
        UsageError, match=r"redis\.internal resolves to a forbidden address: 169\.254\.169\.254 is link-local"
    ):
        judge(named(), found, allowed=["10.0.0.0/8"], authorized=True)


def test_every_address_needs_its_own_permission() -> None:
    found = answers("10.0.0.5", "10.0.1.5")
    with pytest.raises(UsageError, match=r"10\.0\.1\.5 is private .*--allow 10\.0\.1\.5/32"):
        judge(named(), found, allowed=["10.0.0.0/24"], authorized=False)
    resolved = judge(named(), found, allowed=["10.0.0.0/23"], authorized=False)
    assert [str(one.endpoint) for one in resolved.every_target] == ["10.0.0.5:6379", "10.0.1.5:6379"]


def test_a_literal_target_is_checked_as_well() -> None:
    with pytest.raises(UsageError, match=r"^10\.0\.0\.5 is private"):
        judge(named("10.0.0.5:80-81"), {}, allowed=[], authorized=False)


def test_targets_of_probes_are_checked_as_well() -> None:
    probed = named("127.0.0.1:80", more='lab: {}\nprobes: [{name: a, when: hold, target: "10.0.0.5:80"}]')
    with pytest.raises(UsageError, match=r"^10\.0\.0\.5 is private"):
        judge(probed, {}, allowed=[], authorized=False)


# --- Pinning ----------------------------------------------------------------------------------------


def test_both_families_are_kept_where_sources_have_both() -> None:
    pinned, notes = pin(named(), answers("::1", "127.0.0.1"), ["127.0.0.2", "::1"])
    assert [(str(one.endpoint), one.host) for one in pinned.every_target] == [
        ("[::1]:6379", "redis.internal"),
        ("127.0.0.1:6379", "redis.internal"),
    ]
    assert notes == (f"redis.internal is ::1, 127.0.0.1, resolved at {AT}",)


@pytest.mark.parametrize(
    ("source", "kept", "left_out"), [("127.0.0.2", "127.0.0.1", "::1"), ("::1", "::1", "127.0.0.1")]
)
def test_a_family_without_a_source_is_left_out_with_a_note(source: str, kept: str, left_out: str) -> None:
    pinned, notes = pin(named(), answers("::1", "127.0.0.1"), [source])
    assert [one.endpoint.address for one in pinned.every_target] == [kept]
    version = 6 if ":" in left_out else 4
    assert notes[1] == f"{left_out} of redis.internal left out: no source address is IPv{version}"


def test_a_name_without_addresses_left_is_an_error() -> None:
    with pytest.raises(HostError, match=r"redis\.internal is ::1, and no source address is IPv6; add one"):
        pin(named(), answers("::1"), ["127.0.0.2"])


def test_an_address_has_to_fit_the_lab() -> None:
    with pytest.raises(HostError, match=r"redis\.internal is 10\.0\.0\.5: a loopback lab leads nowhere"):
        pin(named(more="lab: {}"), answers("127.0.0.1", "10.0.0.5"), ["127.0.0.2"])


def test_two_names_of_one_endpoint_are_an_error() -> None:
    both = 'targets: [{address: "redis.internal:80"}, {address: "127.0.0.1:80"}]'
    twice = scenarios.parse(f"name: x\nsources: {{addresses: 127.0.0.2}}\n{both}\nconnections: 1\n")
    with pytest.raises(HostError, match=r"127\.0\.0\.1 and redis\.internal both lead to 127\.0\.0\.1:80; delete one"):
        pin(twice, answers("127.0.0.1"), ["127.0.0.2"])


def test_names_with_too_many_addresses_are_an_error() -> None:
    with pytest.raises(HostError, match=r"make them 1,002; write at most 1,000"):
        pin(named("redis.internal:1-501"), answers("127.0.0.1", "127.0.0.3"), ["127.0.0.2"])


def test_literal_targets_need_no_pinning_and_no_note() -> None:
    literal = named("127.0.0.1:80-81")
    pinned, notes = pin(literal, {}, ["127.0.0.2"])
    assert pinned.every_target == literal.every_target
    assert notes == ()
