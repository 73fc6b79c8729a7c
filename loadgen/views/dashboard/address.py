"""Where the dashboard listens: `--dashboard [ADDR:PORT]`, and who could reach it there."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Final

from loadgen.errors import UsageError
from loadgen.model import Endpoint
from loadgen.scenario.units import endpoint

#: Every address of this host; endpoint() refuses them, because no client can connect to them.
_EVERYWHERE: Final = {"0.0.0.0": "0.0.0.0", "[::]": "::"}
_SHORT: Final = {"": "127.0.0.1", "localhost": "127.0.0.1"}


def listen_at(text: str, *, public: bool) -> Endpoint:
    """`127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, `:8080` -> where to listen; port 0 is any free one.

    public: whether other machines may reach it. Raises: UsageError, with what to write instead.
    """
    host, colon, port = text.rpartition(":")
    host = _SHORT.get(host, host)
    try:
        if not colon:
            raise ValueError("write an address and a port, for example 127.0.0.1:8080")
        # Port 1 stands for what endpoint() does not take, and is replaced again.
        found = endpoint(f"{'127.0.0.1' if host in _EVERYWHERE else host}:{'1' if port == '0' else port}")
    except ValueError as error:
        raise UsageError(
            f"--dashboard {text}: {error}; or give --dashboard last, without an address, for a free port"
        ) from None
    found = replace(found, address=_EVERYWHERE.get(host, found.address), port=int(port))
    if not is_loopback(found.address) and not public:
        raise UsageError(
            f"--dashboard {text}: other machines can reach this address, and anyone who reads the unencrypted traffic "
            "on the way can see the results and stop the run; listen on 127.0.0.1 and forward the port with ssh -L, or "
            "add --dashboard-public if this network is trusted"
        )
    return found


def is_loopback(address: str) -> bool:
    """Return whether only this machine can reach the address."""
    return ip_address(address.partition("%")[0]).is_loopback


def is_everywhere(address: str) -> bool:
    """Return whether it stands for all addresses of this host."""
    return ip_address(address.partition("%")[0]).is_unspecified


def in_url(address: str) -> str:
    """An address as it stands in a URL (RFC 3986 3.2.2)."""
    return f"[{address}]" if ":" in address else address
