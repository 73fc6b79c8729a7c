"""Host names among the targets, as the user of the command line sees them; /etc/hosts is all that resolves here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import IN_LAB, Loadgen, assert_adds_up, assert_one_message, lines_of, mounted

HOSTS = """\
127.0.0.1 localhost both.test
::1 both.test
127.0.0.7 moved.test
127.0.0.1 trap.test
169.254.169.254 trap.test
10.9.9.9 far.test
"""


@pytest.fixture
def hosts(tmp_path: Path, _mount_namespaces: None) -> tuple[str, ...]:
    """A prefix: where these names are known, no name server can be asked, and nothing is up but loopback."""
    (tmp_path / "hosts").write_text(HOSTS)
    (tmp_path / "resolv.conf").write_text("options timeout:1 attempts:1\nnameserver 192.0.2.1\n")
    binds = " && ".join(f"mount --bind {tmp_path}/{name} /etc/{name}" for name in ("hosts", "resolv.conf"))
    return (*mounted(binds), *IN_LAB)


def to(address: str, *sources: str, **changes: Any) -> dict[str, Any]:
    return {"targets": [{"address": address, "sink": True}], "sources": {"addresses": list(sources)}, **changes}


def load(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text())
    return data


@pytest.mark.parametrize("changes", [{}, {"lab": None}], ids=["lab", "host"])
def test_a_name_is_all_its_addresses(loadgen: Loadgen, hosts: tuple[str, ...], changes: dict[str, Any]) -> None:
    file = loadgen.scenario(**to("Both.Test:9000-9001", "127.0.0.2", "::1", **changes))
    done = loadgen("run", file, "--json", prefix=hosts)
    assert done.code == 0, done.err
    assert_adds_up(done.summary)
    assert {pair["target"]: pair["established"] for pair in done.summary["sources"]} == {
        "127.0.0.1:9000": 50,
        "127.0.0.1:9001": 50,
        "[::1]:9000": 50,
        "[::1]:9001": 50,
    }
    targets = load(done.run / "plan.json")["targets"]
    assert {(one["host"], one["endpoint"]["address"]) for one in targets} == {
        ("both.test", "127.0.0.1"),
        ("both.test", "::1"),
    }
    notes = [line["text"] for line in lines_of(done.run / "events.jsonl") if line["event"] == "note"]
    assert any(note.startswith("both.test is ") and ", resolved at 20" in note for note in notes)


def test_a_family_without_a_source_is_left_out_and_said(loadgen: Loadgen, hosts: tuple[str, ...]) -> None:
    done = loadgen("run", loadgen.scenario(**to("both.test:9000", "127.0.0.2")), "--json", prefix=hosts)
    assert done.code == 0, done.err
    assert [pair["target"] for pair in done.summary["sources"]] == ["127.0.0.1:9000"]
    notes = [line["text"] for line in lines_of(done.run / "events.jsonl") if line["event"] == "note"]
    assert any(note.startswith("::1 of both.test ") for note in notes)


@pytest.mark.parametrize(
    ("address", "args", "code", "says"),
    [
        ("no-such-name.test:80", (), 3, "no-such-name.test cannot be resolved: "),
        ("trap.test:80", ("--allow", "10.0.0.0/8"), 2, "169.254.169.254 is link-local"),
        ("far.test:80", (), 2, "10.9.9.9 is private"),
        ("far.test:80", ("--allow", "10.9.9.9/32"), 3, "far.test is 10.9.9.9"),
        ("my_name:80", (), 2, "scenario.yaml:6:15: targets.0.address: "),
        ('"><script>:80', (), 2, "scenario.yaml:6:15: targets.0.address: "),
        ("127.1:80", (), 2, "write an address"),
        ("both.test:80-70", (), 2, "lower port first: 70-80"),
        ("[fe80::1]:80", (), 2, "fe80::1%eth0"),
    ],
)
def test_a_name_that_cannot_be_meant(
    loadgen: Loadgen, hosts: tuple[str, ...], address: str, args: tuple[str, ...], code: int, says: str
) -> None:
    file = loadgen.home / "scenario.yaml"
    written = address.replace("'", "''")
    head = "name: bad\nlab: {}\nsources: {addresses: [127.0.0.2]}\nconnections: 10\ntargets:\n"
    file.write_text(f"{head}  - {{address: '{written}'}}\n")
    done = loadgen("run", file, *args, prefix=hosts)
    assert (done.code, says in assert_one_message(done)) == (code, True), done.err
    assert not (loadgen.home / "results").exists()


def test_a_zone_that_is_no_interface_is_one_message(loadgen: Loadgen, hosts: tuple[str, ...]) -> None:
    file = loadgen.scenario(**to("[fe80::1%nil0]:9000", "fe80::2%nil0", lab=None))
    assert "fe80::1 is link-local" in assert_one_message(loadgen("run", file, prefix=hosts))
    done = loadgen("run", file, "--allow", "fe80::/10", prefix=hosts)
    assert (done.code, "no interface 'nil0' here" in assert_one_message(done)) == (3, True)


def test_a_matrix_asks_once_and_a_resumed_one_goes_where_it_went(loadgen: Loadgen, hosts: tuple[str, ...]) -> None:
    """The name has moved meanwhile, to where the cells of the same matrix must not go."""
    changes = to("both.test:9000", "127.0.0.2", "::1", connections=10, matrix={"timeout": ["2s", "3s"]})
    done = loadgen("run", loadgen.scenario(**changes), "--json", prefix=hosts)
    assert done.code == 0, done.err
    known = load(done.run / "matrix.json")["resolved"]["both.test"]
    assert sorted(known["addresses"]) == ["127.0.0.1", "::1"]
    for cell in ("0", "1"):
        notes = [line["text"] for line in lines_of(done.run / "cells" / cell / "events.jsonl")]
        assert f"both.test is {', '.join(known['addresses'])}, resolved at {known['resolved_at']}" in notes

    (done.run / "cells" / "1" / "summary.json").unlink()
    (done.run / "cells" / "1" / "series.jsonl").write_text("")
    (loadgen.home / "hosts").write_text("127.0.0.7 both.test\n")
    again = loadgen("run", "--resume", done.run, "--json", prefix=hosts)
    assert again.code == 0, again.err
    targets = load(done.run / "cells" / "1" / "plan.json")["targets"]
    assert {one["endpoint"]["address"] for one in targets} == {"127.0.0.1", "::1"}
