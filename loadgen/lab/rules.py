"""Load rules for nft(8) into a namespace of the lab, so that it drops, rejects, limits or translates packets.

nft is a program of its own (Debian: nftables). It runs inside the lab only, and what it loads ends with the lab.

Sources: nft(8); https://wiki.nftables.org.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from typing import Final

from loadgen.errors import HostError
from loadgen.format import on_one_line
from loadgen.lab import namespace

_NFT_TIMEOUT_S: Final = 20.0
_MESSAGE_MAX: Final = 200
#: Directories that the PATH of an ordinary user may lack.
_SYSTEM_PATH: Final = "/usr/sbin:/sbin"
#: "/dev/stdin:3:5-12: Error: syntax error, unexpected newline"
_PLACE: Final = re.compile(r"^[^:\s]*:(?P<line>[0-9]+):(?P<column>[0-9]+)(?:-[0-9]+)?: (?:Error: )?(?P<text>.*)", re.M)


def load(key: str, text: str, of_sinks: bool) -> None:
    """Load rules into the lab that this process has entered.

    key: of the scenario, for messages. of_sinks: into the sinks' namespace of a lab with a cable.

    Raises: HostError outside of a lab, and as `load_here`.
    """
    if not namespace.is_entered():
        raise HostError(f"{key}: rules are for labs, and this run is on the host itself; leave them out")
    load_here(key, text, namespace.enter_sinks if of_sinks else None)


def load_here(key: str, text: str, enter: Callable[[], None] | None = None) -> None:
    """Load rules into the namespace of this process, or the one that `enter` moves nft to.

    Raises: HostError without nft, or with its message where it or the kernel refuses the rules.
    """
    program = shutil.which("nft", path=f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_PATH}")
    if program is None:
        raise HostError(f"{key}: there is no nft on this host; apt install nftables")
    try:
        done = subprocess.run(
            [program, "-f", "-"],
            input=text,
            capture_output=True,
            check=False,
            preexec_fn=enter,
            text=True,
            errors="replace",
            timeout=_NFT_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise HostError(f"{key}: nft did not end within {_NFT_TIMEOUT_S:g} s; load fewer rules") from None
    except subprocess.SubprocessError as error:  # of preexec_fn, and without its reason
        raise HostError(f"{key}: nft cannot be run: it could not enter the namespace of the sinks") from error
    except OSError as error:
        raise HostError(f"{key}: nft cannot be run: {error.strerror}") from error
    if done.returncode:
        raise HostError(f"{key}: nft refuses the rules, {refusal(done.stderr)}; try them with `nft -c -f FILE`")


def refusal(text: str) -> str:
    """Return what nft says about rules that it refuses, on one line: "line 3, column 5: syntax error, ..."."""
    if match := _PLACE.search(text):
        said, place = match["text"], f"line {match['line']}, column {match['column']}: "
    else:
        said, place = next(iter(text.strip().splitlines()), "without a reason"), ""
    return place + on_one_line(said.strip())[:_MESSAGE_MAX]
