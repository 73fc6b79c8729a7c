"""The contexts of sinks that speak TLS."""

from __future__ import annotations

import ssl
from functools import cache

from loadgen import shortage
from loadgen.model import Speaks
from loadgen.sink.certificates import Certificates


@cache
def server_context(certificates: Certificates, speaks: Speaks) -> ssl.SSLContext:
    """Return the TLS context for this certificate, made once per process and inherited by the processes it forks.

    Session tickets are on, and their keys belong to the context: a client can resume its session with any sink that
    was forked after this call.

    Raises: ssl.SSLError if certificate or key is malformed, or they do not match; HostError without memory for them.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if speaks is Speaks.HTTP:
        context.set_alpn_protocols(["http/1.1"])
    # ssl reads files only, and the key must not reach a disk.
    with open(shortage.memory_file("certificate"), "wb") as file:
        file.write(f"{certificates.certificate_pem}\n{certificates.key_pem}".encode())
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password="")  # else ssl prompts on the terminal
    return context


def prepare(certificates: Certificates) -> None:
    """Make the contexts before sinks are forked. Raises: ssl.SSLError, see server_context."""
    for speaks in Speaks:
        server_context(certificates, speaks)
