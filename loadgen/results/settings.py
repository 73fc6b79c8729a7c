"""The settings of a cell in words: `strategy late, tcp_tw_reuse 1`.

A value is anything that YAML can hold; one that is no text is written as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from loadgen.results.schema.values import Settings


def short_keys(settings: Sequence[Settings]) -> dict[str, str]:
    """Return for every key the last word of it, or the whole key where two end alike."""
    keys = list(dict.fromkeys(key for cell in settings for key in cell))
    last = [key.rpartition(".")[2] for key in keys]
    return {key: word if last.count(word) == 1 else key for key, word in zip(keys, last, strict=True)}


def value_text(value: object) -> str:
    """Return a value as it is written in a scenario."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def named(settings: Settings, short: Mapping[str, str]) -> str:
    """Return all settings of one cell in one line."""
    return ", ".join(f"{short.get(key, key)} {value_text(value)}" for key, value in settings.items())
