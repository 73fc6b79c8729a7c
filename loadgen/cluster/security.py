"""Certificates of a cluster as they are read: found by name, checked, and handed to dask.distributed.

A certificate that is expired, or of another authority, would show as a connection that never comes about. So each file
is looked at before, and whatever is wrong is one sentence with its remedy.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from loadgen import regular_file
from loadgen.cluster.certificates import AUTHORITY, COORDINATOR, certificate_path, key_path
from loadgen.errors import HostError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from distributed import Security

#: A certificate that ends sooner is worth a word.
_SOON: Final = timedelta(days=14)
#: More than any certificate with its chain.
_BYTES_MAX: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Credentials:
    """The files of one end of a cluster. name: of its certificate, without `.pem`."""

    name: str
    authority: Path
    certificate: Path
    key: Path


def of_coordinator(directory: Path) -> Credentials:
    """Return the coordinator's files: coordinator.pem, or the only certificate there. Raises: HostError."""
    return _found(directory, (COORDINATOR,), "coordinator.pem, or a single certificate with its key")


def of_agent(directory: Path, name: str | None, host: str | None = None) -> Credentials:
    """Return an agent's files: those of its name, of its host, or of the only certificate but the coordinator's.

    name: as --name has it. host: this host's name where it is None. Raises: HostError that says what is missing.
    """
    host = (host or socket.gethostname()).lower()
    names = [name] if name else []
    names += [host, host.partition(".")[0]]
    wanted = " or ".join(dict.fromkeys(f"{each}.pem" for each in names))
    return _found(directory, names, f"{wanted}, or a single certificate of an agent")


def _found(directory: Path, names: Sequence[str], wanted: str) -> Credentials:
    there = _certificates(directory)
    if AUTHORITY not in there:
        raise HostError(
            f"{directory} has no ca.pem, the authority's certificate; copy it from where the others were written"
        )
    of_hosts = [name for name in there if name not in (AUTHORITY, COORDINATOR)]
    name = next((name for name in names if name in there), of_hosts[0] if len(of_hosts) == 1 else None)
    if name is None:
        listed = f"it has those of {', '.join(of_hosts)}; choose one by --name" if of_hosts else "it has none"
        raise HostError(f"{directory} has to hold {wanted}; {listed}, or write it by `loadgen cluster certs`")
    key = key_path(directory, name)
    if not os.path.exists(key):
        raise HostError(f"{directory} has {name}.pem and not its key; copy {key.name} beside it")
    return Credentials(name, certificate_path(directory, AUTHORITY), certificate_path(directory, name), key)


def _certificates(directory: Path) -> list[str]:
    """Return the names of all certificates in a directory, in alphabetical order."""
    try:
        files = sorted(os.listdir(directory))
    except OSError as error:
        raise HostError(
            f"{directory}: {error.strerror}; give --certs the directory of ca.pem and the certificate"
        ) from error
    return [file.removesuffix(".pem") for file in files if file.endswith(".pem") and not file.endswith("-key.pem")]


def check(files: Credentials, now: datetime | None = None) -> tuple[str, ...]:
    """Check that the files are a certificate, its key and its authority, of use at this time (UTC, now if None).

    Returns: sentences about what works, and yet ought to be changed.
    Raises: HostError with what is wrong, and the remedy.
    """
    from cryptography.exceptions import InvalidSignature

    now = now or datetime.now(UTC)
    authorities, chain = _read(files.authority), _read(files.certificate)
    own = chain[0]
    for path, certificate in ((files.authority, authorities[0]), (files.certificate, own)):
        _require_valid(path, certificate, now)
    for signer in (*authorities, *chain[1:]):
        try:
            own.verify_directly_issued_by(signer)
            break
        except (ValueError, TypeError, InvalidSignature):
            continue
    else:
        raise HostError(
            f"{files.certificate} is not signed by {files.authority}: they are of two authorities; "
            "take both from one `loadgen cluster certs`"
        )
    _require_key_of(files, own)
    return (*_about_modes(files.key), *_about_end(files.certificate, own, now))


def _read(path: Path) -> list[Certificate]:
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificates(_bytes(path))
    except ValueError as error:
        reason = str(error).partition(".")[0]
        raise HostError(
            f"{path} is no certificate in PEM ({reason}); write it anew by `loadgen cluster certs`"
        ) from None
    return found


def _bytes(path: Path) -> bytes:
    try:
        with regular_file.opened(path) as file:
            return file.read(_BYTES_MAX)
    except OSError as error:
        raise HostError(f"{path} cannot be read ({error.strerror}); it has to be a file of this user") from error


def _require_valid(path: Path, certificate: Certificate, now: datetime) -> None:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > ends:
        raise HostError(f"{path} has expired on {ends:%Y-%m-%d %H:%M} UTC; issue another by `loadgen cluster certs`")
    if now < begins:
        raise HostError(
            f"{path} is valid from {begins:%Y-%m-%d %H:%M} UTC, and here it is {now:%Y-%m-%d %H:%M}; set the clock"
        )


def _require_key_of(files: Credentials, certificate: Certificate) -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if _mode(files.key) & 0o007:
        raise HostError(f"every user may read {files.key}; chmod 600 {files.key}, and issue another if one did")
    try:
        key = load_pem_private_key(_bytes(files.key), None)
    except (ValueError, TypeError) as error:
        reason = "it has a passphrase" if isinstance(error, TypeError) else "no key in PEM"
        raise HostError(f"{files.key} cannot be used: {reason}; loadgen takes keys in PEM without one") from None
    if key.public_key() != certificate.public_key():
        raise HostError(f"{files.key} is not the key of {files.certificate.name}; copy the two from one place")


def _about_modes(key: Path) -> tuple[str, ...]:
    return (f"the group of {key} may read it; chmod 600 {key}",) if _mode(key) & 0o070 else ()


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except OSError as error:
        raise HostError(f"{path} cannot be read ({error.strerror}); it has to be a file of this user") from error


def _about_end(path: Path, certificate: Certificate, now: datetime) -> tuple[str, ...]:
    ends = certificate.not_valid_after_utc
    return (f"{path} expires on {ends:%Y-%m-%d}; issue another before",) if ends - now < _SOON else ()


def mutual_tls(files: Credentials) -> Security:
    """Return these files as dask.distributed takes them, for all its roles; without TLS it does nothing.

    Raises: HostError without dask.distributed.
    """
    from loadgen.cluster.extra import require

    require()
    from distributed import Security

    certificate, key = str(files.certificate), str(files.key)
    return Security(
        require_encryption=True,
        tls_ca_file=str(files.authority),
        tls_min_version=None,
        tls_max_version=None,
        tls_ciphers=None,
        **{f"tls_{role}_cert": certificate for role in ("scheduler", "worker", "client")},
        **{f"tls_{role}_key": key for role in ("scheduler", "worker", "client")},
    )
