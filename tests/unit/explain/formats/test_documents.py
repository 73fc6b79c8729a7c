"""The documents that are read, between other text."""

from __future__ import annotations

from tests.explained import CAPTURED, evidence_of


def test_documents_of_several_programs_in_one_paste() -> None:
    names = ("own/watch.json", "ip/ip-j-addr.json", "rules/nft-j.json", "own/ports.json", "ip/ip-j-route.json")
    found = evidence_of("\nand:\n".join((CAPTURED / name).read_text() for name in names))
    assert [piece.what.split(" --port")[0] for piece in found.pieces] == [
        "loadgen watch --json",
        "ip -j addr",
        "nft -j list ruleset",
        "loadgen watch",
        "ip -j route",
    ]
    assert len(found.unread) == 4
