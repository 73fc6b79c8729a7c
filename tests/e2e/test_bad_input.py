"""Whatever is given that cannot be meant, or cannot be done here: one message, its exit code, no load.

Targets beyond loopback stand here only to be refused, and every command runs in a namespace without
a single interface that is up, so that a refusal that failed would reach nobody.

The many cases are children of one process (refusals.py); those further down are commands of their own, as everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .conftest import NO_NETWORK, Loadgen, assert_one_message, mounted
from .refusals import Refusals


@dataclass(frozen=True)
class Bad:
    """A scenario or arguments that must be refused with `code` and a message that has all of `says`.

    text: the whole scenario file; changes: of the usual scenario, where there is no text.
    """

    name: str
    code: int
    says: tuple[str, ...]
    text: str | None = None
    changes: dict[str, Any] | None = None
    args: tuple[str, ...] = ()


def to(address: str) -> dict[str, Any]:
    """On the host itself, with that target."""
    source = "::1" if address.startswith("[") else "127.0.0.1"
    return {"lab": None, "targets": [{"address": address}], "sources": {"addresses": source}}


MINIMAL = "name: x\nsources: {addresses: 127.0.0.1}\ntargets: [{address: 127.0.0.1:9}]\nconnections: 1\n"
PUBLIC = to("93.184.215.14:80")
PRIVATE = to("10.1.2.3:80")

SCENARIOS = [
    Bad("not YAML", 2, ("bad.yaml:2:1:",), text="name: [x\n"),
    Bad("empty", 2, ("bad.yaml",), text=""),
    Bad("a list", 2, ("bad.yaml:1:1:",), text="- 1\n"),
    Bad("not UTF-8", 2, ("bad.yaml",), text="name: \udcff\n"),
    Bad("a tab", 2, ("bad.yaml:2:",), text="lab:\n\ttopology: loopback\n"),
    Bad("an alias", 2, ("bad.yaml:1:",), text="name: &a x\ndescription: *a\n"),
    Bad("very deep", 2, ("bad.yaml:1:",), text="name: " + "[" * 5_000),
    Bad("very long", 2, ("bad.yaml", "256 KiB"), text="#" * 300_000),
    Bad("unknown key", 2, ("bad.yaml:5:1:", 'did you mean "hold"?'), text=MINIMAL + "holt: 1s\n"),
    Bad("duplicate key", 2, ("bad.yaml:5:1:", "connections"), text=MINIMAL + "connections: 2\n"),
    Bad("missing key", 2, ("sources",), text="name: x\ntargets: [{address: 127.0.0.1:9}]\nconnections: 1\n"),
    Bad("wrong unit", 2, ("bad.yaml:5:7:", "30"), text=MINIMAL + "hold: 30\n"),
    Bad("escape sequence", 2, ("bad.yaml:1:",), text="name: \x1b[2J\n"),
    Bad("allow in the file", 2, ("unknown key", "allow"), text=MINIMAL + "allow: 0.0.0.0/0\n"),
    Bad("name that climbs", 2, ("name", "letter or digit first"), changes={"name": "../../x"}),
    Bad("octal address", 2, ("010.0.0.1",), changes=to("010.0.0.1:80")),
    Bad("zone", 2, ("fe80::1",), changes=to('[fe80::1%"><script>]:80')),
    Bad("expectation", 2, ("PATH OP VALUE",), changes={"expect": ["all is well"]}),
    Bad("limit", 2, ("expect.0", 'did you mean "refused"?'), changes={"expect": ['verdict.limit == "refuse"']}),
    Bad("set without value", 2, ("--set connections",), args=("--set", "connections")),
    Bad("set of nothing", 2, ("--set conections=5", 'did you mean "connections"?'), args=("--set", "conections=5")),
    Bad("set of a wrong value", 2, ("--set hold=soon",), args=("--set", "hold=soon")),
    Bad("set beyond a list", 2, ("--set targets.7",), args=("--set", "targets.7.sink=true")),
    Bad("unknown option", 2, ("No such option", "--json"), args=("--jsn",)),
    Bad("unknown command word", 2, ("unexpected extra argument",), args=("more",)),
    # Where load may go
    Bad("public", 2, ("93.184.215.14", "--allow", "--i-am-authorized"), changes=PUBLIC),
    Bad("public, only allowed", 2, ("--i-am-authorized",), changes=PUBLIC, args=("--allow", "93.184.0.0/16")),
    Bad("public, only authorized", 2, ("--allow",), changes=PUBLIC, args=("--i-am-authorized",)),
    Bad("public, other network", 2, ("93.184",), changes=PUBLIC, args=("--allow", "8.0.0.0/8", "--i-am-authorized")),
    Bad("public by override", 2, ("8.8.8.8",), changes=PRIVATE, args=("--set", "targets.0.address=8.8.8.8:80")),
    Bad(
        "mapped", 2, ("8.8.8.8", "--allow"), changes=to("[::ffff:8.8.8.8]:80") | {"sources": {"addresses": "127.0.0.1"}}
    ),
    Bad("private", 2, ("10.1.2.3", "--allow"), changes=PRIVATE),
    Bad("private, other network", 2, ("10.1.2.3",), changes=PRIVATE, args=("--allow", "192.168.0.0/16")),
    Bad("allow of everything", 2, ("0.0.0.0/0",), changes=PRIVATE, args=("--allow", "0.0.0.0/0")),
    Bad("allow of nonsense", 2, ("--allow", "nonsense"), changes=PRIVATE, args=("--allow", "nonsense")),
    *(
        Bad(f"never {address}", 2, (), changes=to(address), args=("--allow", network, "--i-am-authorized"))
        for address, network in (
            ("169.254.169.254:80", "169.254.0.0/16"),
            ("224.0.0.1:80", "224.0.0.0/8"),
            ("255.255.255.255:80", "255.0.0.0/8"),
            ("0.0.0.0:80", "0.0.0.0/8"),
            ("[fd00:ec2::254]:80", "fd00::/16"),
            ("[ff02::1]:80", "ff02::/16"),
            ("[::]:80", "::/16"),
        )
    ),
    # What this host cannot do
    Bad(
        "missing source",
        3,
        ("ip address add 198.51.100.7/32 dev lo",),
        changes={"sources": {"addresses": "198.51.100.7"}},
    ),
    Bad(
        "missing IPv6 source",
        3,
        ("ip address add 2001:db8::7/128 dev lo",),
        changes={"sources": {"addresses": "2001:db8::7"}, "targets": [{"address": "[::1]:9000"}]},
    ),
    Bad("missing interface", 3, ("nosuch0", "ip link"), changes={"sources": {"addresses": "nosuch0"}}),
    Bad("unknown sysctl", 3, ("net.ipv4.no_such_thing",), changes={"lab": {"sysctls": {"net.ipv4.no_such_thing": 1}}}),
    Bad(
        "sysctl with a wrong value",
        3,
        ("net.ipv4.tcp_tw_reuse", "lots"),
        changes={"lab": {"sysctls": {"net.ipv4.tcp_tw_reuse": "lots"}}},
    ),
    Bad(
        "ports outside the automatic range",
        3,
        ("2000-3000", "ip_local_port_range"),
        changes={"sources": {"addresses": "127.0.1.1", "ports": "2000-3000"}},
    ),
    Bad(
        "blocking ports of others",
        3,
        ("--allow-port-blocking",),
        changes={"lab": None, "sources": {"addresses": "127.0.1.1", "strategy": "explicit"}},
    ),
    Bad(
        "kernel with a source that the route does not give",
        2,
        ("127.0.0.1", "late-range"),
        changes={"sources": {"addresses": "127.0.1.1", "strategy": "kernel"}},
    ),
    Bad(
        "too many for one address",
        3,
        ("four-tuples: need 28,233", "add 1 source address"),
        changes={"connections": 28_233},
    ),
    Bad(
        "too many for the machine",
        3,
        ("need", "have", "open fewer connections"),
        changes={"connections": 10_000_000, "sources": {"addresses": "127.1.0.0-127.1.1.255"}},
    ),
]


@pytest.fixture(scope="module")
def refusals() -> Iterator[Refusals]:
    """All of them where no interface is up."""
    refusals = Refusals(*NO_NETWORK)
    yield refusals
    refusals.close()


@pytest.mark.parametrize("bad", SCENARIOS, ids=lambda bad: bad.name)
def test_refused(loadgen: Loadgen, refusals: Refusals, bad: Bad) -> None:
    if bad.text is None:
        path = loadgen.scenario(**(bad.changes or {}))
    else:
        path = loadgen.home / "bad.yaml"
        path.write_bytes(bad.text.encode(errors="surrogateescape"))
    done = refusals(loadgen.home, "run", path.name, *bad.args)
    assert done.code == bad.code, done.err
    message = assert_one_message(done)
    for words in bad.says:
        assert words in message
    assert "\x1b" not in message
    assert not done.results.exists(), "it left a run directory"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["run"], "Missing argument 'SCENARIO'"),
        (["run", "none.yaml"], "none.yaml: no such file"),
        (["run", "."], "is a directory"),
        (["walk"], "No such command 'walk'"),
        (["report"], "Missing argument 'RUN...'"),
        (["report", "none"], "none is no run directory"),
        (["sink"], "Missing argument 'ADDR:PORT...'"),
        (["sink", "127.0.0.1"], "port"),
        (["sink", "localhost:80"], "names are not resolved"),
        (["sink", "127.0.0.1:65536"], "a port from 1 to 65535"),
        (["sink", "127.0.0.1:9000", "--workers", "0"], "--workers"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_arguments_that_cannot_be_meant(tmp_path: Path, refusals: Refusals, args: list[str], says: str) -> None:
    done = refusals(tmp_path, *args)
    assert done.code == 2, done.err
    assert says in assert_one_message(done)


def below_a_file(loadgen: Loadgen) -> tuple[tuple[str, ...], str]:
    (loadgen.home / "file").write_text("")
    return (), "file/results"


def on_a_read_only_mount(loadgen: Loadgen) -> tuple[tuple[str, ...], str]:
    disk = loadgen.home / "disk"
    disk.mkdir()
    return mounted(f"mount -t tmpfs -o ro tmpfs {disk}"), "disk/results"


@pytest.mark.usefixtures("_mount_namespaces")
@pytest.mark.parametrize("place", [below_a_file, on_a_read_only_mount])
def test_results_that_cannot_be_written_are_said_before_any_load(
    loadgen: Loadgen, place: Callable[[Loadgen], tuple[tuple[str, ...], str]]
) -> None:
    prefix, out = place(loadgen)
    done = loadgen("run", loadgen.scenario(), "--out", out, prefix=prefix)
    assert done.code == 3
    message = assert_one_message(done)
    assert f"cannot write {out}/" in message
    assert "--out" in message


def test_all_mistakes_of_a_scenario_are_shown_at_once(loadgen: Loadgen, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(MINIMAL.replace("connections: 1", "connections: some") + "holt: 1s\nclose: rts\n")
    done = loadgen("run", path, "--set", "timeout=soon")
    assert (done.code, done.out) == (2, "")
    first, *lines = done.err.splitlines()
    assert first.startswith("loadgen: --set timeout=soon: timeout: write 30s")
    assert [line.partition(": ")[0] for line in lines] == [f"{path}:4:14", f"{path}:5:1", f"{path}:6:8"]


def test_a_results_directory_that_is_a_file(loadgen: Loadgen) -> None:
    (loadgen.home / "file").write_text("")
    done = loadgen("run", loadgen.scenario(), "--out", "file")
    assert done.code == 2
    assert "is a file" in assert_one_message(done)


def test_a_mistake_is_found_soon_even_in_a_hostile_file(loadgen: Loadgen) -> None:
    """Nested flow lists up to the limit of size, which a naive parser follows to the end of the stack."""
    path = loadgen.home / "bad.yaml"
    path.write_text(json.dumps("x" * 10)[:-1] + "[{" * 120_000)
    done = loadgen.start("run", path, prefix=NO_NETWORK).finish(10)
    assert done.code == 2
    assert len(assert_one_message(done)) < 500
