"""Counters of connection tracking, from the file and from the messages of ctnetlink."""

from __future__ import annotations

import errno
import struct
from collections import Counter
from pathlib import Path

import pytest

from loadgen.kernel import conntrack_stats, netlink
from loadgen.kernel.conntrack_stats import COUNTERS, add_answer

FILE = (
    "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  "
    "expect_new expect_create expect_delete search_restart\n"
    "00000064  00000001 00000010 00000000 00000002 00000000 00000000 00000000 00000000 00000032 00000033 00000003 "
    "00000000  00000000 00000000 00000000 00000004\n"
    "00000064  00000000 00000005 00000000 00000000 00000000 00000000 00000000 00000000 00000001 00000001 00000000 "
    "00000000  00000000 00000000 00000000 00000000\n"
)
SUMS = {
    "insert_failed": 51,
    "drop": 52,
    "early_drop": 3,
    "found": 21,
    "invalid": 2,
    "search_restart": 4,
    "clash_resolve": 1,
}


def test_the_file_is_read_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "nf_conntrack"
    path.write_text(FILE)
    fd = conntrack_stats.open_file(path)
    assert fd is not None
    assert conntrack_stats.read_file(fd) == SUMS
    path.write_text(FILE.replace("00000033", "00000034"))
    assert conntrack_stats.read_file(fd) == {**SUMS, "drop": 53}
    assert set(SUMS) == set(COUNTERS)


def test_a_kernel_without_the_file_or_a_counter(tmp_path: Path) -> None:
    assert conntrack_stats.open_file(tmp_path / "none") is None
    assert conntrack_stats.counters_of({"drop": 1, "searched": 9}) == {"drop": 1}


def core(**numbers: int) -> bytes:
    kinds = {"found": 2, "invalid": 4, "insert_failed": 9, "drop": 10}
    body = b"".join(netlink.attribute(kinds[name], struct.pack("!I", number)) for name, number in numbers.items())
    return netlink.message(0x0104, 2, bytes(4) + body)


DONE = netlink.message(netlink.NLMSG_DONE, 2, struct.pack("=i", 0))


def test_the_cores_of_an_answer_are_added_up() -> None:
    sums: Counter[str] = Counter()
    assert not add_answer(core(found=3, drop=1) + core(found=4, insert_failed=2), sums)
    assert add_answer(core(drop=1) + DONE, sums)
    assert sums == {"found": 7, "drop": 2, "insert_failed": 2}


def test_a_refusal_is_an_error() -> None:
    refused = netlink.message(netlink.NLMSG_ERROR, 0, struct.pack("=i", -errno.EPERM) + bytes(16))
    with pytest.raises(PermissionError):
        add_answer(refused, Counter())


@pytest.mark.parametrize("answer", [core(drop=1)[:-4], struct.pack("=IHHII", 3, 2, 0, 0, 0), b"12"])
def test_what_breaks_the_format_is_an_error(answer: bytes) -> None:
    with pytest.raises(ValueError, match="bytes"):
        add_answer(answer, Counter())
