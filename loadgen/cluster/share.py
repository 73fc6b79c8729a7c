"""A process that conducts one share: `python -m loadgen.cluster.share`, orders on stdin, reports on stdout.

See `loadgen.cluster.messages`. Nothing else is written to stdout: what any library prints goes to stderr. No process
that is started here inherits either pipe, so that their ends mean the end of this process.
"""

from __future__ import annotations

import os
import sys

from loadgen import crash, event_loop, reserve
from loadgen.cluster.messages import LEASE_S
from loadgen.errors import ExitCode
from loadgen.processes import lifetime


def main(lease_s: float = LEASE_S) -> int:
    """Conduct a share and return its exit code. lease_s: see `messages.LEASE_S`."""
    orders_fd, reports_fd = _take_streams()
    lifetime.ignore_signals_of_groups()  # they are for the agent, which orders what they mean
    lifetime.gain_no_privileges()
    reserve.take()
    crash.watch_over("share")
    # NumPy's linear algebra is not used here; it would start a thread for each core when it is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from loadgen.cluster import conductor

        return event_loop.run(lambda: conductor.conduct(orders_fd, reports_fd, lease_s=lease_s))
    except Exception as error:  # no loop, no memory: there is no way to report it
        crash.tell(error)
        return ExitCode.BUG


def _take_streams() -> tuple[int, int]:
    """Return stdin and stdout under other numbers, and put /dev/null and stderr in their places."""
    orders_fd, reports_fd = os.dup(0), os.dup(1)  # not inherited (PEP 446)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return orders_fd, reports_fd


if __name__ == "__main__":
    sys.exit(main())
