"""Settings in a tree of files like /proc/sys; only the last test reads the real one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.errors import HostError, UsageError
from loadgen.kernel import sysctl
from loadgen.model import PortRange


@pytest.fixture
def root(tmp_path: Path) -> Path:
    tree = tmp_path / "sys"
    ipv4 = tree / "net" / "ipv4"
    ipv4.mkdir(parents=True)
    (ipv4 / "ip_local_port_range").write_text("32768\t60999\n")
    (ipv4 / "ip_local_reserved_ports").write_text("8080,9000-9002\n")
    (ipv4 / "tcp_tw_reuse").write_text("2\n")
    (tmp_path / "secret").write_text("outside\n")
    return tree


def test_values_have_single_spaces(root: Path) -> None:
    assert sysctl.read("net.ipv4.ip_local_port_range", root=root) == "32768 60999"


def test_a_setting_that_cannot_be_written_may_have_the_value(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As below a read-only /proc/sys, in most containers."""

    def read_only(*_: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", read_only)
    sysctl.write("net.ipv4.tcp_tw_reuse", "2", root=root)
    sysctl.write("net.ipv4.ip_local_reserved_ports", "9000-9002,8080", root=root)
    with pytest.raises(HostError, match=r"tcp_tw_reuse to '1': /proc/sys is read-only here, as in most containers"):
        sysctl.write("net.ipv4.tcp_tw_reuse", "1", root=root)


def test_a_missing_setting_is_none(root: Path) -> None:
    assert sysctl.read("net.ipv4.tcp_tw_reuse_delay", root=root) is None
    assert sysctl.read("net.netfilter.nf_conntrack_max", root=root) is None
    assert sysctl.read("net.ipv4.tcp_tw_reuse.deeper", root=root) is None


def test_an_unreadable_setting_is_named(root: Path) -> None:
    with pytest.raises(HostError, match=r"cannot read sysctl net\.ipv4: Is a directory"):
        sysctl.read("net.ipv4", root=root)


@pytest.mark.parametrize(
    "name",
    [
        *("", "secret", "net", ".net", "net.ipv4.", "net..ipv4", "...secret", "../secret", "/etc.passwd"),
        *("net.ipv4/../../../secret", "net.ipv4.tcp_tw_reuse\n", "net.ipv4.\0"),
    ],
)
def test_a_name_cannot_leave_the_tree(root: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is not a sysctl"):
        sysctl.read(name, root=root)
    with pytest.raises(UsageError, match="is not a sysctl"):
        sysctl.write(name, "1", root=root)


def test_a_written_value_can_be_read(root: Path) -> None:
    sysctl.write("net.ipv4.tcp_tw_reuse", "1", root=root)
    sysctl.write("net.ipv4.ip_local_port_range", "1024\t 65535", root=root)
    assert sysctl.read("net.ipv4.tcp_tw_reuse", root=root) == "1"
    assert (root / "net/ipv4/ip_local_port_range").read_text() == "1024 65535\n"


def test_a_missing_setting_is_not_created(root: Path) -> None:
    with pytest.raises(HostError, match=r"net.ipv4.tcp_new to '1': this kernel has no such setting"):
        sysctl.write("net.ipv4.tcp_new", "1", root=root)
    assert not (root / "net/ipv4/tcp_new").exists()


def test_a_refused_value_is_reported_with_setting_and_reason(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_descriptor: int, _text: bytes) -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(HostError, match=r"net.ipv4.tcp_tw_reuse to '7': Invalid argument"):
        sysctl.write("net.ipv4.tcp_tw_reuse", "7", root=root)


def test_a_value_that_comes_back_different_is_an_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may clamp a value instead of refusing it."""
    path = root / "net/ipv4/tcp_tw_reuse"

    def clamp(_descriptor: int, _text: bytes) -> int:
        return path.write_text("2\n")

    monkeypatch.setattr(os, "write", clamp)
    sysctl.write("net.ipv4.tcp_tw_reuse", "2", root=root)
    with pytest.raises(HostError, match=r"net.ipv4.tcp_tw_reuse to '7': the kernel made it '2'"):
        sysctl.write("net.ipv4.tcp_tw_reuse", "7", root=root)


def test_reserved_ports_may_come_back_in_another_spelling(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = root / "net/ipv4/ip_local_reserved_ports"
    monkeypatch.setattr(os, "write", lambda _descriptor, _text: path.write_text("8080-8081,9000\n"))
    sysctl.write("net.ipv4.ip_local_reserved_ports", "9000,8081,8080", root=root)
    for other in ("9000", "all"):
        with pytest.raises(HostError, match="the kernel made it"):
            sysctl.write("net.ipv4.ip_local_reserved_ports", other, root=root)


def test_a_refused_setting_says_why(root: Path) -> None:
    with pytest.raises(HostError, match=r"cannot set sysctl net\.ipv4\.tcp_mem to '1 2 3': it exists once per host"):
        sysctl.write("net.ipv4.tcp_mem", "1 2 3", root=root)
    with pytest.raises(HostError, match="`sysctl -a` lists"):
        sysctl.write("net.ipv4.nothing", "1", root=root)
    with pytest.raises(HostError, match="once per host"):
        sysctl.write("net.ipv4.nothing", "1", root=root, elsewhere=True)


def test_a_setting_is_writable_by_its_mode(root: Path) -> None:
    path = root / "net/ipv4/tcp_tw_reuse"
    assert sysctl.is_writable("net.ipv4.tcp_tw_reuse", root=root)
    path.chmod(0o444)
    assert not sysctl.is_writable("net.ipv4.tcp_tw_reuse", root=root)
    assert not sysctl.is_writable("net.ipv4.nothing", root=root)


def test_settings_of_the_host_are_read_apart(root: Path) -> None:
    assert sysctl.of_host(root=root) == {}
    (root / "net/ipv4/tcp_mem").write_text("1\t2\t3\n")
    assert sysctl.of_host(root=root) == {"net.ipv4.tcp_mem": "1 2 3"}


def test_read_all_leaves_out_missing_settings(root: Path) -> None:
    assert sysctl.read_all(root=root) == {
        "net.ipv4.ip_local_port_range": "32768 60999",
        "net.ipv4.ip_local_reserved_ports": "8080,9000-9002",
        "net.ipv4.tcp_tw_reuse": "2",
    }


def test_ports(root: Path) -> None:
    assert sysctl.port_range(root=root) == PortRange(32768, 60999)
    assert sysctl.reserved_ports(root=root) == (8080, 9000, 9001, 9002)


def test_no_port_range_is_an_error_but_no_reserved_ports_are_none(root: Path) -> None:
    for name in ("ip_local_port_range", "ip_local_reserved_ports"):
        (root / "net/ipv4" / name).unlink()
    with pytest.raises(HostError, match=r"this kernel has no sysctl net\.ipv4\.ip_local_port_range"):
        sysctl.port_range(root=root)
    assert sysctl.reserved_ports(root=root) == ()


@pytest.mark.parametrize("text", ["", "1", "1 2 3", "60999 32768", "1 65536", "a b"])
def test_an_invalid_range(root: Path, text: str) -> None:
    (root / "net/ipv4/ip_local_port_range").write_text(text)
    with pytest.raises(HostError, match="is not a port range"):
        sysctl.port_range(root=root)


@given(st.sets(st.integers(0, 65535), max_size=20))
def test_parse_ports_reads_single_ports_and_ranges(ports: set[int]) -> None:
    mixed = ",".join(str(port) if port % 2 else f"{port}-{port}" for port in ports)
    assert sysctl.parse_ports(mixed + "\n") == tuple(sorted(ports))


@pytest.mark.parametrize("text", ["x", "1,,2", "1-", "-1", "2-1", "65536", "1-2-3", "1 2"])
def test_parse_ports_quotes_an_invalid_part(root: Path, text: str) -> None:
    with pytest.raises(ValueError, match="neither a port nor a range"):
        sysctl.parse_ports(text)
    (root / "net/ipv4/ip_local_reserved_ports").write_text(text)
    with pytest.raises(HostError, match="ip_local_reserved_ports: "):
        sysctl.reserved_ports(root=root)


def test_the_settings_of_this_host_can_be_read() -> None:
    found = sysctl.read_all()
    assert "net.ipv4.ip_local_port_range" in found
    assert sysctl.port_range().high <= 65535
    assert len(set(sysctl.RELEVANT)) == len(sysctl.RELEVANT)


@given(st.sets(st.integers(1, 65535), max_size=50))
def test_ports_are_written_as_the_kernel_reads_them(numbers: set[int]) -> None:
    assert set(sysctl.parse_ports(sysctl.ports_text(numbers))) == numbers


def test_a_value_that_is_not_utf_8_is_shown_with_escapes(root: Path) -> None:
    """kernel.core_pattern may hold any bytes."""
    (root / "kernel").mkdir()
    (root / "kernel" / "core_pattern").write_bytes(b"/tmp/\xff.core\n")
    assert sysctl.read("kernel.core_pattern", root=root) == "/tmp/\\xff.core"
