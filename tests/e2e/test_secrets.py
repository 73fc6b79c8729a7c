"""A secret reaches the target and nothing else: no file, no stream, no page, no other process's environment."""

from __future__ import annotations

import json
import signal
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from .conftest import Done, Loadgen
from .test_dashboard import asked, read_to_end, stream, url_of

FROM_ENV: Final = "canary-of-the-environment"
FROM_FILE: Final = "canary-of-a-file"
WRITTEN: Final = "canary-as-written"
CANARIES: Final = (FROM_ENV, FROM_FILE, WRITTEN)
REFERENCES: Final = ("${env:CANARY}", "${file:secret}")


def clean(*texts: str) -> None:
    """Check that there is no secret in any of them."""
    for text in texts:
        assert not [canary for canary in CANARIES if canary in text], text[:2000]


def clean_files(folder: Path, *without: Path) -> None:
    """Check the bytes of every file below a directory."""
    files = [path for path in folder.rglob("*") if path.is_file() and path not in without]
    assert files
    for path in files:
        data = path.read_bytes()
        assert not [canary for canary in CANARIES if canary.encode() in data], path


def private(run: Path) -> None:
    """Check that only its owner can enter a run directory and read its files."""
    files = (path for path in run.rglob("*") if path.is_file())
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (run, *files)}
    assert not [path for path, mode in modes.items() if mode & 0o077], modes


def outputs(dones: Iterable[Done]) -> list[str]:
    return [text for done in dones for text in (done.out, done.err)]


def test_what_is_filled_in_is_sent_and_never_written(loadgen: Loadgen) -> None:
    secret = loadgen.home / "secret"
    secret.write_text(f"{FROM_FILE}\n")
    said = f'{{"password": "{WRITTEN}", "token": "{REFERENCES[0]}", "and": "{REFERENCES[1]}"}}'
    # The sink sends it back, so that the reply is right only where the values were sent.
    payload = {"name": "payload", "send": said, "expect": said}
    given = loadgen.scenario(protocol=payload, connections=20, hold="10m")
    missing = loadgen("run", given)
    assert missing.code == 2
    assert all("the environment variable CANARY is not set" in line for line in missing.err.splitlines())

    running = loadgen.start("run", given, "--dashboard", "--junit", "junit.xml", CANARY=FROM_ENV)
    url = url_of(running)
    running.until_holding()
    for process in running.process.descendants():
        for name in ("cmdline", "environ"):
            clean(Path(f"/proc/{process.pid}/{name}").read_bytes().decode())
    events = stream(url)
    token = url.rstrip("/").rpartition("/")[2]
    clean(*(asked(url, page)[1] for page in ("", "runs", "runs.json", "charts", "state")))
    clean(asked(url, "/metrics", Authorization=f"Bearer {token}")[1])
    running.signal(signal.SIGINT)
    clean(read_to_end(events))
    done = running.finish()
    assert done.code == 130
    summary = json.loads((done.run / "summary.json").read_text())
    assert (summary["traffic"]["replies"], summary["traffic"]["wrong"]) == (20, 0)
    assert all(reference in (done.run / "scenario.yaml").read_text() for reference in REFERENCES)
    private(done.run)

    again = [
        loadgen(*arguments, CANARY=FROM_ENV)
        for arguments in (
            ("plan", given, "--json"),
            ("report", done.run),
            ("run", given, "--set", "protocol.expect_length=${env:CANARY}"),
            ("run", given, "--set", f"protocol.token={WRITTEN}"),
        )
    ]
    clean(*outputs((missing, done, *again)))
    clean_files(loadgen.home, secret, given)
    private(done.run)


def test_what_looks_like_a_credential_is_masked(loadgen: Loadgen) -> None:
    http: dict[str, Any] = {
        "name": "http",
        "path": f"/?token={WRITTEN}",
        "headers": {"Authorization": f"Bearer {WRITTEN}"},
    }
    target = {"address": "127.0.0.1:9000", "sink": {"speaks": "http"}}
    matrix = {"protocol.headers.X-Api-Key": [f"{WRITTEN}-1", f"{WRITTEN}-2"]}
    given = loadgen.scenario(protocol=http, targets=[target], connections=5, matrix=matrix)
    done = loadgen("run", given, "--set", f"protocol.headers.Cookie={WRITTEN}")
    assert done.code == 0, done.err
    clean(*outputs([done, loadgen("report", done.run), loadgen("runs", "results", "--json")]))
    clean_files(loadgen.home, given)
    private(done.run)
    resumed = loadgen("run", "--resume", done.run)
    assert resumed.code == 2
    assert "*** stands for a value that was not written to this file" in resumed.err
