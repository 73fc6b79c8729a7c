"""Issue a server certificate signed by an authority made for this one purpose.

Clients trust it through the authority's certificate. The authority's key is discarded, so it signs nothing else.
Everything is PEM text (RFC 7468) and stays in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from loadgen.authority import Authority


@dataclass(frozen=True, slots=True)
class Certificates:
    """A server's certificate and key, and the authority that its clients have to trust; all PEM.

    ca_pem: "" for a certificate that loadgen did not issue. key_pem: left out of repr, and so out of logs.
    """

    ca_pem: str
    certificate_pem: str
    key_pem: str = field(repr=False)


def issue(names: Sequence[str]) -> Certificates:
    """Issue a certificate for host names and literal addresses, valid from an hour ago for a year; keys are EC P-256.

    Raises: ValueError if there is no name, or one that cannot stand in a certificate.
    """
    authority = Authority.new()
    leaf = authority.issue("loadgen sink", names)
    return Certificates(authority.pair.certificate_pem, leaf.certificate_pem, leaf.key_pem)
