"""Look-up of protocols: built-in ones, and those of installed packages."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from loadgen import protocols
from loadgen.model import Traffic
from loadgen.protocols.echo import Echo


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install a package with a protocol, as pip does."""
    info = tmp_path / "shout-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shout\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[loadgen.protocols]\nshout = shouting:Shout\nbroken = shouting.none:Shout\n"
    )
    (tmp_path / "shouting.py").write_text(
        "from dataclasses import dataclass\n"
        "@dataclass(frozen=True)\n"
        "class Shout:\n"
        "    word: str = 'hey'\n"
        "    def request(self, number):\n"
        "        return self.word.upper().encode()\n"
        "    def reply(self, request, received):\n"
        "        return received == request\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "shouting", raising=False)
    return tmp_path


def test_built_in_protocols() -> None:
    assert {"tcp", "echo", "payload"} <= set(protocols.names())
    assert protocols.find("echo") is Echo
    assert protocols.make(Traffic("echo", {"size": 3})) == Echo(3)
    assert protocols.make(Traffic()) is None
    with pytest.raises(LookupError):
        protocols.find("ecoh")


@pytest.mark.usefixtures("installed")
def test_protocols_of_packages_are_found_by_entry_point() -> None:
    assert {"shout", "broken"} <= set(protocols.names())
    made = protocols.make(Traffic("shout", {"word": "ahoy"}))
    assert not isinstance(made, protocols.PerTarget | None)
    assert made.request(0) == b"AHOY"
    with pytest.raises(ImportError):
        protocols.find("broken")
