"""Worker tables to the store's columns, and stored connections back to the words that directions are settled from.

The one place that knows both the kernels' row words (analyzers.kernels.tables) and the store's columns (schema.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzers.flows import PAIR
from analyzers.ingest.service_columns import COUNTERS, ServiceColumns
from analyzers.ingest.worker_tables import WorkerTables
from analyzers.kernels import tables as t
from analyzers.kernels.record import S_ADDRESSES, S_CONNECTIONS, S_SERVICES, S_SLOT_SECONDS
from analyzers.kernels.windows import WINDOW_WORDS
from analyzers.store.schema import CONNECTIONS, FLOWS, WINDOWS, StoreTable

Array = NDArray[Any]
Columns = dict[str, Array]
Cuts = Mapping[tuple[str, int, int], tuple[int, ...]]

CHUNK_ROWS = 1 << 18
"""Rows turned into columns at once: about 30 MB."""


class Stretches:
    """The kernels' numbers of stretches of ownership (`epoch_of`) as the store's, which any later run understands."""

    def __init__(self, cuts: Cuts) -> None:
        self._cuts = cuts

    def codes(self, epochs: Array, hi: Array, lo: Array, network: Array, networks: list[str]) -> Array:
        """int64[n]: see analyzers.store.schema.STRETCH. `network` indexes `networks`, the names."""
        found = np.zeros(len(epochs), np.int64)
        rows = np.flatnonzero(epochs)
        if not len(rows):
            return found
        keys = np.stack([epochs[rows].astype(np.uint64), hi[rows], lo[rows], network[rows].astype(np.uint64)], axis=1)
        unique, number = np.unique(keys, axis=0, return_inverse=True)
        codes = [self._code(epoch, high, low, networks[net]) for epoch, high, low, net in unique.tolist()]
        found[rows] = np.array(codes, np.int64)[number.reshape(-1)]
        return found

    def _code(self, epoch: int, hi: int, lo: int, network: str) -> int:
        known = (self._cuts.get((name, hi, lo)) for name in (*network.split(PAIR), ""))
        times = next(cuts for cuts in known if cuts)
        before = (epoch - 2) // 2
        since = max(1, times[before - 1]) if before else 1
        return 2 * since + (epoch & 1)


def flow_chunks(tables: WorkerTables, stretches: Stretches, slice_seconds: int) -> Iterator[Columns]:
    """The service rows as columns of schema.FLOWS but `source`; network and observer are the worker's numbers."""
    count = int(tables.tables.state[S_SERVICES])
    networks = tables.network_names() if count else []
    for start in range(0, count, CHUNK_ROWS):
        stop = min(start + CHUNK_ROWS, count)
        now = tables.tables
        rows = now.services[start:stop]
        columns = dict(ServiceColumns([rows], now.addresses))
        columns |= {name: columns[name].copy() for name in COUNTERS}  # the rows are used again before these are
        ends = (
            ("client", rows[:, 0] >> t.U32, t.CLIENT_INTERNED),
            ("server", rows[:, 0] & t.MASK32, t.SERVER_INTERNED),
        )
        for end, numbers, bit in ends:
            interned = (rows[:, 1] & bit) != 0
            epochs = np.zeros(len(rows), np.uint64)
            epochs[interned] = now.addresses[numbers[interned].astype(np.intp), 2]
            columns[f"{end}_stretch"] = stretches.codes(
                epochs, columns[f"{end}_hi"], columns[f"{end}_lo"], columns["network"], networks
            )
        columns["slice"] = _slices(columns["first"], slice_seconds)
        yield columns


def connection_chunks(tables: WorkerTables, stretches: Stretches, slice_seconds: int) -> Iterator[Columns]:
    """The connection rows as columns of schema.CONNECTIONS but `source`; numbers are the worker's."""
    count = int(tables.tables.state[S_CONNECTIONS])
    networks = tables.network_names() if count else []
    for start in range(0, count, CHUNK_ROWS):
        rows = tables.tables.connections[start : min(start + CHUNK_ROWS, count)]
        network = (rows[:, 5] >> t.U48).astype(np.intp)
        first = (rows[:, 12] >> t.U32).astype(np.int64)
        yield {
            "slice": _slices(first, slice_seconds),
            "network": network,
            "a_hi": rows[:, 0].copy(),
            "a_lo": rows[:, 1].copy(),
            "b_hi": rows[:, 2].copy(),
            "b_lo": rows[:, 3].copy(),
            "a_stretch": stretches.codes(rows[:, 6] >> t.U32, rows[:, 0], rows[:, 1], network, networks),
            "b_stretch": stretches.codes(rows[:, 6] & t.MASK32, rows[:, 2], rows[:, 3], network, networks),
            "a_port": (rows[:, 4] >> t.U48).astype(np.uint16),
            "b_port": ((rows[:, 4] >> t.U32) & t.MASK16).astype(np.uint16),
            "protocol": ((rows[:, 4] >> t.U24) & np.uint64(0xFF)).astype(np.uint8),
            "verdict": ((rows[:, 4] >> t.U22) & np.uint64(3)).astype(np.uint8),
            "observer": (rows[:, 5] & t.MASK48).astype(np.intp),
            "evidence": (rows[:, 7] >> t.U48).astype(np.uint16),
            "records": rows[:, 7] & t.MASK48,
            "a_packets": rows[:, 8].copy(),
            "a_bytes": rows[:, 9].copy(),
            "b_packets": rows[:, 10].copy(),
            "b_bytes": rows[:, 11].copy(),
            "first": first,
            "last": (rows[:, 12] & t.MASK32).astype(np.int64),
        }


def window_columns(rows: Array, slot_seconds: int) -> Columns:
    """Rows of analyzers.kernels.windows as columns of schema.WINDOWS but `source`; observers' numbers are theirs."""
    return {
        "observer": (rows[:, 0] >> t.U40).astype(np.intp),
        "seconds": np.full(len(rows), slot_seconds, np.int64),
        "slice": (rows[:, 0] & t.MASK40).astype(np.int64) * slot_seconds,
        "covered": rows[:, 1].copy(),
        "lost": rows[:, 2].copy(),
        "nodata": rows[:, 3] >> t.U32,
        "skipdata": rows[:, 3] & t.MASK32,
    }


def window_rows(columns: Columns) -> Array:
    """The way back of `window_columns`: uint64[n, WINDOW_WORDS], all of slots of one length."""
    slot = columns["slice"].astype(np.uint64) // np.maximum(columns["seconds"].astype(np.uint64), np.uint64(1))
    rows = np.empty((len(slot), WINDOW_WORDS), np.uint64)
    rows[:, 0] = (columns["observer"].astype(np.uint64) << t.U40) | slot
    rows[:, 1], rows[:, 2] = columns["covered"], columns["lost"]
    rows[:, 3] = (columns["nodata"].astype(np.uint64) << t.U32) | columns["skipdata"].astype(np.uint64)
    return rows


def _slices(first: Array, slice_seconds: int) -> Array:
    return first - first % np.int64(slice_seconds) if slice_seconds else np.zeros(len(first), np.int64)


def connection_words(columns: Columns) -> Array:
    """uint64[n, CONNECTION_WORDS] of columns as above; `a_stretch` and `b_stretch` are small numbers (epochs) here."""
    words = np.zeros((len(columns["a_hi"]), t.CONNECTION_WORDS), np.uint64)

    def wide(name: str) -> Array:
        return columns[name].astype(np.uint64)

    for word, name in enumerate(("a_hi", "a_lo", "b_hi", "b_lo")):
        words[:, word] = columns[name]
    words[:, 4] = (wide("a_port") << t.U48) | (wide("b_port") << t.U32)
    words[:, 4] |= (wide("protocol") << t.U24) | (wide("verdict") << t.U22)
    words[:, 5] = (wide("network") << t.U48) | wide("observer")
    words[:, 6] = (wide("a_stretch") << t.U32) | wide("b_stretch")
    words[:, 7] = (wide("evidence") << t.U48) | wide("records")
    for word, name in enumerate(("a_packets", "a_bytes", "b_packets", "b_bytes"), 8):
        words[:, word] = columns[name]
    words[:, 12] = (wide("first") << t.U32) | wide("last")
    return words


class Emptier:
    """Turns one worker's rows into a store's columns: its numbers for names, its codes for stretches, its slices."""

    def __init__(self, cuts: Cuts, slice_seconds: int, numbers_of: Callable[[str, list[str]], list[int]]) -> None:
        """`numbers_of(table, names)`: the store's numbers of names in `networks` or `observers`."""
        self._stretches = Stretches(cuts)
        self._slice_seconds = slice_seconds
        self._numbers_of = numbers_of
        self._known = {name: np.zeros(0, np.uint32) for name in ("network", "observer")}

    def chunks(self, tables: WorkerTables) -> Iterator[tuple[StoreTable, Columns]]:
        """Every row, with all columns of schema.py but `source`; the tables are empty afterwards."""
        for table, make in ((FLOWS, flow_chunks), (CONNECTIONS, connection_chunks)):
            for columns in make(tables, self._stretches, self._slice_seconds):
                columns["network"] = self._numbers("network", tables.network_names())[columns["network"]]
                columns["observer"] = self._numbers("observer", tables.observer_names())[columns["observer"]]
                yield table, columns
        tables.clear()

    def windows(self, tables: WorkerTables) -> tuple[StoreTable, Columns]:
        """What the records cover, with all columns but `source`; the tables know of no windows afterwards."""
        columns = window_columns(tables.window_rows(), int(tables.tables.state[S_SLOT_SECONDS]))
        columns["observer"] = self._numbers("observer", tables.observer_names())[columns["observer"]]
        tables.clear_windows(open_too=False)
        return WINDOWS, columns

    def _numbers(self, name: str, names: list[str]) -> Array:
        known = self._known[name]
        if len(names) > len(known):
            fresh = np.array(self._numbers_of(f"{name}s", names[len(known) :]), np.uint32)
            self._known[name] = known = np.concatenate([known, fresh])
        return known


def holds_rows(tables: WorkerTables) -> bool:
    """Whether there is anything to empty."""
    state = tables.tables.state
    return bool(state[S_SERVICES] or state[S_CONNECTIONS])


def footprint(tables: WorkerTables, growing: bool = False) -> int:
    """Bytes that rows and indices take; `growing`: once every index that is nearly full has grown and is full."""
    now = tables.tables
    total = 0
    for counter, words, index in (
        (S_SERVICES, t.SERVICE_WORDS, now.service_index),
        (S_CONNECTIONS, t.CONNECTION_WORDS, now.connection_index),
        (S_ADDRESSES, t.ADDRESS_WORDS, now.address_index),
    ):
        rows, size = int(now.state[counter]), index.size
        if growing and t.INDEX_SLOTS * (rows + 2048) >= t.INDEX_ROWS * size:
            size *= 4
            rows = size * t.INDEX_ROWS // t.INDEX_SLOTS
        total += rows * words * 8 + size * index.itemsize
    return total
