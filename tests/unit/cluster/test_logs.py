"""The log of dask.distributed: what becomes a sentence, and that the rest is silent."""

from __future__ import annotations

import asyncio
import logging

import pytest

from loadgen.cluster import logs

REFUSED = "Listener on 'tls://10.0.0.1:9786': TLS handshake failed with remote 'tls://10.0.0.7:51200': "


@pytest.mark.parametrize(
    ("why", "words"),
    [
        ("[SSL: PEER_DID_NOT_RETURN_A_CERTIFICATE] peer did not return a certificate", "presented no certificate"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)", "speaks no TLS"),
        ("[SSL: HTTP_REQUEST] http request", "speaks no TLS"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer", "not signed by"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired", "has expired"),
        ("[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca", "does not trust this certificate"),
        ("[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred in violation of protocol", "broke the handshake off"),
        ("Stream is closed", "the TLS handshake failed (Stream is closed)"),
    ],
)
def test_a_peer_that_was_turned_away_is_a_sentence(why: str, words: str) -> None:
    found = logs.sentence(REFUSED + why)
    assert found.startswith("a peer at 10.0.0.7 was turned away: ")
    assert words in found


def test_an_agent_of_a_name_that_is_taken_is_a_sentence() -> None:
    found = logs.sentence("Worker tried to connect with a duplicate name: a")
    assert found == "an agent was turned away: there is one of the name a already; give it another --name"


def test_all_else_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[str] = []
    stream = logging.StreamHandler()
    below = logging.getLogger("distributed.worker")
    below.addHandler(stream)
    try:
        with logs.heard(heard.append):
            below.error("Connection lost")
            logging.getLogger("tornado.application").exception("in a callback")
            for _ in range(2):
                logging.getLogger("distributed.comm.tcp").warning("%s%s", REFUSED, "http request")
        assert capsys.readouterr() == ("", "")
        assert len(heard) == 1
        below.error("afterwards")
        assert "afterwards" in capsys.readouterr().err
    finally:
        below.removeHandler(stream)


def test_a_wait_that_nobody_waits_for_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    tornado = pytest.importorskip("tornado.util", reason="needs the extra: pip install 'loadgen[cluster]'")

    async def main() -> None:
        logs.overlook_ends()
        loop = asyncio.get_running_loop()
        for error in (tornado.TimeoutError("Timeout"), ValueError("a bug")):
            loop.call_exception_handler({"message": "never retrieved", "exception": error})

    asyncio.run(main())
    assert len(caplog.records) == 1
    assert "a bug" in caplog.text
