"""The JSON documents that are read: those of loadgen, of ip and of nft."""

from __future__ import annotations

from typing import Final

from loadgen.explain.formats import iproute_json, nft_json, own_json
from loadgen.explain.formats.json_documents import json_format

DOCUMENTS: Final = json_format(
    "json",
    "loadgen's watch --json, watch --port --json, doctor --json and summary.json; ip -j addr, ip -j route; nft -j list",
    (own_json.write, iproute_json.write, nft_json.write),
)
