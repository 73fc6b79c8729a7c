"""Certificates as they are read: which file is whose, and a sentence for each way in which one is bad."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from loadgen.authority import Authority
from loadgen.cluster import certificates, security
from loadgen.errors import ExitCode, HostError


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("cluster") / "certs"
    certificates.write(directory, ["a", "b.example"])
    return directory


@pytest.fixture
def certs(tmp_path: Path, written: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(written, tmp_path / "certs"))


@pytest.mark.parametrize(
    ("name", "host", "found"),
    [
        ("a", "h", "a"),
        (None, "a", "a"),
        (None, "A.example.org", "a"),
        (None, "b.example", "b.example"),
        ("a", "b.example", "a"),
        ("x", "b.example", "b.example"),
    ],
)
def test_an_agent_has_the_certificate_of_its_name_or_its_host(
    certs: Path, name: str | None, host: str, found: str
) -> None:
    assert security.of_agent(certs, name, host).name == found


def test_an_agent_has_the_only_certificate_whatever_its_name(certs: Path) -> None:
    (certs / "b.example.pem").unlink()
    files = security.of_agent(certs, "x", "h")
    assert files == security.Credentials("a", certs / "ca.pem", certs / "a.pem", certs / "a-key.pem")


def test_the_coordinator_has_its_own(certs: Path) -> None:
    assert security.of_coordinator(certs).name == "coordinator"
    (certs / "coordinator.pem").unlink()
    with pytest.raises(HostError, match=r"coordinator\.pem, or a single certificate.* those of a, b\.example"):
        security.of_coordinator(certs)
    (certs / "b.example.pem").unlink()
    assert security.of_coordinator(certs).name == "a"


def test_several_certificates_and_none_of_that_name(certs: Path) -> None:
    with pytest.raises(HostError, match=r"x\.pem or h\.pem, .*; it has those of a, b\.example; choose one by --name"):
        security.of_agent(certs, "x", "h")


def test_no_certificate_at_all(certs: Path) -> None:
    for name in ("a", "b.example"):
        (certs / f"{name}.pem").unlink()
    with pytest.raises(HostError, match=r"a\.pem or h\.pem.*; it has none, or write it"):
        security.of_agent(certs, "a", "h")


@pytest.mark.parametrize(
    ("lost", "words"),
    [("ca.pem", r"has no ca\.pem"), ("a-key.pem", r"has a\.pem and not its key; copy a-key\.pem beside it")],
)
def test_files_that_are_missing(certs: Path, lost: str, words: str) -> None:
    (certs / lost).unlink()
    with pytest.raises(HostError, match=words):
        security.of_agent(certs, "a", "h")


def test_a_directory_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"No such file or directory; give --certs the directory of ca\.pem"):
        security.of_agent(tmp_path / "no", "a", "h")


def test_good_files_are_good(certs: Path) -> None:
    assert security.check(security.of_agent(certs, "a", "h")) == ()


def other_authority(certs: Path) -> None:
    (certs / "ca.pem").write_text(Authority.new("loadgen cluster").pair.certificate_pem)


def other_key(certs: Path) -> None:
    shutil.copy(certs / "b.example-key.pem", certs / "a-key.pem")


def locked_key(certs: Path) -> None:
    key = load_pem_private_key((certs / "a-key.pem").read_bytes(), None)
    (certs / "a-key.pem").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )


def fifo(certs: Path) -> None:
    (certs / "a.pem").unlink()
    os.mkfifo(certs / "a.pem")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda certs: (certs / "ca.pem").write_text("x"), r"ca\.pem is no certificate in PEM"),
        (lambda certs: (certs / "a.pem").write_bytes(b"\xff\0"), r"a\.pem is no certificate in PEM"),
        (lambda certs: (certs / "a-key.pem").write_text("x"), r"a-key\.pem cannot be used: no key in PEM"),
        (lambda certs: (certs / "a-key.pem").chmod(0o604), r"every user may read .*; chmod 600 "),
        (lambda certs: (certs / "a-key.pem").unlink(), r"a-key\.pem cannot be read \(No such file"),
        (locked_key, "it has a passphrase"),
        (other_key, r"is not the key of a\.pem"),
        (other_authority, "they are of two authorities"),
        (fifo, r"a\.pem cannot be read \(is a FIFO"),
    ],
)
def test_each_bad_file_is_a_sentence(certs: Path, damage: Callable[[Path], object], words: str) -> None:
    files = security.of_agent(certs, "a", "h")
    damage(certs)
    with pytest.raises(HostError, match=words) as caught:
        security.check(files)
    assert caught.value.exit_code == ExitCode.HOST
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("days", "words"),
    [(400, r"ca\.pem has expired on "), (-2, r"ca\.pem is valid from .*; set the clock")],
)
def test_a_time_at_which_they_are_not_valid(certs: Path, days: int, words: str) -> None:
    files = security.of_agent(certs, "a", "h")
    with pytest.raises(HostError, match=words):
        security.check(files, datetime.now(UTC) + timedelta(days=days))


def test_what_works_and_ought_to_be_changed(certs: Path) -> None:
    files = security.of_agent(certs, "a", "h")
    (certs / "a-key.pem").chmod(0o640)
    group, soon = security.check(files, datetime.now(UTC) + timedelta(days=360))
    assert group.startswith("the group of ")
    assert "a.pem expires on " in soon


def test_a_chain_may_lead_to_the_authority(certs: Path) -> None:
    """As an authority of an organisation has them: an intermediate certificate in the same file."""
    intermediate = (certs / "ca.pem").read_text()
    (certs / "a.pem").write_text((certs / "a.pem").read_text() + intermediate)
    other_authority(certs)
    assert security.check(security.of_agent(certs, "a", "h")) == ()


def test_dask_takes_them_for_every_role(certs: Path) -> None:
    pytest.importorskip("distributed", reason="needs the extra: pip install 'loadgen[cluster]'")
    found = security.mutual_tls(security.of_agent(certs, "a", "h"))
    assert found.require_encryption
    for role in ("scheduler", "worker", "client"):
        said = found.get_tls_config_for_role(role)
        assert said["cert"] == str(certs / "a.pem")
        assert said["key"] == str(certs / "a-key.pem")
        assert said["ca_file"] == str(certs / "ca.pem")
