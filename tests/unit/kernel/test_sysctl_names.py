"""Why a setting cannot be made, by its name and the errno."""

from __future__ import annotations

from errno import EACCES, EINVAL, ENOENT, EPERM

import pytest

from loadgen.kernel import sysctl, sysctl_names

TW_REUSE = "net.ipv4.tcp_tw_reuse"


@pytest.mark.parametrize(
    ("name", "number", "elsewhere", "says"),
    [
        ("net.ipv4.tcp_mem", ENOENT, False, "exists once per host"),
        ("net.ipv4.neigh.default.gc_thresh3", ENOENT, True, "exists once per host"),
        ("net.ipv6.neigh.default.gc_thresh3", ENOENT, False, "exists once per host"),
        ("net.netfilter.nf_conntrack_max", EACCES, False, "exists once per host"),
        ("net.core.rmem_max", EPERM, False, "exists once per host"),
        ("net.ipv4.of_a_later_kernel", ENOENT, True, "exists once per host"),
        (TW_REUSE, EACCES, True, "exists once per host"),
        ("net.ipv4.tcp_tw_recycle", ENOENT, False, "gone since Linux 4.12; net.ipv4.tcp_tw_reuse"),
        ("net.ipv4.netfilter.ip_conntrack_max", ENOENT, False, "gone since Linux 4.9; net.netfilter.nf_conntrack_"),
        ("net.ipv4.tcp_tw_reuse_delay", ENOENT, False, "Linux 6.14 does"),
        ("net.netfilter.nf_conntrack_tcp_timeout_close", ENOENT, False, "modprobe nf_conntrack"),
        ("net.ipv6.conf.eth0.disable_ipv6", ENOENT, True, "no such interface here"),
        ("net.ipv4.neigh.eth0.gc_stale_time", ENOENT, True, "no such interface here"),
        ("net.ipv6.ip_nonlocal_bind", ENOENT, False, "or no IPv6"),
        ("net.ipv4.no_such_setting", ENOENT, False, "`sysctl -a` lists"),
    ],
)
def test_a_refusal_is_explained_with_what_helps(name: str, number: int, *, elsewhere: bool, says: str) -> None:
    assert says in sysctl_names.explained(name, "1", number, elsewhere=elsewhere)


@pytest.mark.parametrize(("name", "number"), [(TW_REUSE, EINVAL), (TW_REUSE, EPERM), ("net.ipv4.tcp_mem", EINVAL)])
def test_where_the_errno_says_it_all_nothing_is_added(name: str, number: int) -> None:
    assert sysctl_names.explained(name, "1", number) == ""


def test_the_command_for_the_host_quotes_several_numbers() -> None:
    assert sysctl_names.explained("net.ipv4.tcp_mem", "1 2 3", ENOENT).endswith('sysctl -w net.ipv4.tcp_mem="1 2 3"')


def test_what_is_relevant_of_the_host() -> None:
    of_host = {name for name in sysctl.RELEVANT if sysctl_names.is_host_wide(name)}
    assert {"net.ipv4.neigh.default.gc_thresh3", "net.ipv6.neigh.default.gc_thresh3", "net.ipv4.tcp_mem"} <= of_host
    assert not {TW_REUSE, "net.ipv4.ip_local_port_range", "fs.file-max"} & of_host


@pytest.mark.parametrize(
    ("name", "value", "number", "version"),
    [
        ("net.ipv4.ip_local_port_step_width", "3", ENOENT, "7.1"),
        ("net.ipv4.tcp_rto_max_ms", "1000", ENOENT, "6.15"),
        ("net.ipv4.tcp_child_ehash_entries", "1024", ENOENT, "6.1"),
        ("net.ipv4.tcp_ecn", "3", EINVAL, "7.0"),
        ("net.ipv4.tcp_ecn", "1", EINVAL, ""),
        ("net.ipv4.tcp_ecn", "many", EINVAL, ""),
        (TW_REUSE, "3", EINVAL, ""),
        ("net.ipv4.no_such_setting", "1", ENOENT, ""),
    ],
)
def test_a_kernel_may_be_too_old_for_a_setting_or_a_value(name: str, value: str, number: int, version: str) -> None:
    text = sysctl_names.too_new(name, value, number)
    assert f"Linux {version}" in text if version else not text
    if version:
        assert sysctl_names.explained(name, value, number) == text
