"""What connections carry, as a user sees it: TLS to sinks of ours, and a protocol that somebody else has written."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import trustme

from .conftest import CHECKOUT, Loadgen, Namespace, assert_adds_up, assert_one_message, environment

#: Redis, as far as PING goes; one connection after the other is answered, as it speaks.
REDIS: Final = rb"""
import asyncio

async def serve(reader, writer):
    while head := await reader.readline():
        words = []
        for _ in range(int(head[1:])):
            size = int((await reader.readline())[1:])
            words.append((await reader.readexactly(size + 2))[:-2])
        writer.write(b"$%d\r\n%b\r\n" % (len(words[1]), words[1]) if words[1:] else b"+PONG\r\n")
    writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 6379, backlog=1000)
    print("ready", flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


@pytest.fixture
def redis(namespace: Namespace) -> Iterator[Namespace]:
    """A namespace in which Redis listens."""
    command = [*namespace.enter, sys.executable, "-c", REDIS.decode()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as server:
        assert server.stdout
        assert server.stdout.readline() == b"ready\n"
        yield namespace
        server.kill()


@pytest.fixture
def installed(tmp_path: Path) -> str:
    """PYTHONPATH with the package of docs/protocols.md, as pip would have left it there."""
    text = (CHECKOUT / "docs" / "protocols.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (table,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert len(code.splitlines()) <= 30
    site = tmp_path / "site"
    info = site / "redis_ping-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: redis-ping\nVersion: 1.0\n")
    (entry,) = re.findall(r'^(redis-ping) = "(.*)"$', table, re.MULTILINE)
    (info / "entry_points.txt").write_text(f"[loadgen.protocols]\n{' = '.join(entry)}\n")
    (site / "redis_ping.py").write_text(code)
    return f"{CHECKOUT}:{site}"


@pytest.mark.parametrize(
    ("changes", "replies"),
    [
        ({"connections": 50}, 50),
        ({"connections": 50, "heartbeat": {"every": "200ms"}, "hold": "1s"}, 50),
        ({"connections": None, "churn": {"duration": "500ms", "exchanges": 3}, "close": "rst"}, 3),
    ],
)
@pytest.mark.parametrize("message", ["", "hello"])
def test_a_protocol_of_somebody_else_is_spoken_to_a_server_of_somebody_else(
    loadgen: Loadgen, redis: Namespace, installed: str, changes: dict[str, Any], replies: int, message: str
) -> None:
    path = loadgen.scenario(
        lab=None,
        targets=[{"address": "127.0.0.1:6379"}],
        protocol={"name": "redis-ping", "message": message},
        workers=2,
        **changes,
    )
    done = loadgen("run", path, "--json", "--quiet", prefix=redis.enter, PYTHONPATH=installed)
    assert done.code == 0, done.err
    assert_adds_up(done.summary)
    traffic = done.summary["traffic"]
    assert traffic["replies"] >= replies
    assert (traffic["wrong"], done.summary["open"]["lost"]) == (0, 0)
    if "churn" in changes:
        closed, concurrency = done.summary["churn"]["closed"], done.summary["churn"]["concurrency"]
        # Those under way at the end of the duration make one more exchange at most.
        assert 3 * closed - 2 * concurrency <= traffic["replies"] <= 3 * closed


def test_one_that_cannot_be_loaded_is_one_message(loadgen: Loadgen, installed: str) -> None:
    path = Path(installed.split(":")[1]) / "redis_ping.py"
    path.write_text("import nothing_of_that_name\n")
    done = loadgen("run", loadgen.scenario(protocol="redis-ping"), PYTHONPATH=installed)
    assert done.code == 2
    assert "redis-ping cannot be loaded (ModuleNotFoundError: No module named" in assert_one_message(done)


def test_a_bug_in_one_ends_the_run_as_incomplete_and_names_it(
    loadgen: Loadgen, redis: Namespace, installed: str
) -> None:
    path = Path(installed.split(":")[1]) / "redis_ping.py"
    path.write_text(path.read_text().replace("text = self.message.encode()", 'raise KeyError("oh")'))
    scenario = loadgen.scenario(lab=None, targets=[{"address": "127.0.0.1:6379"}], protocol="redis-ping", workers=1)
    done = loadgen("run", scenario, "--json", "--quiet", prefix=redis.enter, PYTHONPATH=installed)
    assert done.code == 4
    assert "the protocol cannot read a reply: KeyError('oh')" in done.err


# --- TLS ------------------------------------------------------------------------------------------

SINK: Final = [{"address": "127.0.0.1:9000", "sink": {"tls": True}}]


@pytest.mark.parametrize("protocol", ["tcp", "echo"])
def test_sinks_of_ours_are_trusted(loadgen: Loadgen, protocol: str) -> None:
    path = loadgen.scenario(targets=SINK, tls={"alpn": ["echo"]}, protocol=protocol, workers=2, hold="100ms")
    done = loadgen("run", path, "--json", "--quiet")
    assert done.code == 0, done.err
    assert_adds_up(done.summary)
    traffic = done.summary["traffic"]
    assert (traffic["handshakes"], traffic["replies"]) == (200, 200 if protocol == "echo" else 0)
    assert done.summary["latency_us"]["handshake"]["count"] == 200
    assert (done.summary["open"]["end_of_hold"], done.summary["open"]["lost"]) == (200, 0)
    assert "PRIVATE KEY" not in "".join(file.read_text() for file in done.run.iterdir() if file.is_file())


@pytest.mark.parametrize("close", ["fin", "rst", "target"])
@pytest.mark.parametrize("protocol", ["tcp", "echo"])
def test_churn_resumes_sessions(loadgen: Loadgen, close: str, protocol: str) -> None:
    path = loadgen.scenario(
        targets=SINK,
        tls={"resume": True},
        protocol=protocol,
        connections=None,
        churn={"duration": "1s", "concurrency": 4},
        workers=1,
        close=close,
    )
    done = loadgen("run", path, "--json", "--quiet")
    assert done.code == 0, done.err
    assert_adds_up(done.summary)
    traffic = done.summary["traffic"]
    assert traffic["handshakes"] == done.summary["churn"]["closed"] > 10
    assert traffic["resumed"] >= traffic["handshakes"] - 4


def test_an_authority_of_somebody_else_is_not_ours(loadgen: Loadgen) -> None:
    (loadgen.home / "ca.pem").write_bytes(trustme.CA().cert_pem.bytes())
    done = loadgen("run", loadgen.scenario(targets=SINK, tls={"ca": "ca.pem"}), "--json", "--quiet")
    assert done.code == 0, done.err
    (error,) = done.summary["errors"]
    assert (error["syscall"], error["errno"], error["count"]) == ("tls", "CERTIFICATE_UNKNOWN_ISSUER", 200)


def test_an_authority_that_is_not_there_is_one_message_before_any_load(loadgen: Loadgen) -> None:
    done = loadgen("run", loadgen.scenario(tls={"ca": "ca.pem"}))
    assert done.code == 2
    assert "tls.ca: " in assert_one_message(done)
    assert not (loadgen.home / "results").exists()
