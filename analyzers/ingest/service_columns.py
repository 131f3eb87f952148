"""Service rows as the columns of a FlowTable, each made when it is asked for: memory is what a wide result costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzers.flows import COLUMNS, Direction, Evidence
from analyzers.kernels import tables as t

Array = NDArray[Any]

COUNTERS = {"packets": 3, "bytes": 4, "reply_packets": 5, "reply_bytes": 6}
"""Columns that are words of the rows as they stand: views, where all rows are in one array."""

_FIELDS: dict[str, tuple[int, int, int]] = {  # word of the row, its lowest bit, how many bits
    "network": (1, 48, 16),
    "port": (1, 32, 16),
    "protocol": (1, 24, 8),
    "verdict": (1, 22, 2),
    "evidence": (1, 0, 4),
    "observer": (2, 40, 24),
    "records": (2, 0, 40),
    "first": (7, 32, 32),
    "last": (7, 0, 32),
}
_KINDS = {column.name: np.dtype(column.dtype) for column in COLUMNS}
_ENDS = {"client": (32, t.CLIENT_INTERNED), "server": (0, t.SERVER_INTERNED)}
_SHAKEN = np.uint8(Evidence.SYN | Evidence.SYN_ACK)


class ServiceColumns(Mapping[str, Array]):
    """Columns of analyzers.flows.COLUMNS over rows that nobody writes to any more."""

    def __init__(self, rows: Sequence[Array], addresses: Array) -> None:
        """`rows` uint64[n, SERVICE_WORDS] each, one after the other; `addresses` uint64[m, ADDRESS_WORDS], interned."""
        self._rows = [part for part in rows if len(part)]
        self._addresses = addresses
        self._made: dict[str, Array] = {}

    def __len__(self) -> int:
        return len(COLUMNS)

    def __iter__(self) -> Iterator[str]:
        return (column.name for column in COLUMNS)

    def __getitem__(self, name: str) -> Array:
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def _make(self, name: str) -> Array:
        if name in COUNTERS:
            return self._word(COUNTERS[name])
        if name in _FIELDS:
            return self._field(*_FIELDS[name]).astype(_KINDS[name])
        if name == "direction":
            return np.where(self["evidence"] & _SHAKEN, np.uint8(Direction.HANDSHAKE), np.uint8(Direction.WELL_KNOWN))
        end, half = name.split("_")
        return self._addresses_of(*_ENDS[end], half)

    def _word(self, word: int) -> Array:
        parts = [part[:, word] for part in self._rows]
        return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, np.uint64), *parts])

    def _field(self, word: int, low: int, bits: int) -> Array:
        return (self._word(word) >> np.uint64(low)) & np.uint64((1 << bits) - 1)

    def _addresses_of(self, low: int, bit: Any, half: str) -> Array:
        numbers = self._field(0, low, 32)
        interned = np.flatnonzero(self._word(1) & bit)
        places = numbers[interned].astype(np.intp)
        if half == "hi":
            found = np.zeros(len(numbers), np.uint64)
            found[interned] = self._addresses[places, 0]
        else:
            found = numbers | t.MAPPED
            found[interned] = self._addresses[places, 1]
        return found
