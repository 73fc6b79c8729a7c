"""Lines of sysctl.d(5) files, and the order in which they take effect."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadgen.kernel import sysctl_conf
from loadgen.kernel.sysctl_conf import SysctlLine


@pytest.mark.parametrize(
    ("line", "setting"),
    [
        ("net.ipv4.tcp_tw_reuse = 1", ("net.ipv4.tcp_tw_reuse", "1")),
        ("  net/ipv4/tcp_tw_reuse=1", ("net.ipv4.tcp_tw_reuse", "1")),
        ("-net.ipv4.ip_local_port_range =1024\t65535 ", ("net.ipv4.ip_local_port_range", "1024 65535")),
        ("net.ipv4.conf.eth0/1.rp_filter = 0", ("net.ipv4.conf.eth0/1.rp_filter", "0")),
        ("# net.ipv4.tcp_tw_reuse = 1", None),
        ("; net.ipv4.tcp_tw_reuse = 1", None),
        ("-net.ipv4.conf.*", None),
        ("", None),
        ("= 1", None),
    ],
)
def test_a_line(line: str, setting: tuple[str, str] | None) -> None:
    found = [(one.name, one.value) for one in sysctl_conf.parse(line, "f", 1)]
    assert found == ([setting] if setting else [])


def test_files_in_the_order_in_which_they_take_effect(tmp_path: Path) -> None:
    """By name; one in /etc hides its namesake of a package; sysctl.conf comes last, and once."""
    for path, text in {
        "etc/sysctl.d/50-b.conf": "# mine\na.b = etc\n",
        "usr/lib/sysctl.d/50-b.conf": "a.b = hidden\n",
        "usr/lib/sysctl.d/10-a.conf": "a.a = package\n",
        "etc/sysctl.d/README": "a.r = not read\n",
        "etc/sysctl.conf": "a.z = last\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert sysctl_conf.read(tmp_path) == (
        SysctlLine("/usr/lib/sysctl.d/10-a.conf", 1, "a.a", "package"),
        SysctlLine("/etc/sysctl.d/50-b.conf", 2, "a.b", "etc"),
        SysctlLine("/etc/sysctl.conf", 1, "a.z", "last"),
    )
    (tmp_path / "etc/sysctl.d/99-sysctl.conf").symlink_to("../sysctl.conf")
    assert [line.place for line in sysctl_conf.read(tmp_path)][-1] == "/etc/sysctl.d/99-sysctl.conf:1"
    assert len(sysctl_conf.read(tmp_path)) == 3


def test_what_may_not_be_read_has_no_lines(tmp_path: Path) -> None:
    (tmp_path / "etc/sysctl.d/50-directory.conf").mkdir(parents=True)
    assert sysctl_conf.read(tmp_path) == ()
    assert sysctl_conf.read(tmp_path / "nowhere") == ()
