"""Which files of a sosreport are evidence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.explain.sosreport import Content, EvidenceFile, is_part, member

TOP = "sosreport-web1-2026-11-29-abcdefg"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("sos_commands/networking/ss_-peaonmi", Content.TEXT),
        ("sos_commands/networking/netstat_-W_-neopa", Content.TEXT),
        ("sos_commands/networking/netstat_-s", Content.TEXT),
        ("sos_commands/networking/nstat_-zas", Content.TEXT),
        ("sos_commands/networking/ip_-d_address", Content.TEXT),
        ("sos_commands/networking/ip_route_show_table_all", Content.TEXT),
        ("sos_commands/networking/ip_-s_-s_neigh_show", Content.TEXT),
        ("sos_commands/firewall_tables/nft_list_ruleset", Content.TEXT),
        ("sos_commands/firewall_tables/iptables_-t_nat_-nvL", Content.TEXT),
        ("sos_commands/conntrack/conntrack_-S", Content.TEXT),
        ("sos_commands/kernel/sysctl_-a", Content.TEXT),
        ("proc/net/sockstat", Content.TEXT),
        ("proc/net/stat/nf_conntrack", Content.TEXT),
        ("proc/1234/limits", Content.TEXT),
        ("var/log/messages", Content.LOG),
        ("var/log/nginx/error.log", Content.LOG),
        ("sos_commands/logs/journalctl_--no-pager_--boot", Content.LOG),
        ("sos_commands/kernel/dmesg_-T", Content.LOG),
        ("etc/sysctl.conf", Content.CONFIGURED),
        ("etc/sysctl.d/99-web.conf", Content.CONFIGURED),
        ("sos_commands/networking/ethtool_-S_eth0", Content.NOTHING),
        ("sos_commands/process/ps_auxwww", Content.NOTHING),
        ("proc/cpuinfo", Content.NOTHING),
        ("proc/sys/vm/swappiness", Content.NOTHING),
        ("proc/sys/fs/inotify/max_user_watches", Content.NOTHING),
    ],
)
def test_what_a_file_holds(path: str, content: Content) -> None:
    assert member(f"{TOP}/{path}", is_sos=True).content is content


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("proc/sys/net/ipv4/ip_local_port_range", EvidenceFile(Content.SYSCTL, "net.ipv4.ip_local_port_range")),
        (
            "proc/sys/net/ipv4/conf/eth0.100/forwarding",
            EvidenceFile(Content.SYSCTL, "net.ipv4.conf.eth0/100.forwarding"),
        ),
        ("proc/sys/fs/file-max", EvidenceFile(Content.SYSCTL, "fs.file-max")),
        ("sos_commands/conntrack/conntrack_-C", EvidenceFile(Content.COUNT, "conntrack.count")),
        ("sos_commands/networking/ip_netns_exec_blue_ss_-peaonmi", EvidenceFile(Content.APART, "blue")),
        (
            "sos_commands/networking/namespaces/qdhcp-1/ip_netns_exec_qdhcp-1_netstat_-s",
            EvidenceFile(Content.APART, "qdhcp-1"),
        ),
    ],
)
def test_the_name_is_in_the_path(path: str, found: EvidenceFile) -> None:
    assert member(f"{TOP}/{path}", is_sos=True) == member(f"/{path}", is_sos=False) == found


def test_elsewhere_every_file_may_be_evidence() -> None:
    assert member("ticket/ss.txt", is_sos=False).content is Content.TEXT
    assert [is_part(path) for path in (f"{TOP}/version.txt", "x/sos_commands/a", "ticket/ss.txt")] == [
        True,
        True,
        False,
    ]


@given(st.text(), st.booleans())
def test_any_name_is_judged(path: str, is_sos: bool) -> None:
    assert member(path, is_sos=is_sos).content in Content
