"""The outside address that the kernel's NAT gives a connection, of a range of several.

It is a hash of the client's address and the target's, without a random key, so it can be foretold; nothing else of the
connection matters, and neither does how full an address is. Of IPv6 the pool lies within one /96, see
`loadgen.scenario.nat`, so that only the last word of an address is chosen.

Sources: find_best_ips_proto(), net/netfilter/nf_nat_core.c; jhash2(), include/linux/jhash.h; reciprocal_scale(),
include/linux/math.h.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from functools import lru_cache, reduce
from operator import xor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadgen.model import Nat, NatFlag, family_of

_JHASH_INITVAL: Final = 0xDEADBEEF
#: Rotations of __jhash_mix() and of __jhash_final().
_MIX: Final = (4, 6, 8, 16, 19, 4)
_FINAL: Final = (14, 11, 25, 16, 4, 14, 24)
#: Pools of sources whose hashes are kept: a remedy asks about the same ones for one range after another.
_POOLS: Final = 8
_Words = NDArray[np.uint32]


def outside(nat: Nat, source: str, target: str) -> str:
    """Return the outside address of connections from a source address to a target's address."""
    return outsides(nat, (source,), target)[0]


def outsides(nat: Nat, sources: Sequence[str], target: str) -> list[str]:
    """Return the outside address of each of these source addresses, all of the target's family."""
    pool = nat.pool(family_of(target))
    if len(pool) == 1:
        return [pool[0]] * len(sources)
    spread = _spread(tuple(sources), target, NatFlag.PERSISTENT in nat.flags)
    return [pool[place] for place in (spread.astype(np.uint64) * np.uint64(len(pool)) >> np.uint64(32)).tolist()]


@lru_cache(_POOLS)
def _spread(sources: tuple[str, ...], target: str, persistent: bool) -> _Words:
    """Return what decides on the last word of each source's outside address, 0 to 2**32 - 1."""
    to = _words((target,))[0]
    padded = np.zeros((len(sources), 4), dtype=np.uint32)
    words = _words(sources)
    padded[:, : words.shape[1]] = words
    if persistent:
        return jhash2(padded, 0)
    # Each word of the target before the last one changes the hash once more.
    return jhash2(padded, int(to[-1])) ^ np.uint32(reduce(xor, map(int, to[:-1]), 0))


def _words(addresses: Sequence[str]) -> _Words:
    """Return the words of addresses of one family as the kernel reads them, in this machine's order of bytes."""
    family = family_of(addresses[0])
    packed = b"".join(socket.inet_pton(family, address) for address in addresses)
    return np.frombuffer(packed, dtype=np.uint32).reshape(len(addresses), -1)


def jhash2(words: _Words, initial: int) -> _Words:
    """Return the kernel's hash of four words: uint32 (n, 4) -> (n,)."""
    a = np.full(len(words), (_JHASH_INITVAL + (4 << 2) + initial) & 0xFFFFFFFF, dtype=np.uint32)
    a, b, c = a + words[:, 0], a + words[:, 1], a + words[:, 2]
    for turn in _MIX:
        a = (a - c) ^ _rotated(c, turn)
        a, b, c = b, c + b, a  # the next of the six does the same with the next word
    a = a + words[:, 3]
    for turn in _FINAL:
        c = (c ^ b) - _rotated(b, turn)
        a, b, c = b, c, a
    return b


def _rotated(words: _Words, bits: int) -> _Words:
    return words << np.uint32(bits) | words >> np.uint32(32 - bits)
