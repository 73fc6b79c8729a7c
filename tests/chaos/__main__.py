"""Random scenarios in labs, random faults in them, and the invariants that must hold; a table of both at the end."""

from __future__ import annotations

import argparse
import compileall
import ctypes
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from tests.chaos import faults, generate, runner, shrink, sweep
from tests.chaos.invariants import Evidence
from tests.chaos.perform import CHECKOUT
from tests.chaos.runner import Failure, Outcome
from tests.chaos.trial import Trial

_SHIM: Final = Path(__file__).with_name("short_write.c")
_CLONE_NEWNS: Final = 0x00020000
_SEEN_MAX: Final = 400


def main() -> int:
    """Run what the options say. Returns: 0 if every invariant held after every trial."""
    options = _options()
    compileall.compile_dir(CHECKOUT / "loadgen", quiet=2)  # trials write no bytecode
    base = Path(tempfile.mkdtemp(prefix="loadgen-chaos-"))
    shim = _shim(base)
    began = time.monotonic()
    missing = [row.name for row in faults.TABLE.values() if not row.available]
    if missing:
        print(f"left out, because this host lacks their programs: {', '.join(missing)}")
    if options.calls:
        return sweep.print_calls(base)
    outcome = runner.run(
        _trials(options),
        base,
        jobs=options.jobs,
        faults=options.faults if not options.sweep else sys.maxsize,
        shim=shim,
        tell=_teller(began),
        time_s=options.time,
    )
    _print_table(outcome)
    took_s = time.monotonic() - began
    print(f"{outcome.faults} faults in {outcome.trials} trials, {took_s:.0f} s; {len(outcome.failed)} trials failed")
    print(f"{len(outcome.missed)} faults never came, as their moment or their call did not")
    if options.sweep:
        print(f"calls that were never made: {', '.join(outcome.never_made) or 'none'}")
    for failure in outcome.failed[: options.shrink]:
        smallest = shrink.shrink(failure.evidence.trial, failure.broken, shrink.Performer(base, shim))
        path = base / f"smallest-{failure.name}.json"
        path.write_text(smallest.to_json())
        print(f"smallest of {failure.name}: {_again(str(path))}\n    {smallest.to_json()}", flush=True)
    if not outcome.failed:
        shutil.rmtree(base)
    else:
        print(f"directories of the failed trials: {base}")
    return int(bool(outcome.failed))


def _trials(options: argparse.Namespace) -> Iterator[tuple[str, Trial]]:
    """Yield trials, each with the options that bring it again."""
    if options.trial:
        yield str(options.trial), Trial.from_json(options.trial.read_text())
    elif options.sweep:
        yield from sweep.trials(options.seed, options.first)
    else:
        for index in options.only or itertools.count(options.first):
            yield str(index), generate.trial(options.seed, index, tuple(options.kinds))


def _again(name: str, *, seed: int | None = None) -> str:
    if seed is None:
        return f"python -m tests.chaos --trial {name}"
    return f"python -m tests.chaos --seed {seed} --only {name}"


def _teller(began: float) -> Callable[[str, Evidence, Failure | None, Outcome], None]:
    """Return what prints a line of progress, and all about a failure."""

    def tell(name: str, evidence: Evidence, failure: Failure | None, outcome: Outcome) -> None:
        if failure:
            print(f"FAILED {name}: {'; '.join(map(str, evidence.trial.faults))}; exit {evidence.code}")
            for invariant, seen in failure.broken.items():
                print(f"    {invariant}: {seen[:_SEEN_MAX]}")
            print(f"    again: {_again(f'{evidence.home}/trial.json')}")
        for trouble in evidence.trouble:
            print(f"    harness: {name}: {trouble}")
        print(
            f"{time.monotonic() - began:5.0f} s {outcome.faults:5d} faults {len(outcome.failed):4d} trials failed; "
            f"{name}: exit {evidence.code}, {evidence.seconds:.1f} s",
            flush=True,
        )

    return tell


def _print_table(outcome: Outcome) -> None:
    print(f"\n{'kind of fault':20s} {'tries':>6s} {'failures':>9s}")
    for name in faults.TABLE:
        if outcome.tries[name]:
            print(f"{name:20s} {outcome.tries[name]:6d} {outcome.failures[name]:9d}")


def _shim(base: Path) -> Path | None:
    """Compile the shim of `short-writes`; None without a compiler."""
    if not shutil.which("cc"):
        return None
    library = base / "short_write.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(_SHIM), "-ldl"], check=True)
    return library


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=500, help="stop when that many have come (default: %(default)s)")
    parser.add_argument("--time", type=float, default=float("inf"), help="begin no trial after this time, seconds")
    parser.add_argument("--seed", type=int, default=1, help="trials are the same for the same seed")
    parser.add_argument("--first", type=int, default=0, metavar="INDEX", help="begin with this trial of the seed")
    parser.add_argument("--only", type=int, nargs="*", default=[], metavar="INDEX", help="only these trials")
    parser.add_argument("--trial", type=Path, metavar="FILE", help="only the trial in a file, trial.json")
    parser.add_argument("--kinds", nargs="*", default=[], choices=list(faults.TABLE), metavar="KIND", help="only these")
    parser.add_argument("--jobs", type=int, default=4, help="trials at a time (default: %(default)s)")
    parser.add_argument("--shrink", type=int, default=0, metavar="N", help="look for a smaller trial of N failures")
    parser.add_argument("--sweep", action="store_true", help="each system call, with each of its errors")
    parser.add_argument("--calls", action="store_true", help="print the system calls of runs without a fault")
    return parser.parse_args()


def _own_mounts() -> None:
    """Give this process a mount namespace, so that a tmpfs of a trial is nothing of the host's."""
    if os.geteuid() == 0 and ctypes.CDLL(None).unshare(_CLONE_NEWNS) == 0:
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)


if __name__ == "__main__":
    _own_mounts()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what is in the background
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
