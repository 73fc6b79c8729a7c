"""The log and the warnings of dask.distributed, kept from stderr: they go there as soon as it is imported.

What a user has to know of it comes back as a sentence through `heard`: which peers were turned away, and why.
"""

from __future__ import annotations

import asyncio
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

#: Parents of every logger that writes.
_LOGGERS: Final = ("distributed", "tornado", "bokeh")
_REFUSED: Final = re.compile(
    r"TLS handshake failed with remote '(?:tls|tcp)://(?P<peer>[^']*)': (?P<why>.*)", re.DOTALL
)
_TAKEN: Final = re.compile(r"Worker tried to connect with a duplicate name: (?P<name>.*)")
#: Parts of OpenSSL's reasons, the first that is found, and what they mean for a cluster.
_REASONS: Final = (
    ("expired", "its certificate has expired; issue another"),
    ("not yet valid", "its certificate is not valid yet; set the clocks"),
    ("verify failed", "its certificate is not signed by the authority of ca.pem; issue one there"),
    ("unknown ca", "it does not trust this certificate; both sides need the same ca.pem"),
    ("bad certificate", "it does not trust this certificate; both sides need the same ca.pem"),
    ("did not return a certificate", "it presented no certificate; start it with --certs"),
    ("certificate required", "it presented no certificate; start it with --certs"),
    ("wrong version number", "it speaks no TLS; start it with --certs and tls://"),
    ("http request", "it speaks no TLS; start it with --certs and tls://"),
    ("packet length too long", "it speaks no TLS; start it with --certs and tls://"),
    ("record layer failure", "it speaks no TLS; start it with --certs and tls://"),
    ("eof occurred", "it broke the handshake off; it has another authority's ca.pem, or speaks no TLS"),
    ("unsupported protocol", "its TLS is older than 1.2; update its OpenSSL"),
)


def reason(error: object) -> str:
    """Return what an error of a TLS handshake says about the peer, with the remedy."""
    text = str(error).lower().replace("_", " ")
    return next((meaning for part, meaning in _REASONS if part in text), f"the TLS handshake failed ({error})")


def sentence(text: str) -> str:
    """Return a line of the log as a sentence for users; "" if it is of no use to them."""
    if found := _REFUSED.search(text):
        peer = found["peer"].rpartition(":")[0]
        return f"a peer at {peer} was turned away: {reason(found['why'])}"
    if found := _TAKEN.search(text):
        return f"an agent was turned away: there is one of the name {found['name']} already; give it another --name"
    return ""


@contextmanager
def heard(by: Callable[[str], None]) -> Iterator[None]:
    """Until the end of the block, call `by` with each new sentence, and keep the rest of the log from stderr.

    Import dask.distributed before: it sets its loggers up then.
    """
    said: set[str] = set()

    class Hear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found = sentence(record.getMessage())
            if found and found not in said:
                said.add(found)
                by(found)

    mine = Hear()
    before = [(logger, list(logger.handlers), logger.propagate) for logger in _all()]
    for logger, _, _ in before:
        logger.handlers, logger.propagate = [], logger.name not in _LOGGERS
        if logger.name in _LOGGERS:
            logger.addHandler(mine)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of versions that differ, which a check tells in a sentence
            yield
    finally:
        for logger, handlers, propagate in before:
            logger.handlers, logger.propagate = handlers, propagate


def overlook_ends() -> None:
    """Have the running loop say nothing of a wait that came to its time limit with no caller left.

    At the end of a cluster such waits are left, for connections to agents that are stopped or cut off. asyncio tells of
    their exceptions once they are collected as garbage, at any time until the process ends, as if they were bugs.
    """
    from tornado.util import TimeoutError as TornadoTimeoutError

    def on_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), TornadoTimeoutError):
            loop.default_exception_handler(context)

    asyncio.get_running_loop().set_exception_handler(on_exception)


def _all() -> list[logging.Logger]:
    """Return the parents and every logger below them that exists."""
    names = [*_LOGGERS, *(name for name in logging.root.manager.loggerDict if name.startswith(tuple(_below())))]
    return [logging.getLogger(name) for name in names]


def _below() -> list[str]:
    return [f"{name}." for name in _LOGGERS]
