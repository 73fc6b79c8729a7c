"""The test in docs/python.md, against a proxy that gives its ports back and against one that does not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import CHECKOUT

#: The fixtures of the example: an upstream that echoes, and a proxy in a process of its own.
CONFTEST = '''
import subprocess, sys
import pytest

PROXY = """
import asyncio, sys

async def echo(reader, writer):
    while data := await reader.read(4096):
        writer.write(data)
    writer.close()

async def pipe(reader, writer):
    while data := await reader.read(4096):
        writer.write(data)

async def main(leaks):
    kept = []
    upstream = await asyncio.start_server(echo, "127.0.0.1", 0, backlog=1000)
    port = upstream.sockets[0].getsockname()[1]

    async def proxy(reader, writer):
        there, back = await asyncio.open_connection("127.0.0.1", port)
        down = asyncio.create_task(pipe(there, writer))
        await pipe(reader, back)
        writer.close()
        if leaks:
            kept.append((there, back, down))
        else:
            back.close()

    front = await asyncio.start_server(proxy, "127.0.0.1", 0, backlog=1000)
    print(front.sockets[0].getsockname()[1], port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main(sys.argv[1] == "leaks"))
"""

@pytest.fixture(scope="session")
def service():
    with subprocess.Popen(
        [sys.executable, "-c", PROXY, "KIND"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield ["127.0.0.1:" + port for port in process.stdout.readline().split()]
        process.stdin.close()

@pytest.fixture
def proxy(service):
    return service[0]

@pytest.fixture
def upstream(service):
    return service[1]
'''


@pytest.mark.parametrize(("kind", "code"), [("tidy", 0), ("leaks", 1)])
def test_the_example_tells_a_leak(kind: str, code: int, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (CHECKOUT / "docs" / "python.md").read_text(), re.DOTALL)
    (example,) = [block for block in blocks if "def test_" in block]
    (tmp_path / "test_example.py").write_text(example)
    (tmp_path / "conftest.py").write_text(CONFTEST.replace("KIND", kind))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--basetemp",
            str(tmp_path / "runs"),
            tmp_path,
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=100,
    )
    assert done.returncode == code, done.stdout
    if kind == "leaks":
        assert "300 ports to 127.0.0.1:" in done.stdout
        assert "are still in use after 300 clients have left" in done.stdout
    else:
        assert "1 passed" in done.stdout
