"""Addresses and prefixes as keys of columns: lookups of (network, hi, lo) by sorted hashes, checked bit by bit."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analyzers.flows import IPV4_MAPPED

ABSENT = -1
_ALL = 0xFFFF_FFFF_FFFF_FFFF

Level = tuple[int, int]
"""(version, prefix length). Hosts are at (4, 32) and (6, 128)."""


class Place(NamedTuple):
    """An address, or the first address of a prefix, in a network; `network` is an index."""

    network: int
    level: Level
    hi: int
    lo: int


def level_of_address(hi: int, lo: int) -> Level:
    """The level of a single address."""
    return (4, 32) if hi == 0 and lo >> 32 == IPV4_MAPPED >> 32 else (6, 128)


def place_of_prefix(network: int, text: str) -> Place:
    """The place of a CIDR in normal form. Raises ValueError when it is none."""
    prefix = ipaddress.ip_network(text)
    number = int(prefix.network_address)
    if prefix.version == 4:
        return Place(network, (4, prefix.prefixlen), 0, IPV4_MAPPED | number)
    return Place(network, (6, prefix.prefixlen), number >> 64, number & _ALL)


def masks(level: Level) -> tuple[int, int]:
    """What of an address's halves the prefixes of a level keep."""
    length = level[1] + 96 if level[0] == 4 else level[1]
    number = (1 << 128) - (1 << (128 - length))
    return number >> 64, number & _ALL


class PlaceTable:
    """Keys of one level to numbers."""

    def __init__(self, entries: Mapping[tuple[int, int, int], int]) -> None:
        """`entries`: (network, hi, lo) -> number, not negative."""
        keys = sorted(entries)
        network = np.array([k[0] for k in keys], np.int64)
        hi = np.array([k[1] for k in keys], np.uint64)
        lo = np.array([k[2] for k in keys], np.uint64)
        number = np.array([entries[k] for k in keys], np.int64)
        self._seed = 0
        while True:
            hashes = _hash(network, hi, lo, self._seed)
            if len(np.unique(hashes)) == len(hashes):
                break
            self._seed += 1
        order = np.argsort(hashes)
        self._hashes, self._network, self._hi, self._lo = hashes[order], network[order], hi[order], lo[order]
        self._number = number[order]

    def find(self, network: NDArray[np.int64], hi: NDArray[np.uint64], lo: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The number of each row's key; ABSENT where there is none."""
        at = np.searchsorted(self._hashes, _hash(network, hi, lo, self._seed))
        at[at == len(self._hashes)] = 0
        same = (self._lo[at] == lo) & (self._hi[at] == hi) & (self._network[at] == network)
        return np.where(same, self._number[at], ABSENT)


def _hash(network: NDArray[np.int64], hi: NDArray[np.uint64], lo: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """64 well-mixed bits (the finaliser of splitmix64 over a combination of the three)."""
    value: NDArray[np.uint64] = lo + hi * np.uint64(0x9E3779B97F4A7C15)
    value += (network.astype(np.uint64) + np.uint64(seed)) * np.uint64(0xD6E8FEB86659FD93)
    value ^= value >> np.uint64(30)
    value *= np.uint64(0xBF58476D1CE4E5B9)
    value ^= value >> np.uint64(27)
    value *= np.uint64(0x94D049BB133111EB)
    value ^= value >> np.uint64(31)
    return value
