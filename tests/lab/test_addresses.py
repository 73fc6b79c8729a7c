"""Where connections come from and go to, on real sockets: IPv6, routed prefixes, zones, names, shares."""

from __future__ import annotations

import asyncio
import errno
import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from loadgen import scenario as scenarios
from loadgen.control.orchestrator import Options, Orchestrator, Result
from loadgen.errors import HostError, UsageError
from loadgen.kernel import host, missing, missing_help, route, sysctl
from loadgen.model import CloseMode, Endpoint, PortRange, Strategy, Target
from tests.plans import plan_of

from .support import Crew, add_address, add_route, listen, on_loop, until

#: A prefix that a test makes this namespace's own, by one route.
PREFIX = "fd00:77::"
RANGE = "40000 40063"
#: linux/if_addr.h
IFA_F_DADFAILED = 0x08
PORTS = PortRange(40_000, 40_063)


def route_prefix() -> None:
    add_route("local", f"{PREFIX}/64")


def run(tmp_path: Path, text: str, *allow: str) -> Result:
    """A whole run in this namespace, which is the host as far as the scenario knows."""

    async def execute() -> Result:
        orchestrator = Orchestrator(
            scenarios.parse(text),
            text,
            Options(results=tmp_path, allow=allow, port_blocking=True),
            observer=lambda _plan, _line: None,
            notice=lambda _text: None,
        )
        return await orchestrator.execute()

    return on_loop(execute, asyncio.new_event_loop)


def opened(result: Result) -> dict[tuple[str, str], int]:
    """Connections of each (source, target)."""
    assert result.summary["outcomes"]["failed"] == 0, result.summary["errors"]
    return {(pair["source"], pair["target"]): pair["established"] for pair in result.summary["sources"]}


def events(result: Result) -> list[str]:
    return [json.loads(line)["text"] for line in (result.path / "events.jsonl").read_text().splitlines()]


def written_plan(result: Result) -> dict[str, Any]:
    plan: dict[str, Any] = json.loads((result.path / "plan.json").read_text())
    return plan


# --- IPv6 -------------------------------------------------------------------------------------------------


@pytest.mark.lab(RANGE)
@pytest.mark.parametrize("strategy", ["late-range", "late", "explicit", "kernel", "exclusive", "bind"])
def test_every_port_of_ipv6_loopback_can_be_used(tmp_path: Path, strategy: str) -> None:
    text = f"""
name: six
sources: {{addresses: "::1", strategy: {strategy}}}
targets: [{{address: "[::1]:9000", sink: true}}]
connections: 64
workers: 2
"""
    result = run(tmp_path, text)
    assert opened(result) == {("::1", "[::1]:9000"): 64}
    assert result.summary["sink"]["agrees"]


@pytest.mark.lab(RANGE)
def test_mapped_addresses_are_ipv4_all_the_way(tmp_path: Path) -> None:
    text = """
name: mapped
sources: {addresses: "::ffff:127.0.0.2-::ffff:127.0.0.3"}
targets: [{address: "[::ffff:127.0.0.1]:9000-9001", sink: true}]
connections: 8
"""
    assert set(opened(run(tmp_path, text)).items()) == {
        ((source, target), 2)
        for source in ("127.0.0.2", "127.0.0.3")
        for target in ("127.0.0.1:9000", "127.0.0.1:9001")
    }


# --- Prefixes that are only routed ------------------------------------------------------------------------


def test_the_kernel_says_which_addresses_are_local_by_a_route() -> None:
    route_prefix()
    add_route("local", "10.9.0.0/16")
    asked = ["127.0.0.1", "::1", f"{PREFIX}1", f"{PREFIX}ffff:1", "10.9.255.1", "fd00:78::1", "10.8.0.1"]
    assert list(route.not_local(asked)) == ["fd00:78::1", "10.8.0.1"]
    many = [f"10.{8 + n % 2}.{n >> 8}.{n & 255}" for n in range(1000)]
    assert list(route.not_local(many)) == many[::2]


def test_a_routed_prefix_can_be_bound_with_freebind_alone() -> None:
    route_prefix()
    assert host.read([f"{PREFIX}5"], []).missing_sources == (f"{PREFIX}5",)
    assert host.read([f"{PREFIX}5"], [], freebind=True).missing_sources == ()


@pytest.mark.lab(RANGE)
@pytest.mark.parametrize("strategy", ["late-range", "explicit", "bind"])
def test_a_thousand_addresses_of_a_prefix_need_no_interface(tmp_path: Path, strategy: str) -> None:
    route_prefix()
    text = f"""
name: prefix
sources: {{addresses: "{PREFIX}1-{PREFIX}3e8", strategy: {strategy}, freebind: true}}
targets: [{{address: "[::1]:9000", sink: true}}]
connections: 2000
close: rst
"""
    if strategy == "explicit":
        text = text.replace("freebind", "ports: 41000-41003, freebind")
    result = run(tmp_path, text)
    assert set(opened(result).values()) == {2}
    assert len(opened(result)) == 1000
    assert result.summary["sink"]["agrees"]
    assert written_plan(result)["freebind"] is True


def test_a_prefix_that_is_not_routed_is_refused_before_any_load(tmp_path: Path) -> None:
    text = f"""
name: prefix
sources: {{addresses: "{PREFIX}1", freebind: true}}
targets: [{{address: "[::1]:9000", sink: true}}]
connections: 1
"""
    with pytest.raises(HostError, match=f"ip route add local {PREFIX}1/128"):
        run(tmp_path, text)
    route_prefix()
    with pytest.raises(HostError, match=f"{PREFIX}1 is routed to this host, .*set `sources.freebind: true`"):
        run(tmp_path, text.replace(", freebind: true", ""))


# --- Addresses that cannot be bound -----------------------------------------------------------------------


def why(address: str, *, freebind: bool = False) -> tuple[str, str] | None:
    """The reason that this host gives for an address, and the interface."""
    because = host.read([address], [], freebind=freebind).missing_because
    return (because[0].reason.value, because[0].interface) if because else None


def packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, address)


#: The package of Debian that has a program of the advice.
PACKAGES = {"ip": "iproute2", "sysctl": "procps"}


def change(command: str) -> None:
    """Run a command of the advice."""
    for step in command.split(";"):
        if shutil.which(program := step.split()[0]) is None:
            pytest.skip(f"needs {program}: apt install {PACKAGES[program]}")
    subprocess.run(["sh", "-c", command], check=True, capture_output=True)


@pytest.fixture
def cable() -> None:
    """An interface c0 whose other end, s0, is up."""
    change("ip link add c0 type veth peer name s0; ip link set s0 up")


def test_an_address_that_is_nowhere_is_absent_until_it_is_added() -> None:
    for address in ("10.9.9.9", "fd00::9"):
        assert why(address) == ("absent", "lo")
        change(missing_help.helps(host.read([address], []).missing_because[0])[0].command)
        assert why(address) is None


def test_a_prefix_of_the_other_family_needs_no_freebind() -> None:
    add_route("local", "10.9.0.0/16")
    route_prefix()
    assert why("10.9.1.1") is None
    assert why(f"{PREFIX}1") == ("needs-freebind", "lo")
    assert why(f"{PREFIX}1", freebind=True) is None


@pytest.mark.usefixtures("cable")
def test_detection_that_has_not_ended_is_seen_and_can_be_left_out() -> None:
    sysctl.write("net.ipv6.conf.c0.dad_transmits", "100")
    change("ip address add fd00:7::2/64 dev c0")
    assert why("fd00:7::2") == ("interface-down", "c0")
    change("ip link set c0 up")
    until(lambda: why("fd00:7::2") == ("tentative", "c0"))
    assert why("fd00:7::2", freebind=True) == ("tentative", "c0")  # no local route yet
    found = host.read(["fd00:7::2"], []).missing_because[0]
    change(missing_help.helps(found)[1].command)
    assert why("fd00:7::2") is None
    change("ip address change fd00:7::2/64 dev c0 preferred_lft 0")
    assert why("fd00:7::2") is None  # deprecated, and usable all the same


@pytest.mark.usefixtures("cable")
def test_an_address_that_another_host_has_is_a_duplicate() -> None:
    sysctl.write("net.ipv6.conf.c0.router_solicitation_delay", "0")  # otherwise detection begins within a second
    change("ip link set c0 up; ip address add fd00:7::2/64 dev s0 nodad; ip address add fd00:7::2/64 dev c0")
    until(lambda: any(entry.flags & IFA_F_DADFAILED for entry in missing._addresses()[packed("fd00:7::2")]))
    assert why("fd00:7::2") is None  # the other host is this one
    change("ip address del fd00:7::2/64 dev s0")
    assert why("fd00:7::2") == ("duplicate", "c0")


@pytest.mark.parametrize("interface", ["lo", "all"])
def test_loopback_without_ipv6_says_so(interface: str) -> None:
    sysctl.write(f"net.ipv6.conf.{interface}.disable_ipv6", "1")
    assert why("::1") == ("ipv6-off", "lo")
    assert why("::1", freebind=True) == ("ipv6-off", "lo")
    change(missing_help.helps(host.read(["::1"], []).missing_because[0])[1].command)
    assert why("::1") is None


@pytest.mark.usefixtures("cable")
def test_a_host_without_ipv6_on_any_interface_says_so() -> None:
    sysctl.write("net.ipv6.conf.all.disable_ipv6", "1")
    assert why("fd00:7::2") == ("ipv6-off", "all")
    sysctl.write("net.ipv6.conf.lo.disable_ipv6", "0")
    assert why("fd00:7::2") == ("absent", "lo")


V6_OFF = """
name: off
lab:
  sysctls: {net.ipv6.conf.lo.disable_ipv6: 1}
sources: {addresses: "::1", strategy: kernel}
targets: [{address: "[::1]:9000"}]
connections: 2
"""


@pytest.mark.parametrize("strategy", ["kernel", "late-range", "bind", "explicit"])
def test_a_run_without_ipv6_is_refused_with_the_reason(tmp_path: Path, strategy: str) -> None:
    with pytest.raises(HostError, match=r"IPv6 is off on interface lo .*use 127\.0\.0\.1 .*lo\.disable_ipv6=0$"):
        run(tmp_path, V6_OFF.replace("kernel", strategy))


def test_connect_alone_gives_the_errno_of_a_lack_of_ports_where_ipv6_is_off() -> None:
    sysctl.write("net.ipv6.conf.lo.disable_ipv6", "1")
    with socket.socket(socket.AF_INET6) as sock:
        assert sock.connect_ex(("::1", 9000)) == errno.EADDRNOTAVAIL


# --- Zones ------------------------------------------------------------------------------------------------


@pytest.fixture
def link() -> None:
    """Two ends of a cable, each with a link-local address; both live in the namespace of the test."""
    from pyroute2 import IPRoute

    with IPRoute() as netlink:
        netlink.link("add", kind="veth", ifname="va", peer="vb")
        ends = {name: socket.if_nametoindex(name) for name in ("va", "vb")}
        for name, address in (("va", "fe80::a"), ("vb", "fe80::b")):
            sysctl.write(f"net.ipv6.conf.{name}.addr_gen_mode", "1")  # no address but this
            add_address(address, 64, ends[name])
        for index in ends.values():
            netlink.link("set", index=index, state="up")
        for index in ends.values():  # one that came up first passes nothing on until the kernel has seen the other
            until(lambda index=index: netlink.link("get", index=index)[0].get_attr("IFLA_OPERSTATE") == "UP")  # type: ignore[misc]


ZONED = """
name: zoned
sources: {addresses: "fe80::a%va", strategy: late-range}
targets: [{address: "[fe80::b%va]:9000"}]
connections: 8
"""


@pytest.mark.lab(RANGE)
@pytest.mark.parametrize("strategy", ["late-range", "late", "bind", "kernel"])
@pytest.mark.usefixtures("link")
def test_link_local_addresses_work_with_their_zone(tmp_path: Path, strategy: str) -> None:
    with listen(Endpoint("fe80::b%vb", 9000)) as listener:
        result = run(tmp_path, ZONED.replace("late-range", strategy), "fe80::/64")
        assert opened(result) == {("fe80::a%va", "[fe80::b%va]:9000"): 8}
        peers = set()
        for _ in range(8):
            connection, peer = listener.accept()
            connection.close()
            peers.add((peer[0], socket.if_indextoname(peer[3])))
    assert peers == {("fe80::a", "vb")}


@pytest.mark.usefixtures("link")
def test_link_local_targets_need_to_be_allowed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"fe80::b is link-local .*--allow fe80::b/128"):
        run(tmp_path, ZONED)


@pytest.mark.usefixtures("link")
@pytest.mark.parametrize("place", ["fe80::a%va", "fe80::b%va"])
def test_a_zone_that_is_no_interface_is_refused_before_any_load(tmp_path: Path, place: str) -> None:
    with pytest.raises(HostError, match=r"there is no interface 'nil0' here"):
        run(tmp_path, ZONED.replace(place, place.replace("va", "nil0")), "fe80::/10")


@pytest.mark.usefixtures("link")
def test_a_link_local_source_that_is_not_here_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"fe80::c%va is not on this host"):
        run(tmp_path, ZONED.replace("fe80::a%va", "fe80::c%va"), "fe80::/10")


@pytest.mark.lab(RANGE)
@pytest.mark.usefixtures("link")
def test_both_sides_mean_the_same_source_although_only_one_knows_the_zone(tmp_path: Path) -> None:
    text = ZONED.replace("fe80::b%va", "fe80::a%va").replace('9000"', '9000", sink: true')
    result = run(tmp_path, text, "fe80::/10")
    assert result.summary["sink"]["agrees"]
    assert result.summary["sink"]["sources"][0]["source"] == "fe80::a"


# --- Names ------------------------------------------------------------------------------------------------

NAMED = """
name: named
sources: {addresses: ["127.0.0.2", "::1"]}
targets: [{address: "localhost:9000-9001", sink: true}]
connections: 8
"""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A resolver that knows localhost as dual-stack; the names it was asked for."""
    names: list[str] = []

    def getaddrinfo(name: str, _port: None, *, type: int) -> list[Any]:  # noqa: A002  # its name there
        names.append(name)
        if name != "localhost":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6, type, 6, "", ("::1", 0, 0, 0)),
            (socket.AF_INET, type, 6, "", ("127.0.0.1", 0)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return names


@pytest.mark.lab(RANGE)
@pytest.mark.parametrize("lab", ["", "lab: {}\n"])
def test_a_name_stands_for_both_families(tmp_path: Path, asked: list[str], lab: str) -> None:
    result = run(tmp_path, NAMED + lab)
    assert opened(result) == {
        ("::1", "[::1]:9000"): 2,
        ("::1", "[::1]:9001"): 2,
        ("127.0.0.2", "127.0.0.1:9000"): 2,
        ("127.0.0.2", "127.0.0.1:9001"): 2,
    }
    assert asked == ["localhost"]
    assert [target["host"] for target in written_plan(result)["targets"]] == ["localhost"] * 4
    assert any(text.startswith("localhost is ::1, 127.0.0.1, resolved at 20") for text in events(result))


@pytest.mark.lab(RANGE)
@pytest.mark.usefixtures("asked")
def test_a_family_without_a_source_is_left_out(tmp_path: Path) -> None:
    result = run(tmp_path, NAMED.replace(', "::1"', ""))
    assert set(opened(result)) == {("127.0.0.2", "127.0.0.1:9000"), ("127.0.0.2", "127.0.0.1:9001")}
    assert any(text.startswith("::1 of localhost ") for text in events(result))


@pytest.mark.usefixtures("asked")
def test_a_name_without_an_address_stops_everything(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"^no\.such\.name .*Name or service not known"):
        run(tmp_path, NAMED.replace("localhost", "no.such.name"))
    assert list(tmp_path.iterdir()) == []


# --- Shares -----------------------------------------------------------------------------------------------


def counts(crew: Crew) -> list[int]:
    return [pair.established for pair in crew.line().pairs]


@pytest.mark.lab(RANGE)
@pytest.mark.parametrize(("connections", "workers"), [(7, 1), (41, 2), (101, 3), (240, 4)])
def test_connections_are_spread_evenly_over_the_pairs(connections: int, workers: int) -> None:
    targets = tuple(Target(Endpoint("127.0.0.1", 9000 + n), sink=False) for n in range(3))
    spread = opened_by(targets, ("127.0.0.2", "127.0.0.3"), connections, workers)
    assert sum(spread) == connections
    assert max(spread) - min(spread) <= 1


@pytest.mark.lab(RANGE)
@pytest.mark.parametrize(("connections", "workers"), [(10, 1), (41, 2), (101, 3), (160, 4)])
def test_connections_are_spread_by_the_weights(connections: int, workers: int) -> None:
    weights = (3, 1, 1)
    targets = tuple(
        Target(Endpoint("127.0.0.1", 9000 + n), sink=False, weight=weight) for n, weight in enumerate(weights)
    )
    spread = opened_by(targets, ("127.0.0.2", "127.0.0.3"), connections, workers)
    assert sum(spread) == connections
    for pair, count in enumerate(spread):
        assert abs(count - connections * weights[pair // 2] / 10) < 2


@pytest.mark.lab(RANGE)
def test_where_a_heavy_pair_has_no_port_left_the_others_take_over() -> None:
    """96 of 104 would be its share, and it has 64 ports; to find that out costs an attempt.

    It rests for a millisecond then, and is asked again; after twelve denials nobody asks it any more.
    """
    heavy = (
        Target(Endpoint("127.0.0.1", 9000), sink=False, weight=12),
        Target(Endpoint("127.0.0.1", 9001), sink=False),
    )
    full, light = opened_by(heavy, ("127.0.0.2",), 104, 1)
    assert full == 64
    assert 104 - 64 - 12 <= light <= 39


def opened_by(targets: tuple[Target, ...], sources: tuple[str, ...], connections: int, workers: int) -> list[int]:
    """Connections of each pair, target by target."""
    listeners = [listen(target.endpoint) for target in targets]
    plan = plan_of(
        targets=targets,
        sources=sources,
        connections=connections,
        workers=workers,
        strategy=Strategy.LATE_RANGE,
        ports=PORTS,
        capacity_per_pair=len(PORTS),
        close=CloseMode.RST,
    )

    async def body() -> list[int]:
        async with Crew(plan) as crew:
            await crew.muster()
            await crew.go()
            found = counts(crew)
            await crew.drain()
            return found

    try:
        return on_loop(body, asyncio.new_event_loop)
    finally:
        for listener in listeners:
            listener.close()


@pytest.mark.lab
@pytest.mark.parametrize(
    ("target", "source"), [("0.0.0.0", ""), ("0.0.0.0", "10.9.0.1"), ("::", ""), ("::ffff:0.0.0.0", "")]
)
def test_connect_to_an_unspecified_address_reaches_this_host(target: str, source: str) -> None:
    """The address that `route.reached` says, which is what getpeername() has, and with it every list of sockets."""
    add_address("10.9.0.1", 32)
    mapped = target.startswith("::ffff:")
    expected = route.reached(target.removeprefix("::ffff:"), source)
    with socket.socket(socket.AF_INET6 if ":" in expected else socket.AF_INET) as listener:
        listener.bind((expected, 9000))
        listener.listen()
        with socket.socket(socket.AF_INET6 if ":" in target else socket.AF_INET) as client:
            if source:
                client.bind((source, 0))
            client.connect((target, 9000))
            assert client.getpeername()[0] == ("::ffff:" if mapped else "") + expected


@pytest.mark.lab
def test_no_other_address_of_that_network_does() -> None:
    with socket.socket() as client, pytest.raises(OSError, match="unreachable"):
        client.connect(("0.1.2.3", 9000))
