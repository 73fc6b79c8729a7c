"""Many commands that end at once, without a Python that starts for each: one process forks a child for each of them.

A child calls the entry point itself, `loadgen.cli.main.main`, with its own arguments, streams, working directory
and exit code; it is spared nothing but the imports. Those are what such a command spends most of its time on.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from .conftest import Done, environment

#: Reads a line of JSON for each command, and answers with its exit code.
_PROGRAM: Final = """
import gc, json, os, sys
import loadgen.control.orchestrator, loadgen.views.live, loadgen.control.matrix, loadgen.views.text.run
import loadgen.control.standalone_sink
from loadgen.cli.main import main

gc.freeze()
for line in sys.stdin:
    command = json.loads(line)
    pid = os.fork()
    if pid == 0:
        os.chdir(command["home"])
        for number, name in enumerate((os.devnull, command["out"], command["err"])):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
        sys.argv = ["loadgen", *command["args"]]
        sys.exit(main())
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Refusals:
    """Runs commands one after the other, all behind the same prefix (such as unshare)."""

    def __init__(self, *prefix: str) -> None:
        self._server = subprocess.Popen(
            [*prefix, sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            text=True,
        )

    def __call__(self, home: Path, *args: str | Path) -> Done:
        """Run a command to its end, at home in a directory."""
        out, err = home / "stdout", home / "stderr"
        command: dict[str, Any] = {"home": str(home), "out": str(out), "err": str(err), "args": [*map(str, args)]}
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.write(json.dumps(command) + "\n")
        self._server.stdin.flush()
        code = self._server.stdout.readline()
        assert code, "the process that forks them has ended"
        return Done(int(code), out.read_text(), err.read_text(), home / "results")

    def close(self) -> None:
        """End the process that forks them."""
        self._server.communicate(timeout=20)
        assert self._server.returncode == 0
