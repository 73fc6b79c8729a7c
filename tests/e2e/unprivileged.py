"""Processes with less: of another user, with a few capabilities only, or without some system calls."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from typing import Final

import pytest

from .conftest import environment, mounted

#: By machine: unshare, setns, io_uring_setup.
_NUMBERS: Final = {"x86_64": (272, 308, 425), "aarch64": (97, 268, 425)}
#: Each with the bits of its first argument by which it is forbidden; 0: whatever that is. CLONE_NEWUSER is 1 << 28.
_CALLS: Final = {"unshare": (0, 0), "unshare(CLONE_NEWUSER)": (0, 1 << 28), "setns": (1, 0), "io_uring_setup": (2, 0)}
#: Becomes argv[2:] with a filter by which these system calls fail with EPERM (seccomp(2)), as in many containers.
_FORBID_CALLS: Final = """
import ctypes, os, struct, sys
def step(code, value, then=0, otherwise=0):
    return struct.pack("HBBI", code, then, otherwise, value)
code = []
for call in sys.argv[1].split(","):
    number, bits = map(int, call.split(":"))
    code += [step(0x20, 0), step(0x15, number, 0, 3 if bits else 1)]  # the number of the call
    code += [step(0x20, 16), step(0x45, bits, 0, 1)] if bits else []  # the first argument
    code += [step(0x06, 0x00050001)]  # EPERM
code += [step(0x06, 0x7FFF0000)]  # permitted
text = ctypes.create_string_buffer(b"".join(code))
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]
libc = ctypes.CDLL(None)
program = Program(len(code), ctypes.cast(text, ctypes.c_void_p))
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(program), 0, 0):
    sys.exit("no seccomp here")
os.execvp(sys.argv[2], sys.argv[2:])
"""
#: Python itself may be in a directory that only root may enter, such as /root.
LET_IN: Final = (
    f"mount -t tmpfs none /mnt && mkdir /mnt/python && mount --bind {sys.base_prefix} /mnt/python && "
    f"mount -t tmpfs -o mode=755 none /root && mkdir -p {sys.base_prefix} && mount --bind /mnt/python {sys.base_prefix}"
    if sys.base_prefix.startswith("/root/")
    else "true"
)


@cache
def another_user_may_run_this_checkout() -> bool:
    """Whether a user without rights can read it: it may be below a directory of root's."""
    prefix = (*mounted(LET_IN), *as_user())
    return not subprocess.run([*prefix, sys.executable, "-c", "import loadgen.cli.main"], env=environment()).returncode


def as_user(*capabilities: str) -> Sequence[str]:
    """A prefix, for root: as a user without a name, who has these capabilities; after `LET_IN`."""
    having = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    who = ("setpriv", "--reuid=12345", "--regid=12345", "--clear-groups")
    return (*who, f"--inh-caps={having}", f"--ambient-caps={having}", f"--bounding-set={having}")


def without(*calls: str) -> tuple[str, ...]:
    """A prefix: without these system calls, of `_CALLS`."""
    numbers = _NUMBERS.get(platform.machine())
    if not numbers:
        pytest.skip(f"no numbers of system calls for {platform.machine()} here")
    forbidden = (f"{numbers[place]}:{bits}" for place, bits in map(_CALLS.__getitem__, calls))
    return (sys.executable, "-c", _FORBID_CALLS, ",".join(forbidden))
