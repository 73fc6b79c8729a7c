"""Files of certificates: which are written, with which modes, and that none is written over."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509

from loadgen.cluster import certificates
from loadgen.errors import HostError, UsageError


def written(directory: Path, *hosts: str) -> list[str]:
    return [path.name for path in certificates.write(directory, hosts)]


def loaded(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_an_authority_a_coordinator_and_a_certificate_for_each_host(tmp_path: Path) -> None:
    directory = tmp_path / "certs"
    assert written(directory, "a", "B.example", "::1", "a") == ["coordinator.pem", "a.pem", "b.example.pem", "::1.pem"]
    names = ("ca", "coordinator", "a", "b.example", "::1")
    assert sorted(path.name for path in directory.iterdir()) == sorted(
        file for name in names for file in (f"{name}.pem", f"{name}-key.pem")
    )
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for path in directory.glob("*-key.pem"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for name in names[1:]:
        loaded(directory / f"{name}.pem").verify_directly_issued_by(loaded(directory / "ca.pem"))


def test_a_further_host_is_signed_by_the_authority_that_is_there(tmp_path: Path) -> None:
    written(tmp_path / "c", "a")
    before = {path.name: path.read_bytes() for path in (tmp_path / "c").iterdir()}
    assert written(tmp_path / "c", "b") == ["b.pem"]
    assert all((tmp_path / "c" / name).read_bytes() == data for name, data in before.items())
    loaded(tmp_path / "c" / "b.pem").verify_directly_issued_by(loaded(tmp_path / "c" / "ca.pem"))


def test_a_host_that_has_a_certificate_keeps_it_and_no_other_is_written(tmp_path: Path) -> None:
    written(tmp_path / "c", "a")
    with pytest.raises(UsageError, match=r"a\.pem is there already and is kept; move it away"):
        written(tmp_path / "c", "b", "a")
    assert not (tmp_path / "c" / "b.pem").exists()


@pytest.mark.parametrize("lost", ["ca.pem", "ca-key.pem"])
def test_half_an_authority_is_no_reason_to_make_another(tmp_path: Path, lost: str) -> None:
    written(tmp_path / "c", "a")
    (tmp_path / "c" / lost).unlink()
    with pytest.raises(HostError, match=f"{lost} is not: an authority signs further hosts where both are"):
        written(tmp_path / "c", "b")


def test_an_authority_that_is_none(tmp_path: Path) -> None:
    written(tmp_path / "c", "a")
    (tmp_path / "c" / "ca-key.pem").write_text("nothing")
    with pytest.raises(HostError, match="not a certificate and its key in PEM"):
        written(tmp_path / "c", "b")


def test_no_file_is_written_through_a_link(tmp_path: Path) -> None:
    directory, elsewhere = tmp_path / "c", tmp_path / "elsewhere"
    directory.mkdir(mode=0o700)
    (directory / "a-key.pem").symlink_to(elsewhere)
    with pytest.raises(UsageError, match=r"a-key\.pem is there already"):
        written(directory, "a")
    (directory / "coordinator-key.pem").symlink_to(elsewhere)
    with pytest.raises(UsageError, match=r"coordinator-key\.pem is there already"):
        written(directory, "b")
    assert not elsewhere.exists()


def test_a_directory_that_others_may_look_into_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c").chmod(0o755)
    with pytest.raises(HostError, match=r"chmod 700 "):
        written(tmp_path / "c", "a")


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="No such file or directory"):
        written(tmp_path / "no" / "c", "a")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is there already"):
        written(tmp_path / "file", "a")


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("../a", "write a host name of letters"),
        ("bücher", "write a host name of letters"),
        ("ca", "the name of another file here"),
        ("coordinator", "the name of another file here"),
        ("a-key", "the name of another file here"),
        ("10.0.0", "no number"),
    ],
)
def test_names_that_are_no_hosts(tmp_path: Path, host: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        written(tmp_path / "c", host)
    assert list(tmp_path.iterdir()) == []


def test_hosts_have_to_be_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--hosts a,b,c"):
        written(tmp_path / "c")
