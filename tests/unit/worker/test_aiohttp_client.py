"""HTTP through aiohttp without a network: names for what ends them, and TLS that knows how long it took."""

from __future__ import annotations

import errno
import ssl
import subprocess
import sys

import aiohttp
import pytest

from loadgen.outcomes import describe
from loadgen.sink.certificates import Certificates, issue
from loadgen.worker.aiohttp_client import Handshake, timed, why


def caused(error: Exception, cause: Exception) -> Exception:
    """As `raise error from cause` leaves it."""
    error.__cause__ = cause
    return error


def refusal() -> ssl.SSLError:
    """As OpenSSL makes it, which alone gives it a reason."""
    error = ssl.SSLError(1, "alert")
    error.reason = "TLSV1_ALERT_PROTOCOL_VERSION"
    return error


@pytest.mark.parametrize(
    ("error", "syscall", "name"),
    [
        (None, "recv", "EOF"),
        (aiohttp.ServerDisconnectedError(), "recv", "EOF"),
        (ConnectionResetError(), "recv", "EOF"),  # how asyncio says that a handshake was cut off
        (ConnectionResetError(errno.ECONNRESET, "reset"), "recv", "ECONNRESET"),
        (BrokenPipeError(errno.EPIPE, "broken"), "send", "EPIPE"),
        (OSError(errno.EHOSTUNREACH, "no route"), "recv", "EHOSTUNREACH"),
        (ConnectionAbortedError("SSL handshake is taking longer than 60.0 seconds"), "wait", "ETIMEDOUT"),
        (
            caused(aiohttp.ClientConnectionError("lost"), OSError(errno.ETIMEDOUT, "timed out")),
            "recv",
            "ETIMEDOUT",
        ),
        (caused(aiohttp.ClientOSError(errno.EPERM, "wrapped"), OSError(errno.ECONNRESET, "")), "recv", "ECONNRESET"),
        (caused(aiohttp.ClientPayloadError("half"), refusal()), "tls", "WRONG_VERSION"),
    ],
)
def test_what_ended_a_connection_is_the_systems_own_word(error: Exception | None, syscall: str, name: str) -> None:
    assert describe(why(error))[:2] == (syscall, name)


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return issue(["site.example"])


@pytest.fixture
def server(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    pem = tmp_path_factory.mktemp("server") / "server.pem"
    pem.write_text(certificates.certificate_pem + certificates.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def shaken(client: ssl.SSLContext, server: ssl.SSLContext) -> Handshake:
    """The client's end of a handshake in memory, with whatever the server says right after it."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname="site.example")
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    assert isinstance(ours, Handshake)
    assert ours.took_ns == 0
    left = [ours, theirs]
    for _ in range(10):
        for end in list(left):
            try:
                end.do_handshake()
                left.remove(end)
            except ssl.SSLWantReadError:
                pass
    assert not left
    theirs.write(b"hello")
    assert ours.read() == b"hello"
    return ours


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("resume", [True, False])
def test_a_handshake_is_timed_and_resumes_the_last_session_of_its_own_context(
    server: ssl.SSLContext, certificates: Certificates, version: ssl.TLSVersion, resume: bool
) -> None:
    server.maximum_version = version
    one, other = (timed(ssl.create_default_context(cadata=certificates.ca_pem), resume=resume) for _ in range(2))
    first = shaken(one, server)
    assert first.took_ns > 0
    assert not first.session_reused
    first.keep_session()
    assert bool(shaken(one, server).session_reused) is resume
    assert not shaken(other, server).session_reused


def test_nobody_pays_for_aiohttp_who_does_not_need_it() -> None:
    code = "import loadgen.worker.worker, loadgen.protocols.http_exchange, sys; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
