"""The table of all readers of foreign input."""

from __future__ import annotations

from typing import Final

from tests.fuzz.reader import Reader
from tests.fuzz.readers import explain, http, kernel, peers, results, scenario

READERS: Final[tuple[Reader, ...]] = (
    *scenario.READERS,
    *results.READERS,
    *explain.READERS,
    *kernel.READERS,
    *peers.READERS,
    *http.READERS,
)
BY_NAME: Final = {reader.name: reader for reader in READERS}
