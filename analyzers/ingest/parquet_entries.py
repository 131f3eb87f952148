"""What the texts of a Parquet column mean: each entry of its dictionary is parsed once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from analyzers.ingest.worker_tables import WorkerTables
from analyzers.kernels.log_line import Reason
from analyzers.kernels.record_columns import A_DASH, A_GOOD, BAD_VERDICT, AddressTable, parse_addresses, parse_words

Bitmap = NDArray[np.uint8] | None
"""Which rows have a value, lowest bit first; None: all."""

VERDICTS = {"ACCEPT": 1, "REJECT": 2, "-": 0}
STATUSES = {"OK": 0, "NODATA": int(Reason.NODATA), "SKIPDATA": int(Reason.SKIPDATA)}


class Entries(Protocol):
    """Meanings of the entries of a dictionary. Some follow for the texts of a batch that are in no dictionary."""

    def add(self, buffer: NDArray[np.uint8], begins: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """More entries: buffer[begins[i]:ends[i]], with PADDING bytes on both sides."""

    def cut(self, size: int) -> None:
        """Forget all but the first `size` entries."""

    def table(self) -> Any:
        """One value for each entry, and one for null behind them; until entries are added or cut."""


class AddressEntries:
    """Addresses: an AddressTable."""

    def __init__(self) -> None:
        self._size = 0
        self._words = np.zeros((1, 2), np.uint64)
        self._kinds = np.zeros(1, np.uint8)

    def add(self, buffer: NDArray[np.uint8], begins: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """See Entries."""
        first, self._size = self._size, self._size + len(begins)
        self._words = _with_room(self._words, self._size + 1)
        self._kinds = _with_room(self._kinds, self._size + 1)
        parse_addresses(buffer, begins, ends, self._words[first : self._size], self._kinds[first : self._size])

    def cut(self, size: int) -> None:
        """See Entries."""
        self._size = size

    def table(self) -> AddressTable:
        """Null is what a dash is."""
        self._kinds[self._size] = A_DASH
        kinds = self._kinds[: self._size + 1]
        return AddressTable(self._words[: self._size + 1], kinds, bool((kinds[:-1] != A_GOOD).any()))


class NameEntries:
    """Names of observers or networks: uint64, number + 1 in the worker's tables, 0 for dashes and null."""

    def __init__(self, tables: WorkerTables, kind: str) -> None:
        """`kind`: "observer" or "network"."""
        self._size = 0
        self._numbers = np.zeros(1, np.uint64)
        self._tables = tables
        self._kind = kind

    def add(self, buffer: NDArray[np.uint8], begins: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """See Entries."""
        first, self._size = self._size, self._size + len(begins)
        self._numbers = _with_room(self._numbers, self._size + 1)
        dash = (ends - begins == 1) & (buffer[np.minimum(begins, buffer.size - 1)] == ord("-"))
        spans = self._numbers[first : self._size]  # which become numbers
        spans[:] = begins
        stops = np.where(dash, begins, ends).astype(np.uint64)
        self._tables.number_names(self._kind, buffer, spans, stops)

    def cut(self, size: int) -> None:
        """See Entries."""
        self._size = size

    def table(self) -> NDArray[np.uint64]:
        """See Entries."""
        self._numbers[self._size] = 0
        return self._numbers[: self._size + 1]


class WordEntries:
    """Words of a small set: uint8, the code of each."""

    def __init__(self, words: Mapping[str, int], other: int, null: int) -> None:
        """`words`, of at most eight characters, and their codes; the codes of any other word and of null."""
        self._size = 0
        self._codes = np.zeros(1, np.uint8)
        self._null = null
        known = [(int.from_bytes(word.encode(), "little"), len(word), code) for word, code in words.items()]
        self._known = np.array([*known, (0, -1, other)], np.int64)

    def add(self, buffer: NDArray[np.uint8], begins: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """See Entries."""
        first, self._size = self._size, self._size + len(begins)
        self._codes = _with_room(self._codes, self._size + 1)
        parse_words(buffer, begins, ends, self._known, self._codes[first : self._size])

    def cut(self, size: int) -> None:
        """See Entries."""
        self._size = size

    def table(self) -> NDArray[np.uint8]:
        """See Entries."""
        self._codes[self._size] = self._null
        return self._codes[: self._size + 1]


def verdict_entries() -> WordEntries:
    """Of the column `action`."""
    return WordEntries(VERDICTS, BAD_VERDICT, VERDICTS["-"])


def status_entries() -> WordEntries:
    """Of the column `log-status`."""
    return WordEntries(STATUSES, int(Reason.STATUS), int(Reason.STATUS))


def fitting(values: NDArray[Any], kind: type[np.signedinteger[Any]]) -> NDArray[Any]:
    """Whole numbers as `kind`, int32 or int64; below 0 where one does not fit."""
    if kind is np.int32 and values.dtype in (np.int64, np.uint32):
        return np.where((values < 0) | (values > 0x7FFF_FFFF), -1, values.astype(np.int64)).astype(np.int32)
    return values.astype(kind, copy=False)


def _with_room(array: NDArray[Any], size: int) -> NDArray[Any]:
    """The array, with at least `size` rows."""
    if size <= len(array):
        return array
    larger = np.zeros((max(size, 2 * len(array)), *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger
