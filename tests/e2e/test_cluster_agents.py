"""Agents and coordinator as processes: who may join, what listens, and what is said of one that is stopped.

Each test has a network namespace of its own, so the usual port is free and every listener in it is one of these.
"""

from __future__ import annotations

import ipaddress
import json
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from loadgen.authority import Authority, KeyPair
from loadgen.cluster import certificates

from .conftest import Done, Loadgen, Namespace, Running, environment, wait_until

pytest.importorskip("distributed", reason="needs the extra: pip install 'loadgen[cluster]'")

HERE = "tls://127.0.0.1:9786"


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    certificates.write(tmp_path / "certs", ["a", "b", "c"])
    return tmp_path / "certs"


class Agents:
    """Agents and checks in one namespace."""

    def __init__(self, loadgen: Loadgen, namespace: Namespace, certs: Path) -> None:
        self.loadgen, self.enter, self.certs = loadgen, namespace.enter, certs

    def start(self, name: str, *args: str, certs: Path | None = None, at: str = HERE) -> Running:
        """An agent with certificates."""
        command: list[str | Path] = ["agent", "--coordinator", at, "--name", name, "--certs", certs or self.certs]
        return self.loadgen.start(*command, *args, prefix=self.enter)

    def plain(self, name: str, *args: str) -> Running:
        """An agent without."""
        return self.loadgen.start(
            "agent", "--coordinator", "tcp://127.0.0.1:9786", "--name", name, *args, prefix=self.enter
        )

    def check(self, count: int, *args: str, wait: str = "40s") -> Running:
        """A check of that many agents."""
        command: list[str | Path] = ["cluster", "check", "--agents", str(count), "--certs", self.certs]
        return self.loadgen.start(*command, "--wait", wait, *args, prefix=self.enter)

    def listeners(self, process: Running) -> list[str]:
        """Address and port of every listening socket of the namespace."""
        found = []
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/{process.popen.pid}/net/{table}").read_text().splitlines()[1:]:
                _, local, _, state, *_ = line.split()
                if state == "0A":
                    found.append(address_of(local))
        return sorted(found)


def address_of(text: str) -> str:
    """`0100007F:2710` as /proc/net/tcp has it: words in the byte order of the machine."""
    words, port = text.split(":")
    data = b"".join(int(words[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(words), 8))
    return f"{ipaddress.ip_address(data)}:{int(port, 16)}"


@pytest.fixture
def agents(loadgen: Loadgen, namespace: Namespace, certs: Path) -> Agents:
    return Agents(loadgen, namespace, certs)


def until_said(running: Running, words: str) -> None:
    running.until(lambda: words in running.err.read_text(), f"line with {words!r}")


def assert_refused(done: Done, code: int, words: str) -> None:
    assert done.code == code, done.err
    assert words in done.err
    assert "Traceback" not in done.err
    assert len(done.err.splitlines()) == 1


def test_agents_join_one_check_after_the_other(agents: Agents) -> None:
    """An agent waits for a coordinator, and after its end for the next; the check has all of them."""
    a, b = agents.start("a", "--allow", "10.1.0.0/16"), agents.start("b")
    until_said(a, f"waiting for a coordinator at {HERE} (connection refused)")
    for _ in range(2):
        done = agents.check(2, "--json").finish()
        assert done.code == 0, done.err
        assert [one["name"] for one in done.summary["agents"]] == ["a", "b"]
        assert [one["allow"] for one in done.summary["agents"]] == [["10.1.0.0/16"], []]
        assert done.summary["problems"] == []
        assert all(abs(one["clock_ns"]) <= one["clock_error_ns"] + 10_000_000 for one in done.summary["agents"])
        until_said(a, "has gone")
    table = agents.check(2).finish()
    assert table.code == 0, table.err
    assert "2 agents, all well" in table.out
    for running in (a, b):
        lines = running.err.read_text().splitlines()
        assert all(line.startswith("loadgen: ") for line in lines)


def test_nothing_listens_on_other_addresses_than_told(agents: Agents) -> None:
    """The coordinator on the address of --listen, each agent on its own towards that; no other socket listens."""
    check = agents.check(3, "--listen", "127.0.0.2:9786")
    until_said(check, "waiting for 3 agents")
    running = [agents.start(*args, at="tls://127.0.0.2:9786") for args in (("a", "--port", "9787"), ("b",))]
    for each in running:
        until_said(each, "has joined")
    found = agents.listeners(check)
    assert [address.rpartition(":")[0] for address in found] == ["127.0.0.1", "127.0.0.1", "127.0.0.2"]
    assert {"127.0.0.2:9786", "127.0.0.1:9787"} <= set(found)
    assert_refused(agents.start("c", "--port", "9787", at="tls://127.0.0.2:9786").finish(), 2, "give the agent another")
    check.signal(signal.SIGINT)
    assert_refused_last(check.finish(), 130, "interrupted")


def test_a_coordinator_may_listen_on_every_address(agents: Agents) -> None:
    """It is then reached on each of them, and named by its host to those who start agents."""
    check = agents.check(2, "--listen", "0.0.0.0:9786")
    until_said(check, f"waiting for 2 agents at tls://{socket.gethostname()}:9786")
    agents.start("a", at="tls://127.0.0.2:9786")
    agents.start("b", at="tls://localhost:9786")
    done = check.finish()
    assert done.code == 0, done.out
    assert "2 agents, all well" in done.out


def assert_refused_last(done: Done, code: int, words: str) -> None:
    assert done.code == code, done.err
    assert words in done.err.splitlines()[-1]
    assert "Traceback" not in done.err


def test_an_agent_of_another_authority_is_refused(agents: Agents, tmp_path: Path) -> None:
    certificates.write(tmp_path / "other", ["x"])
    check = agents.check(1)
    until_said(check, "waiting for 1 agent at")
    done = agents.start("x", certs=tmp_path / "other").finish()
    assert_refused(done, 3, "as for the coordinator, its certificate is not signed by the authority of ca.pem")
    until_said(check, "a peer at 127.0.0.1 was turned away: ")


def test_an_agent_whose_certificate_alone_is_of_another_authority_is_refused(agents: Agents, tmp_path: Path) -> None:
    """It trusts the coordinator, but not the other way round; its own check of its files would say so before."""
    certificates.write(tmp_path / "other", ["x"])
    shutil.copy(agents.certs / "ca.pem", tmp_path / "other" / "ca.pem")
    done = agents.start("x", certs=tmp_path / "other").finish()
    assert_refused(done, 3, "is not signed by")


def test_an_agent_without_certificates_is_refused(agents: Agents) -> None:
    check = agents.check(1)
    until_said(check, "waiting for 1 agent at")
    plain = agents.plain("x")
    until_said(plain, "it says nothing; if it has certificates, add --certs DIR and write tls://")
    plain.signal(signal.SIGINT)
    assert_refused_last(plain.finish(), 130, "interrupted")
    until_said(check, "a peer at 127.0.0.1 was turned away: ")
    done = agents.loadgen("agent", "--coordinator", HERE, prefix=agents.enter)
    assert_refused(done, 2, "add --certs DIR")
    done = agents.loadgen("agent", "--coordinator", "tcp://10.0.0.1:9786", prefix=agents.enter)
    assert_refused(done, 2, "beyond it a cluster needs certificates")


def test_a_client_without_a_certificate_is_turned_away(agents: Agents) -> None:
    check = agents.check(1)
    until_said(check, "waiting for 1 agent at")
    code = (
        "import socket, ssl, sys\n"
        "context = ssl.create_default_context(cafile=sys.argv[1]); context.check_hostname = False\n"
        "with context.wrap_socket(socket.create_connection(('127.0.0.1', 9786))) as sock:\n"
        "    try: print(sock.recv(1))\n"
        "    except ssl.SSLError as error: print(error.reason)\n"
    )
    done = subprocess.run(
        [*agents.enter, sys.executable, "-c", code, str(agents.certs / "ca.pem")],
        capture_output=True,
        text=True,
        env=environment(),
        check=True,
    )
    assert "CERTIFICATE_REQUIRED" in done.stdout
    until_said(check, "it presented no certificate; start it with --certs")


def test_an_expired_certificate_is_refused(agents: Agents, tmp_path: Path) -> None:
    authority = Authority(KeyPair((agents.certs / "ca.pem").read_text(), (agents.certs / "ca-key.pem").read_text()))
    old = authority.issue(
        "x", ["x"], client=True, not_before=datetime.now(UTC) - timedelta(days=2), lifetime=timedelta(days=1)
    )
    expired = tmp_path / "expired"
    expired.mkdir(mode=0o700)
    shutil.copy(agents.certs / "ca.pem", expired)
    (expired / "x.pem").write_text(old.certificate_pem)
    (expired / "x-key.pem").touch(mode=0o600)
    (expired / "x-key.pem").write_text(old.key_pem)
    assert_refused(agents.start("x", certs=expired).finish(), 3, "x.pem has expired on ")
    check = agents.check(1)
    until_said(check, "waiting for 1 agent at")
    context = f"import ssl, socket, sys; c = ssl.create_default_context(cafile={str(expired / 'ca.pem')!r}); "
    context += (
        f"c.check_hostname = False; c.load_cert_chain({str(expired / 'x.pem')!r}, {str(expired / 'x-key.pem')!r});"
    )
    code = context + "s = c.wrap_socket(socket.create_connection(('127.0.0.1', 9786))); s.recv(1)"
    subprocess.run([*agents.enter, sys.executable, "-c", code], capture_output=True, env=environment())
    until_said(check, "its certificate has expired; issue another")


def test_an_agent_that_trusts_the_coordinator_and_is_not_trusted_says_so(agents: Agents, tmp_path: Path) -> None:
    """With TLS 1.3 its handshake ends well, and the refusal comes after it."""
    certificates.write(tmp_path / "other", ["x"])
    both = tmp_path / "both"
    shutil.copytree(tmp_path / "other", both)
    bundle = (tmp_path / "other" / "ca.pem").read_text() + (agents.certs / "ca.pem").read_text()
    (both / "ca.pem").write_text(bundle)
    check = agents.check(1)
    until_said(check, "waiting for 1 agent at")
    assert_refused(agents.start("x", certs=both).finish(), 3, "it does not accept this agent's certificate")
    until_said(check, "its certificate is not signed by the authority of ca.pem")


def test_a_second_agent_of_one_name_is_refused(agents: Agents) -> None:
    check = agents.check(2)
    first = agents.start("a")
    until_said(first, "has joined")
    assert_refused(agents.start("a").finish(), 2, "has an agent of the name a already; give another --name")
    until_said(check, "there is one of the name a already")


def test_a_stopped_agent_is_reported_and_nothing_hangs(agents: Agents) -> None:
    check = agents.check(3, "--json")
    a, b = agents.start("a"), agents.start("b")
    until_said(a, "has joined")
    until_said(b, "has joined")
    b.signal(signal.SIGSTOP)
    try:
        c = agents.start("c")
        until_said(c, "has joined")
        done = check.finish(25)
    finally:
        b.signal(signal.SIGCONT)
    assert done.code == 3, done.err
    assert [(one["name"], one["answers"]) for one in done.summary["agents"]] == [("a", True), ("b", False), ("c", True)]
    (problem,) = done.summary["problems"]
    assert "b: agent b has not answered" in problem


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("joined", [True, False])
def test_an_agent_ends_by_a_signal(agents: Agents, number: signal.Signals, joined: bool) -> None:
    agent = agents.start("a")
    if joined:
        agents.check(2)
    until_said(agent, "has joined" if joined else "waiting for")
    agent.signal(number)
    assert_refused_last(agent.finish(10), 130, "interrupted")


def test_too_few_agents_are_a_problem_with_a_remedy(agents: Agents) -> None:
    agent = agents.plain("a", "--once")
    done = agents.loadgen("cluster", "check", "--agents", "2", "--wait", "5s", prefix=agents.enter)
    assert done.code == 3
    assert "problem: 1 of 2 agents joined tcp://127.0.0.1:9786 within 5 s (a); start the others:" in done.out
    assert agent.finish().code == 0


def test_an_address_that_is_in_use_is_one_line(agents: Agents) -> None:
    first = agents.check(1)
    until_said(first, "waiting for")
    assert_refused(agents.check(1).finish(), 3, "cannot listen on 127.0.0.1:9786 (Address already in use)")


#: Stands in place of a share: makes a run directory, and says in it how its orders ended.
_SHARE = """
import json, pathlib, sys
path = pathlib.Path(json.loads(sys.stdin.readline())["results"], "run")
path.mkdir(parents=True)
print(json.dumps({"report": "ready", "path": str(path)}), flush=True)
orders = [json.loads(line)["do"] for line in sys.stdin]
(path / "orders.json").write_text(json.dumps(orders))
"""
_AGENT = f"""
import sys
from loadgen.cluster import calls
calls._SHARE = (sys.executable, "-c", {_SHARE!r})
from loadgen.__main__ import main
main()
"""
#: A coordinator that begins one share and asks for news ten times a second, until its standard input closes.
_COORDINATOR = """
import asyncio, pathlib, sys
import msgspec
from loadgen import event_loop
from loadgen.cluster import calls
from loadgen.cluster.connection import Cluster
from loadgen.cluster.messages import Portion, Prepare
from loadgen.errors import LoadgenError
async def main():
    async with Cluster.listening("127.0.0.1", 9786, pathlib.Path(sys.argv[1])) as cluster:
        (agent,) = await cluster.agents(1, 60)
        prepare = Prepare(scenario="", origin="", settings=(), portion=Portion(name="a"), results="/nowhere")
        await cluster.call(agent, calls.begin, "r", msgspec.json.encode(prepare), timeout_s=20)
        while True:
            news = await cluster.call(agent, calls.poll, "r", timeout_s=20)
            print(news.decode(), flush=True)
            await asyncio.sleep(0.1)
try:
    event_loop.run(main)
except LoadgenError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


@pytest.fixture
def share(agents: Agents) -> Iterator[tuple[Running, subprocess.Popen[str]]]:
    """An agent with a share that is under way, and its coordinator."""
    agents.loadgen.command = (sys.executable, "-c", _AGENT)
    agent = agents.start("a", "--results", "shares", "--once")
    with subprocess.Popen(
        [*agents.enter, sys.executable, "-c", _COORDINATOR, str(agents.certs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as coordinator:
        assert coordinator.stdout
        try:
            for line in coordinator.stdout:
                if '"report":"ready"' in line.replace(" ", ""):
                    break
            agent.seen.update(agent.process.descendants())
            yield agent, coordinator
        finally:
            coordinator.kill()


def orders(agents: Agents) -> list[str]:
    """The orders that the share had until there came no more."""
    path = agents.loadgen.home / "shares" / "run" / "orders.json"
    wait_until(lambda: path.exists() and path.read_text(), "end of the share")
    found: list[str] = json.loads(path.read_text())
    return found


def test_an_interrupt_of_an_agent_ends_its_share_in_good_order(
    agents: Agents, share: tuple[Running, subprocess.Popen[str]]
) -> None:
    agent, coordinator = share
    agent.signal(signal.SIGINT)
    assert_refused_last(agent.finish(20), 130, "interrupted")
    assert set(orders(agents)) == {"continue"}
    _, said = coordinator.communicate(timeout=20)
    assert said.startswith("AgentLostError: agent a is gone")


def test_a_share_has_no_more_orders_when_its_agent_is_killed(
    agents: Agents, share: tuple[Running, subprocess.Popen[str]]
) -> None:
    agent, coordinator = share
    agent.signal(signal.SIGKILL)
    assert set(orders(agents)) == {"continue"}
    _, said = coordinator.communicate(timeout=20)
    assert said.startswith("AgentLostError: agent a is gone")


def test_an_agent_ends_its_share_when_its_coordinator_is_killed(
    agents: Agents, share: tuple[Running, subprocess.Popen[str]]
) -> None:
    """It passes no order on any more, and with --once it ends, and the share with it."""
    agent, coordinator = share
    coordinator.kill()
    done = agent.finish(20)
    assert done.code == 0
    assert done.err.splitlines()[-1] == f"loadgen: the coordinator at {HERE} has gone"
    assert set(orders(agents)) == {"continue"}
