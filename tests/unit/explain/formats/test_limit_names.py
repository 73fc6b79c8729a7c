"""Letters of ulimit stand for limits of /proc/PID/limits."""

from __future__ import annotations

from loadgen.explain.formats.limit_names import FLAGS
from tests.pasted import CAPTURED, limits, read


def test_names_are_those_of_proc() -> None:
    known = limits(read((CAPTURED / "limits-linux-6.18").read_text()))
    assert {one.name for one in FLAGS.values()} < set(known)


def test_kbytes_of_the_shell_are_bytes_in_proc() -> None:
    assert {letter for letter, one in FLAGS.items() if one.factor == 1024} == set("dsmlv")
    assert limits(read("max locked memory           (kbytes, -l) 8192\n")) == {"Max locked memory": (8192 * 1024, None)}
