"""Files of /proc that loadgen cannot do without, and why one of them is not there.

A container, a chroot or a hardened host may have no /proc, or one that shows processes only.

Sources: proc(5), its mount options hidepid and subset.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from loadgen.errors import HostError

_ROOT: Final = Path("/proc")
_WITHOUT: Final = "sink, trace, explain, report, compare, runs and schema work without it"


def read(path: Path) -> str:
    """Return the text of a file below /proc.

    Raises: HostError with the reason and the remedy.
    """
    try:
        return path.read_text()
    except OSError as error:
        raise HostError(absence() or f"cannot read {path}: {error.strerror}") from error


def absence(root: Path = _ROOT) -> str:
    """Return why `root` has nothing to say about this host, and the remedy; "" if it has."""
    if (root / "sys").is_dir():
        return ""
    if (root / "self").exists():
        why = f"{root} shows processes only (mount option subset=pid), and this needs its settings and counters"
    else:
        why = f"{root} is not mounted here, and this needs its settings and counters"
    return f"{why}; mount -t proc proc {root}; {_WITHOUT}"
