"""Columns of a Parquet row group by way of pyarrow: of any type that may stand for texts and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzers.ingest.parquet_entries import Bitmap, Entries, fitting
from analyzers.ingest.sources import InputError
from analyzers.kernels.record_columns import DASH, parse_numbers
from analyzers.kernels.text import PADDING

WIDTHS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
Array = NDArray[Any]


class ArrowColumns:
    """The columns of record batches, the present one's at a time. Texts come as dictionaries."""

    def __init__(self, entries: Mapping[str, Entries | None]) -> None:
        """`entries`: of each column that is wanted, by its name in the file; None for one of numbers."""
        self.rows = 0
        self._batch: Any = None
        self._entries = entries
        self._dictionaries: dict[str, Any] = {}  # that gave the entries
        self._columns: dict[str, Any] = {}

    def take(self, batch: Any) -> None:
        """Go to a record batch. Raises InputError for columns that hold neither texts nor numbers."""
        self._batch = batch
        self.rows = batch.num_rows
        for name, entries in self._entries.items():
            self._columns[name] = column = _plain(name, batch.column(name), texts=entries is not None)
            if entries is None:
                continue
            dictionary = column.dictionary
            if name in self._dictionaries and _same(self._dictionaries[name], dictionary):
                continue
            self._dictionaries[name] = dictionary
            entries.cut(0)
            if len(dictionary):
                buffer, offsets = _dictionary_text(dictionary)
                entries.add(buffer, offsets[:-1], offsets[1:])

    def places(self, name: str) -> tuple[NDArray[np.int32], Bitmap]:
        """Entries of each row's text, and which rows have one."""
        array = self._columns[name]
        return _places(array), _bitmap(array)

    def numbers(self, name: str, kind: type[np.signedinteger[Any]]) -> tuple[Array, Bitmap]:
        """Values as `kind`, int32 or int64 (below 0 where one does not fit), and which rows have one."""
        array = self._columns[name]
        found = str(array.type)
        if not found.startswith("dictionary"):
            bitmap = _bitmap(array)
            if found.startswith("timestamp"):
                array = array.cast("timestamp[s]", safe=False).cast("int64")
            return fitting(_whole_numbers(array), kind), bitmap
        count = len(array.dictionary)
        parsed = np.full(count + 1, DASH, np.int64)
        buffer, offsets = _dictionary_text(array.dictionary)
        parse_numbers(buffer, offsets, count, parsed)
        values = parsed[np.minimum(_places(array).view(np.uint32), count)]
        bitmap = np.packbits(values != DASH, bitorder="little")
        there = _bitmap(array.indices)
        return fitting(values, kind), bitmap if there is None else bitmap & there

    def text(self, row: int) -> str:
        """All columns of a row."""
        return " ".join(_text(self._batch.column(i)[row]) for i in range(self._batch.num_columns))


def _plain(name: str, array: Any, *, texts: bool) -> Any:
    """A column as dictionary of texts, or as numbers. Raises InputError."""
    import pyarrow

    kind = array.type
    if pyarrow.types.is_nested(kind):
        raise InputError(f"the column {name} holds {kind}, neither texts nor numbers")
    try:
        if texts and not pyarrow.types.is_dictionary(kind):
            return array.cast("string").dictionary_encode()  # what no text can mean is passed over with its reason
        return array.cast("int64") if pyarrow.types.is_null(kind) or pyarrow.types.is_boolean(kind) else array
    except pyarrow.ArrowException as problem:
        raise InputError(f"the column {name}, of {kind}: {str(problem).strip()}") from problem


def is_text(kind: Any) -> bool:
    """Whether an Arrow type is one of texts."""
    return str(kind) in ("string", "large_string", "binary", "large_binary") or str(kind).startswith("dictionary")


def _text(value: Any) -> str:
    """A scalar; null is a dash."""
    try:
        return str(value.as_py()) if value.is_valid else "-"
    except UnicodeDecodeError:
        return bytes(value.value.as_buffer()).decode("utf-8", "replace")


def _bitmap(array: Any) -> Bitmap:
    bitmap = array.buffers()[0] if array.null_count else None
    if bitmap is None:
        return None
    bits = np.frombuffer(bitmap, np.uint8)
    first, size = array.offset // 8, (len(array) + 7) // 8
    if array.offset % 8 == 0:
        return bits[first : first + size]
    places = np.unpackbits(bits[first : first + size + 1], bitorder="little")[array.offset % 8 :][: len(array)]
    return np.packbits(places, bitorder="little")


def _raw(array: Any, kind: str) -> Array:
    """The values of an array as they lie in its buffer."""
    values: Array = np.frombuffer(array.buffers()[1], kind)
    return values[array.offset : array.offset + len(array)]


def _whole_numbers(array: Any) -> Array:
    """Integers of any width, at most int64; below 0 what does not fit or is no whole number, anything what is null."""
    kind = str(array.type)
    if kind in WIDTHS:
        values = _raw(array, kind)
        return values.view(np.int64) if kind == "uint64" else values
    values = array.fill_null(-1).to_numpy(zero_copy_only=False)
    if values.dtype.kind != "f":
        return np.full(len(values), -1, np.int64)
    good = (values >= 0) & (values < float(1 << 63)) & (values == np.floor(values))
    return np.where(good, np.where(good, values, 0).astype(np.int64), -1)


def _places(array: Any) -> NDArray[np.int32]:
    """Places of a dictionary array in its dictionary; where it is null they mean nothing."""
    indices = array.indices
    return _raw(indices if str(indices.type) == "int32" else indices.cast("int32"), "int32")


def _same(one: Any, other: Any) -> bool:
    """Whether two dictionaries are the same; most often they are one."""
    if len(one) == len(other) and one.offset == other.offset:
        mine, theirs = one.buffers(), other.buffers()
        if all((a.address if a else 0) == (b.address if b else 0) for a, b in zip(mine, theirs, strict=True)):
            return True
    return bool(one.equals(other))


def _dictionary_text(dictionary: Any) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """(bytes with padding on both sides, int64[n + 1] offsets into them) of a dictionary of texts."""
    kind = str(dictionary.type)
    if kind not in ("string", "binary"):
        dictionary = dictionary.cast("string")
    _, offsets, data = dictionary.buffers()
    places = np.frombuffer(offsets, np.int32)[dictionary.offset : dictionary.offset + len(dictionary) + 1]
    begin, end = int(places[0]), int(places[-1])
    buffer = np.zeros(end - begin + 2 * PADDING, np.uint8)
    if end > begin:
        buffer[PADDING : PADDING + end - begin] = np.frombuffer(data, np.uint8)[begin:end]
    return buffer, places.astype(np.int64) - begin + PADDING
