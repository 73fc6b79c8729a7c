"""Files, directories, tarballs and sosreports as arguments."""

from __future__ import annotations

import gzip
import io
import os
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from loadgen.errors import UsageError
from loadgen.explain import archive, archive_stream
from loadgen.explain.evidence import Evidence, Unread
from tests.explained import CAPTURED

TOP = "sosreport-web1-2026-11-29-abcdefg"


def read(*paths: Path | str) -> Evidence:
    found = Evidence()
    archive.read_all(found, [str(path) for path in paths])
    return found


def put(folder: Path, path: str, body: str | bytes) -> None:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(body.encode() if isinstance(body, str) else body)


@pytest.fixture
def sos(tmp_path: Path) -> Path:
    """A small sosreport, with the symbolic links and the files without meaning that a real one has."""
    top = tmp_path / TOP
    put(top, "version.txt", "sosreport: 4.7.2\n")
    put(top, "sos_commands/networking/ip_-d_address", (CAPTURED / "ip" / "ip-d-s-addr.txt").read_bytes())
    put(
        top,
        "sos_commands/networking/ip_route_show_table_all",
        (CAPTURED / "ip" / "ip-route-table-all.txt").read_bytes(),
    )
    put(top, "sos_commands/networking/ethtool_-S_eth0", "NIC statistics:\n     rx_packets: 5\n")
    put(top, "sos_commands/networking/ip_netns_exec_blue_ip_address", (CAPTURED / "ip" / "ip-addr.txt").read_bytes())
    put(top, "sos_commands/firewall_tables/nft_list_ruleset", (CAPTURED / "rules" / "nft.txt").read_bytes())
    put(top, "sos_commands/conntrack/conntrack_-C", "1234\n")
    put(top, "proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n")
    put(top, "proc/sys/net/ipv4/ip_local_reserved_ports", "\n")
    put(top, "proc/cpuinfo", "processor : 0\n")
    put(
        top, "etc/sysctl.d/99-web.conf", "# ports\nnet.ipv4.ip_local_port_range = 1024 65535\nnet.ipv4.tcp_tw_reuse=1\n"
    )
    put(top, "var/log/messages", "Nov 29 06:00:00 web1 systemd[1]: Started something.\n" * 50)
    (top / "ip_addr").symlink_to("sos_commands/networking/ip_-d_address")
    return top


def tarred(folder: Path, mode: str = "w:xz") -> Path:
    made = folder.parent / "report.tar"
    with tarfile.open(made, f"{mode}") as found:  # type: ignore[call-overload] # its modes are no single type
        found.add(folder, arcname=folder.name)
    return made


def check(found: Evidence, prefix: str) -> None:
    assert len(found.addresses) == 8
    assert {one.kind for one in found.rules} >= {"snat", "drop", "track"}
    assert {(one.name, one.value, one.where.file) for one in found.sysctls} == {
        ("net.ipv4.ip_local_port_range", "32768 60999", f"{prefix}/proc/sys/net/ipv4/ip_local_port_range"),
        ("net.ipv4.ip_local_reserved_ports", "", f"{prefix}/proc/sys/net/ipv4/ip_local_reserved_ports"),
        ("net.ipv4.tcp_tw_reuse", "1", f"{prefix}/etc/sysctl.d/99-web.conf"),
    }
    assert [(one.name, one.value) for one in found.counters] == [("conntrack.count", 1234)]
    assert [(one.first, one.why) for one in found.unread] == [
        (0, "network namespace blue is another one: give its files by themselves")
    ]


def test_a_sosreport_that_is_unpacked(sos: Path) -> None:
    """What is configured counts only where no value in force is there; a log is not all about connections."""
    check(read(sos), str(sos))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_sosreport_as_it_comes(sos: Path, mode: str) -> None:
    check(read(tarred(sos, mode)), TOP)


def test_an_archive_on_standard_input(sos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(tarred(sos).read_bytes())))
    check(read("-"), TOP)


def test_standard_input_that_is_closed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="standard input is closed; give files"):
        read("-")


def test_text_on_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"10.0.0.0/8 dev eth0 scope link\n")))
    assert [str(one.where) for one in read("-").routes] == ["line 1"]


def test_loose_files_and_compressed_ones_in_the_order_of_names(tmp_path: Path) -> None:
    put(tmp_path, "b/route.txt.gz", gzip.compress((CAPTURED / "ip" / "ip-route.txt").read_bytes()))
    put(tmp_path, "a.txt", (CAPTURED / "ip" / "ip-addr.txt").read_bytes())
    found = read(tmp_path)
    assert [piece.file for piece in found.pieces] == [f"{tmp_path}/a.txt", f"{tmp_path}/b/route.txt.gz"]


def test_a_compressed_file_that_is_broken_does_not_hide_the_others(tmp_path: Path) -> None:
    put(tmp_path, "a.gz", gzip.compress(b"x" * 5000)[:20])
    put(tmp_path, "b.txt", (CAPTURED / "ip" / "ip-addr.txt").read_bytes())
    found = read(tmp_path)
    assert (len(found.addresses), [one.file for one in found.unread]) == (8, [f"{tmp_path}/a.gz"])


def test_a_value_of_proc_has_its_name_in_its_path(tmp_path: Path) -> None:
    put(tmp_path, "proc/sys/net/ipv4/tcp_tw_reuse", "2\n")
    found = read(tmp_path / "proc/sys/net/ipv4/tcp_tw_reuse")
    assert [(one.name, one.value) for one in found.sysctls] == [("net.ipv4.tcp_tw_reuse", "2")]


def test_links_out_of_a_directory_are_not_followed(tmp_path: Path) -> None:
    put(tmp_path, "secret.txt", "10.0.0.0/8 dev eth0 scope link\n")
    put(tmp_path, "given/a.txt", "prose\n")
    (tmp_path / "given" / "b.txt").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "given" / "c").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "given" / "d")
    found = read(tmp_path / "given")
    assert (found.routes, [one.file for one in found.unread]) == ([], [f"{tmp_path}/given/a.txt"])


def test_a_binary_file_is_said_to_be_one(tmp_path: Path) -> None:
    put(tmp_path, "core", bytes(range(256)) * 40)
    assert read(tmp_path / "core").unread == [Unread(f"{tmp_path}/core", 0, 0, "binary, not text")]


def test_colours_and_utf_16_are_text(tmp_path: Path) -> None:
    put(tmp_path, "a.txt", "\x1b[31m10.0.0.0/8\x1b[0m dev eth0 scope link\n" * 3)
    put(tmp_path, "b.txt", "10.0.0.0/8 dev eth0 scope link\r\n".encode("utf-16"))
    assert len(read(tmp_path).routes) == 4


def test_names_are_harmless(tmp_path: Path) -> None:
    put(tmp_path, "a\x1b[2J\nb", "prose\n")
    assert [one.file for one in read(tmp_path).unread] == [f"{tmp_path}/a\\x1b[2J\\nb"]


def test_a_large_member_is_named_and_not_read(sos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MEMBER_MAX", 1000)
    found = read(tarred(sos))
    assert f"{TOP}/sos_commands/networking/ip_-d_address" in [one.file for one in found.unread if "larger" in one.why]


def test_files_beyond_the_maximum_are_said(sos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "FILES_MAX", 5)
    for path in (sos, tarred(sos)):
        assert [one.why for one in read(path).unread if "more than" in one.why] == [archive._TOO_MANY]


def test_all_that_is_compressed_in_a_directory_shares_one_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_stream, "GROWN_MAX", 1 << 20)
    monkeypatch.setattr(archive, "Budget", lambda name: archive_stream.Budget(name, 1 << 20))
    for number in range(3):
        put(tmp_path, f"{number}.gz", gzip.compress(b"prose\n" * 100_000))
    with pytest.raises(UsageError, match="it grows beyond"):
        read(tmp_path)


def test_files_are_announced_before_they_are_read(tmp_path: Path) -> None:
    put(tmp_path, "a.txt", "x\n")
    put(tmp_path, "b.txt", "x\n")
    named: list[str] = []
    archive.read_all(Evidence(), [str(tmp_path)], named.append)
    assert named == [f"{tmp_path}/a.txt", f"{tmp_path}/b.txt"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "no such file; give files, directories or tarballs"),
        ("empty", "a directory without a file that could be evidence"),
        ("no.tar", "an archive without a file that could be evidence"),
        ("cut.tar", r"a broken archive \(.*\); copy it again"),
        ("cut.tar.gz", r"a broken archive \(Compressed file ended"),
        ("cut.tar.xz", r"a broken archive \(it ends too early\)"),
        ("a.zip", "is zip: unpack it first"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_remedy(tmp_path: Path, sos: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    put(tmp_path, "a.zip", b"PK\x03\x04")
    put(tmp_path, "no.tar", bytes(10240))
    with tarfile.open(tmp_path / "no.tar", "w") as found:
        found.add(sos / "proc/cpuinfo", arcname=f"{TOP}/proc/cpuinfo")
    for mode, ending, size in (("w", "tar", 9000), ("w:gz", "tar.gz", 900), ("w:xz", "tar.xz", 900)):
        put(tmp_path, f"cut.{ending}", tarred(sos, mode).read_bytes()[:size])
    with pytest.raises(UsageError, match=message) as caught:
        read(tmp_path / name)
    assert caught.value.exit_code == 2
    assert str(tmp_path / name) in str(caught.value)
