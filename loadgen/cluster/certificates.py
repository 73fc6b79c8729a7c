"""The authority of a cluster, and a certificate with its key for each host: files for mutual TLS.

    ca.pem                  the authority's certificate, which every host has to have
    ca-key.pem              its key, which signs further hosts; it stays where it was made
    coordinator.pem, -key   of the host that runs `loadgen run --agents`
    HOST.pem, HOST-key.pem  of each agent

Every certificate is a server's and a client's, because agents and coordinator connect to each other both ways. A file
that is there is never written anew, nor through a link. Keys are readable by their owner alone.
"""

from __future__ import annotations

import ipaddress
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from loadgen import regular_file
from loadgen.authority import Authority, KeyPair
from loadgen.errors import HostError, UsageError

AUTHORITY: Final = "ca"
COORDINATOR: Final = "coordinator"
_KEY_MODE: Final = 0o600
_CERTIFICATE_MODE: Final = 0o644
_DIRECTORY_MODE: Final = 0o700


def certificate_path(directory: Path, name: str) -> Path:
    """Return the path of a certificate by the name of its host, of the coordinator or of the authority."""
    return directory / f"{name}.pem"


def key_path(directory: Path, name: str) -> Path:
    """Return the path of the key of that certificate."""
    return directory / f"{name}-key.pem"


def write(directory: Path, hosts: Sequence[str]) -> tuple[Path, ...]:
    """Write a certificate and key for each host, and for the coordinator; return the paths of the certificates.

    An authority whose key is in the directory signs them; where there is none, one is made first.
    Raises: UsageError for a name that no host has, or a host that has a certificate already; HostError if the
    directory holds half an authority, is open to other users, or cannot be written.
    """
    names = tuple(dict.fromkeys(map(_host, hosts)))
    if not names:
        raise UsageError("name the hosts of the agents: --hosts a,b,c")
    with _making(directory):
        directory.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
    _require_private(directory)
    for name in names:
        for path in (certificate_path(directory, name), key_path(directory, name)):
            if os.path.lexists(path):
                raise UsageError(f"{path} is there already and is kept; move it away to issue another for {name}")
    authority = _authority(directory)
    if not os.path.lexists(certificate_path(directory, COORDINATOR)):
        names = (COORDINATOR, *names)
    for name in names:
        _write_pair(directory, name, authority.issue(name, [name], client=True))
    return tuple(certificate_path(directory, name) for name in names)


def _host(text: str) -> str:
    """Return the name of a host as its files have it."""
    from loadgen.scenario import units  # with libraries that an agent, which imports this module, can do without

    name = text.strip().lower()
    try:
        ipaddress.ip_address(name)
    except ValueError:
        try:
            name = units.host_name(name)
        except ValueError as error:
            raise UsageError(f"--hosts: {error}") from None
    if name in (AUTHORITY, COORDINATOR) or name.endswith("-key"):
        raise UsageError(
            f"--hosts: {name} is the name of another file here; give the host another name, or its address"
        )
    return name


def _authority(directory: Path) -> Authority:
    """Return the authority of the directory; make it if there is none."""
    certificate, key = certificate_path(directory, AUTHORITY), key_path(directory, AUTHORITY)
    there = [path for path in (certificate, key) if os.path.lexists(path)]
    if not there:
        authority = Authority.new("loadgen cluster")
        _write_pair(directory, AUTHORITY, authority.pair)
        return authority
    if len(there) == 1:
        missing = key if there == [certificate] else certificate
        raise HostError(
            f"{there[0]} is there and {missing.name} is not: an authority signs further hosts where both are; "
            "fetch the other, or give another --out for a new authority"
        )
    authority = Authority(KeyPair(_text(certificate), _text(key)))
    try:
        authority.issue("trial", ["trial"])
    except (ValueError, TypeError) as error:
        raise HostError(f"{certificate} and {key.name} are not a certificate and its key in PEM ({error})") from None
    return authority


def _text(path: Path) -> str:
    with _making(path), regular_file.opened(path) as file:
        return file.read().decode(errors="replace")


def _require_private(directory: Path) -> None:
    """Raise HostError if other users may look into the directory, or it is theirs."""
    with _making(directory):
        found = os.stat(directory)
    if not stat.S_ISDIR(found.st_mode):
        raise UsageError(f"{directory} is no directory; give another --out")
    if found.st_uid != os.geteuid():
        raise HostError(f"{directory} is another user's; give an --out of your own")
    if found.st_mode & 0o077:
        raise HostError(f"other users may look into {directory}, where keys are kept; chmod 700 {directory}")


def _write_pair(directory: Path, name: str, pair: KeyPair) -> None:
    """Write the key first: a certificate that is there has its key beside it."""
    _write(key_path(directory, name), pair.key_pem, _KEY_MODE)
    _write(certificate_path(directory, name), pair.certificate_pem, _CERTIFICATE_MODE)


def _write(path: Path, text: str, mode: int) -> None:
    with _making(path):
        # O_EXCL: neither over a file nor through a link, open(2).
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with _making(path), os.fdopen(fd, "w") as file:
        file.write(text)


@contextmanager
def _making(path: Path) -> Iterator[None]:
    """Tell of a path that cannot be used. Raises: HostError; UsageError for one that is there already."""
    try:
        yield
    except FileExistsError as error:
        raise UsageError(f"{path} is there already and is kept; move it away, or give another --out") from error
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}; give an --out that you may write") from error
