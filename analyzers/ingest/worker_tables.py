"""The tables of one worker thread: allocation, growth between kernel calls, merging."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzers.ingest.flow_logs import observer_name
from analyzers.ingest.threads import in_parts
from analyzers.kernels import tables as t
from analyzers.kernels import windows as w
from analyzers.kernels.jit import held
from analyzers.kernels.record import (
    S_ADDRESSES,
    S_CONNECTIONS,
    S_COUNT,
    S_FIRST,
    S_FIXED_NETWORK,
    S_FIXED_OBSERVER,
    S_LAST,
    S_LOST,
    S_NETWORKS,
    S_OBSERVERS,
    S_OUTSIDE,
    S_RECORDS,
    S_SERVICES,
    S_SLOT_SECONDS,
    S_SPAN,
    S_WINDOWS,
)
from analyzers.kernels.separators import BLOCK_BYTES, BLOCK_ROWS
from analyzers.kernels.text import MAX_NETWORKS, MAX_OBSERVERS, NETWORK_BLOCKS, Tables, text_room

HOUR = 3600
MAX_WINDOWS = 1 << 19
"""Slots of time, over all interfaces, that are kept apart: 24 MB a thread. Where there are more, they become longer."""


LONGEST_SLOT = HOUR << 19
"""s, about 60 years. They become no longer: more interfaces than MAX_WINDOWS need more windows."""


def too_many_windows(state: NDArray[np.int64]) -> bool:
    """Whether slots of time are to become longer."""
    return bool(state[S_WINDOWS] + 2 * BLOCK_ROWS > MAX_WINDOWS and state[S_SLOT_SECONDS] < LONGEST_SLOT)


RESERVED_ROWS = 1 << 27
"""Address space that a row store asks for at first (8 GiB for service rows); pages never touched cost nothing."""


RESERVED_NAMES, RESERVED_NETWORKS = 1 << 20, 1 << 16
"""The same for names of interfaces and of networks."""

NAME_BYTES = 32
"""Bytes reserved for the text of each."""

SPACES = 128
"""Row stores and indices of several threads that have to find room in a limited address space."""

PAGE_BYTES = 4096
"""A page of the usual size."""

SMALL_PAGES = 2 << 20
"""Bytes at the beginning of a row store that have pages of the usual size."""

MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)
"""Not every Python names the flag; without it address space counts as memory where overcommitting is off."""


_NAME_COUNTERS = {"observer": S_OBSERVERS, "network": S_NETWORKS}
_MOST_NAMES = {"observer": MAX_OBSERVERS - BLOCK_ROWS, "network": MAX_NETWORKS - NETWORK_BLOCKS * BLOCK_ROWS}


_INDEXES: dict[str, type[np.unsignedinteger[Any]]] = {
    "service": np.uint32,
    "connection": np.uint64,
    "address": np.uint64,
    "window": np.uint64,
    "observer": np.uint32,
    "network": np.uint32,
}
"""The indices, and what their slots are."""


class TooManyNames(ValueError):
    """More interfaces or networks than the row formats can number."""


def _address_share() -> int:
    """Bytes of address space for one row store: all that it likes, or little where address space is limited."""
    try:
        import resource
    except ImportError:  # not on Windows
        return sys.maxsize
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit // SPACES


def reserve_rows(words: int, rows: int = RESERVED_ROWS, large_pages: bool = True) -> NDArray[np.uint64]:
    """uint64[n, words] in untouched address space; n is halved until the system grants it.

    `large_pages`: for rows that are met in no order, small pages miss in the TLB. The first rows have small ones, for
    tables that stay small: a large page costs as much as 512 of them.
    """
    rows = min(rows, max(_address_share() // (8 * words), 4 * BLOCK_ROWS))
    while True:
        try:
            space = mmap.mmap(-1, rows * words * 8, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE)
            if large_pages and hasattr(mmap, "MADV_HUGEPAGE") and len(space) > SMALL_PAGES:
                space.madvise(mmap.MADV_HUGEPAGE, SMALL_PAGES)
            return np.frombuffer(space, np.uint64).reshape(-1, words)
        except (OSError, OverflowError, ValueError):
            rows //= 2
            if rows < 4 * BLOCK_ROWS:
                raise


class IndexSpace:
    """Memory of one index, which grows in place: pages that were touched once are not paid for again."""

    def __init__(self, slot: type[np.unsignedinteger[Any]]) -> None:
        """`slot`: uint32 or uint64, see analyzers.kernels.tables."""
        self._slots = reserve_rows(1, 2 * RESERVED_ROWS)[:, 0].view(slot)
        self._used = 0

    def cleared(self, size: int) -> NDArray[Any]:
        """An empty index of `size` slots; the one given out before is not to be used any more."""
        if size > len(self._slots):
            return np.zeros(size, self._slots.dtype)
        self._slots[: min(size, self._used)] = 0
        page = PAGE_BYTES // self._slots.itemsize
        self._slots[self._used : size : page] = 0  # a page that is read before it is written to costs twice
        self._used = max(size, self._used)
        return self._slots[:size]


def _reserved_text(names: int) -> NDArray[np.uint8]:
    """uint8[NAME_BYTES * n] in untouched address space, for so many names."""
    return reserve_rows(NAME_BYTES // 8, names, large_pages=False).view(np.uint8).reshape(-1)


def _index_size(size: int, count: int) -> int:
    """Slots of an index of `size` slots, grown so that it may point to so many rows."""
    while t.INDEX_SLOTS * count > t.INDEX_ROWS * size:
        size *= 4 if size < 1 << 20 else 2
    return size


def _doubled(array: NDArray[Any], used: int) -> NDArray[Any]:
    grown = np.zeros((array.shape[0] * 2, *array.shape[1:]), array.dtype)
    grown[:used] = array[:used]
    return grown


class WorkerTables:
    """Owns the arrays that a worker's kernel calls write to. Not shared between threads."""

    def __init__(
        self,
        networks: tuple[str, ...],
        interfaces: dict[str, int],
        flow_log: str = "",
        span: int = int(t.ALL_TIME),
    ) -> None:
        """`networks`: names that get the numbers 1, 2, ... ("" is 0); `interfaces`: interface id -> network number;
        `flow_log`: the one that all records are from, see analyzers.ingest.flow_logs; `span`: seconds of the time
        slices that rows are kept apart by."""
        self.flow_log = flow_log
        self._read_names: dict[int, list[str]] = {}  # by counter
        self._name_scratch = np.zeros((BLOCK_ROWS, t.NAME_WORDS + 2), np.uint64)
        self._spaces = {kind: IndexSpace(slot) for kind, slot in _INDEXES.items()}
        state = np.zeros(S_COUNT, np.int64)
        state[S_FIRST] = np.iinfo(np.int64).max
        state[S_LAST] = -1
        state[S_FIXED_NETWORK] = -1
        state[S_SPAN] = span
        self.tables = Tables(
            state=state,
            service_index=self._spaces["service"].cleared(1 << 14),
            services=reserve_rows(t.SERVICE_WORDS),
            connection_index=self._spaces["connection"].cleared(1 << 12),
            connections=reserve_rows(t.CONNECTION_WORDS),
            address_index=self._spaces["address"].cleared(1 << 12),
            addresses=np.zeros((1 << 12, t.ADDRESS_WORDS), np.uint64),
            observer_index=self._spaces["observer"].cleared(1 << 11),
            observer_names=reserve_rows(w.OBSERVER_WORDS, RESERVED_NAMES, large_pages=False),
            observer_arena=_reserved_text(RESERVED_NAMES),
            observer_network=reserve_rows(1, RESERVED_NAMES, large_pages=False)[:, 0],
            network_index=self._spaces["network"].cleared(1 << 11),
            network_names=reserve_rows(t.NAME_WORDS, RESERVED_NETWORKS, large_pages=False),
            network_arena=_reserved_text(RESERVED_NETWORKS),
            window_index=self._spaces["window"].cleared(1 << 12),
            windows=reserve_rows(w.WINDOW_WORDS, 2 * MAX_WINDOWS, large_pages=False),
            lost_packets=reserve_rows(4, RESERVED_NAMES, large_pages=False),
            network_sides=reserve_rows(1, RESERVED_NETWORKS, large_pages=False)[:, 0],
        )
        state[S_SLOT_SECONDS] = HOUR
        state[S_NETWORKS] = state[S_OBSERVERS] = 1  # number 0 is the empty name, which no index slot points to
        for name in networks:
            self.network(name)
        if interfaces:
            self._know(interfaces)

    @property
    def tables(self) -> Tables:
        """The arrays as they are now; those that are too small are replaced, see `make_room`."""
        return self._tables

    @tables.setter
    def tables(self, tables: Tables) -> None:
        self._tables = tables
        self.held = held(tables)  # for kernels

    def _know(self, interfaces: dict[str, int]) -> None:
        """Number interfaces, and keep the numbers of their networks."""
        names = sorted(interfaces)
        text, begins, ends = _joined_names(names)
        self.number_names("observer", text, begins, ends)
        numbers = (begins - np.uint64(1)).astype(np.intp)
        self.tables.observer_network[numbers] = [interfaces[name] for name in names]

    # -- strings -----------------------------------------------------------------------------------------------

    def network(self, name: str) -> int:
        """Number of a network name, new or known."""
        return self._intern(name, "network")

    def observer(self, name: str) -> int:
        """Number of an observer name, new or known."""
        return self._intern(name, "observer")

    def _intern(self, name: str, kind: str) -> int:
        if not name:  # always number 0
            return 0
        text, begins, ends = _joined_names([name])
        self.number_names(kind, text, begins, ends)
        return int(begins[0]) - 1

    def number_names(
        self, kind: str, text: NDArray[np.uint8], begins: NDArray[np.uint64], ends: NDArray[np.uint64]
    ) -> None:
        """Number the names text[begins[i]:ends[i]], new or known: begins[i] becomes number + 1, 0 for an empty one.

        `kind`: "observer" or "network". 24 bytes before the first name are readable.
        """
        counter, state = _NAME_COUNTERS[kind], self.tables.state
        for start in range(0, len(begins), BLOCK_ROWS):
            stop = min(start + BLOCK_ROWS, len(begins))
            size, count = int(ends[stop - 1] - begins[start]), int(state[counter])
            if size > BLOCK_BYTES or count >= _MOST_NAMES[kind] or not text_room(count, *self._texts(kind), 1):
                self.make_room(size)
            state[counter] = t.intern_spans(
                text, begins[start:stop], ends[start:stop], stop - start, *self._texts(kind), count, self._name_scratch,
            )  # fmt: skip

    def _texts(self, kind: str) -> tuple[Any, Any, Any]:
        """Index, names and arena of interned strings."""
        now = self.tables
        if kind == "observer":
            return now.observer_index, now.observer_names, now.observer_arena
        return now.network_index, now.network_names, now.network_arena

    def observer_names(self) -> list[str]:
        """Observer names by number, with the flow log's id where there is one; not to be written to."""
        names = self._names(self.tables.observer_names, self.tables.observer_arena, S_OBSERVERS)
        return _logged(names, self.flow_log)

    def observers_now(self) -> Callable[[], list[str]]:
        """What gives the `observer_names` of now, whenever it is called: who asks waits for them."""
        rows, arena = self.tables.observer_names[: self.tables.state[S_OBSERVERS]], self.tables.observer_arena
        flow_log = self.flow_log
        return lambda: _logged(_decoded(rows, arena), flow_log)  # names stay as they are once they are here

    def network_names(self) -> list[str]:
        """Network names by number; not to be written to."""
        return self._names(self.tables.network_names, self.tables.network_arena, S_NETWORKS)

    def _names(self, names: NDArray[np.uint64], arena: NDArray[np.uint8], counter: int) -> list[str]:
        known = self._read_names.setdefault(counter, [])  # names stay as they are once they are here
        known += _decoded(names[len(known) : self.tables.state[counter]], arena)
        return known

    # -- growth ------------------------------------------------------------------------------------------------

    def make_room(self, arena_bytes: int = 0, services: int = 0) -> None:
        """Grow whatever is too small for one more block, with so many bytes of names and service rows besides; see
        analyzers.kernels.text.room for the conditions."""
        state = self.tables.state
        if any(state[_NAME_COUNTERS[kind]] >= most for kind, most in _MOST_NAMES.items()):
            observers, networks = (most - 1 for most in _MOST_NAMES.values())
            raise TooManyNames(f"more than {observers} interfaces or {networks} networks; give the input in parts")
        while too_many_windows(state):
            self.coarsen_windows()
        now = self.tables
        changed: dict[str, Any] = {}
        span = np.uint64(state[S_SPAN])

        def sliced(rehash: Any) -> Any:
            return lambda rows, count, index: rehash(rows, count, index, span)

        self._grow_rows(
            changed, "service", "services", int(state[S_SERVICES]), BLOCK_ROWS + services, sliced(t.rehash_services)
        )
        self._grow_rows(
            changed, "connection", "connections", int(state[S_CONNECTIONS]), BLOCK_ROWS, sliced(t.rehash_connections)
        )
        self._grow_rows(changed, "address", "addresses", int(state[S_ADDRESSES]), 2 * BLOCK_ROWS, t.rehash_addresses)
        observers = int(state[S_OBSERVERS]) + BLOCK_ROWS
        networks = int(state[S_NETWORKS]) + NETWORK_BLOCKS * BLOCK_ROWS
        self._grow_texts(changed, "observer", int(state[S_OBSERVERS]), arena_bytes, 1)
        self._grow_texts(changed, "network", int(state[S_NETWORKS]), arena_bytes, NETWORK_BLOCKS)
        wanted = {"lost_packets": observers, "observer_network": observers, "network_sides": networks}
        for name, size in wanted.items():
            array = getattr(now, name)
            while size > array.shape[0]:
                array = changed[name] = _doubled(array, array.shape[0])
        self._grow_windows(changed, 2 * BLOCK_ROWS)
        if changed:
            self.tables = now._replace(**changed)

    def _grow_rows(
        self, changed: dict[str, Any], kind: str, rows_name: str, count: int, margin: int, rehash: Any
    ) -> None:
        rows = getattr(self.tables, rows_name)
        index = getattr(self.tables, f"{kind}_index")
        while count + margin > rows.shape[0]:
            rows = changed[rows_name] = _doubled(rows, count)
        size = _index_size(index.size, count + margin)
        if size != index.size:
            fresh = self._spaces[kind].cleared(size)
            rehash(rows, count, fresh)
            changed[f"{kind}_index"] = fresh

    def _grow_windows(self, changed: dict[str, Any], margin: int) -> None:
        rows, index = self.tables.windows, self.tables.window_index
        count = int(self.tables.state[S_WINDOWS])
        while count + margin > rows.shape[0]:
            rows = changed["windows"] = _doubled(rows, count)
        size = _index_size(index.size, count + margin)
        if size != index.size:
            changed["window_index"] = self._spaces["window"].cleared(size)
            w.rehash_windows(rows, count, changed["window_index"])

    def window_rows(self) -> NDArray[np.uint64]:
        """uint64[n, WINDOW_WORDS], see analyzers.kernels.windows: everything that the records cover."""
        observers = int(self.tables.state[S_OBSERVERS])
        changed: dict[str, Any] = {}
        self._grow_windows(changed, observers)
        self.tables = now = self.tables._replace(**changed)
        w.close_windows(now.observer_names, observers, now.state, now.window_index, now.windows)
        return now.windows[: now.state[S_WINDOWS]]

    def take_windows(self) -> NDArray[np.uint64]:
        """The rows of `window_rows`, for the caller to keep; the tables know of no windows afterwards."""
        rows = self.window_rows()
        self.tables = self.tables._replace(windows=reserve_rows(w.WINDOW_WORDS, 2 * MAX_WINDOWS, large_pages=False))
        self.clear_windows(open_too=False)
        return rows

    def coarsen_windows(self) -> None:
        """Twice as long slots: in the end the shortest ones of which there are few enough, whoever read what."""
        rows = self.window_rows()
        now = self.tables
        now.window_index[:] = 0
        w.coarser(rows, len(rows), now.state, now.window_index)

    def clear_windows(self, open_too: bool = True) -> None:
        """Know of no windows, with slots of an hour, and of no lost packets. `open_too`: unless `window_rows` has just
        closed those that stand beside the names."""
        now = self.tables
        observers = int(now.state[S_OBSERVERS])
        if now.state[S_LOST]:
            now.lost_packets[:observers] = 0
        if open_too:
            now.observer_names[:observers, t.NAME_WORDS :] = 0
        now.state[S_WINDOWS], now.state[S_LOST], now.state[S_SLOT_SECONDS] = 0, 0, HOUR
        now.window_index[:] = 0

    def _grow_texts(self, changed: dict[str, Any], kind: str, count: int, arena_bytes: int, blocks: int) -> None:
        index, names, arena = self._texts(kind)
        used = int(names[count - 1, 3] & t.MASK32) + int(names[count - 1, 3] >> t.U32) if count else 0
        while count + blocks * BLOCK_ROWS > names.shape[0]:
            names = _doubled(names, count)
        while used + blocks * (BLOCK_BYTES + BLOCK_ROWS) + 64 + arena_bytes > arena.size:
            arena = _doubled(arena, used)
        size = _index_size(index.size, count + blocks * BLOCK_ROWS)
        if size != index.size:
            index = self._spaces[kind].cleared(size)
            t.rehash_names(names, count, index)
        changed.update({f"{kind}_index": index, f"{kind}_names": names, f"{kind}_arena": arena})

    # -- merging -----------------------------------------------------------------------------------------------

    def absorb(self, other: WorkerTables, threads: int = 1) -> None:
        """Add everything `other` holds to this one but its windows; `other` is not to be used afterwards."""
        state = self.tables.state
        scratch = np.empty((3, BLOCK_ROWS), np.uint64)
        for rows in self.meet(other, threads):
            self.make_room(services=len(rows))
            for start in range(0, len(rows), BLOCK_ROWS):
                part = rows[start : start + BLOCK_ROWS]
                state[S_SERVICES] = t.upsert_services(
                    part, len(part), np.uint64(state[S_SPAN]), scratch[0], scratch[1], scratch[2],
                    self.tables.service_index, self.tables.services, int(state[S_SERVICES]),
                )  # fmt: skip

    def meet(self, other: WorkerTables, threads: int) -> list[NDArray[np.uint64]]:
        """Add everything `other` holds but its windows, and but the service rows whose keys are new here: those are
        what comes back, with this one's numbers. `other` is not to be used afterwards."""
        observers = self._absorb_names(other, "observer")
        networks = self._absorb_names(other, "network")
        addresses = self._absorb_addresses(other)
        state, theirs = self.tables.state, other.tables.state
        span = np.uint64(state[S_SPAN])

        def met(start: int, stop: int) -> NDArray[np.uint64]:
            rows = other.tables.services[start:stop]
            scratch, batch = np.empty((3, t.ABSORB_ROWS), np.uint64), t.rows_on_cache_lines(t.ABSORB_ROWS)
            index, mine = self.tables.service_index, self.tables.services
            return rows[: t.meet_services(rows, observers, networks, addresses, span, scratch, batch, index, mine)]

        fresh = in_parts(met, int(theirs[S_SERVICES]), threads)
        rows = other.tables.connections[: theirs[S_CONNECTIONS]]
        rows[:, 5] = (networks[(rows[:, 5] >> t.U48).astype(np.intp)] << t.U48) | observers[
            (rows[:, 5] & t.MASK48).astype(np.intp)
        ]
        self._upsert_connections(rows)
        state[S_RECORDS] += theirs[S_RECORDS]
        state[S_OUTSIDE] += theirs[S_OUTSIDE]
        state[S_FIRST] = min(state[S_FIRST], theirs[S_FIRST])
        state[S_LAST] = max(state[S_LAST], theirs[S_LAST])
        return fresh

    def _absorb_names(self, other: WorkerTables, kind: str) -> NDArray[np.uint64]:
        """Numbers here of the other's names, by their numbers there."""
        count = int(other.tables.state[_NAME_COUNTERS[kind]])
        theirs = other.tables._asdict()
        if kind == "observer" and other.flow_log != self.flow_log:
            text, begins, ends = _joined_names(other.observer_names())
        else:
            rows = theirs[f"{kind}_names"][:count]
            begins = (rows[:, 3] & t.MASK32) + np.uint64(64)
            ends = begins + (rows[:, 3] >> t.U32)
            text = np.concatenate([np.zeros(64, np.uint8), theirs[f"{kind}_arena"][: int(ends[-1]) - 64]])
        self.number_names(kind, text, begins[1:], ends[1:])
        begins[0] = 1  # the empty name is number 0 everywhere
        numbers: NDArray[np.uint64] = begins - np.uint64(1)
        return numbers

    def _absorb_addresses(self, other: WorkerTables) -> NDArray[np.uint64]:
        """Numbers here of the other's interned addresses, by their numbers there."""
        state = self.tables.state
        count = int(other.tables.state[S_ADDRESSES])
        numbers = np.zeros(max(count, 1), np.uint64)
        for start in range(0, count, BLOCK_ROWS):
            self.make_room()
            stop = min(start + BLOCK_ROWS, count)
            state[S_ADDRESSES] = t.intern_addresses(
                other.tables.addresses[start:stop], self.tables.address_index, self.tables.addresses,
                int(state[S_ADDRESSES]), numbers[start:stop],
            )  # fmt: skip
        return numbers

    def _upsert_connections(self, rows: NDArray[np.uint64]) -> None:
        state = self.tables.state
        for start in range(0, len(rows), BLOCK_ROWS):
            self.make_room()
            part, now = rows[start : start + BLOCK_ROWS], self.tables
            state[S_CONNECTIONS] = t.upsert_connections(
                part, len(part), np.uint64(state[S_SPAN]), now.connection_index, now.connections,
                int(state[S_CONNECTIONS]),
            )  # fmt: skip

    def clear(self) -> None:
        """Forget rows and totals, keep names: the tables can be filled again, and touched pages are used again."""
        state = self.tables.state
        state[S_SERVICES] = state[S_CONNECTIONS] = state[S_ADDRESSES] = state[S_RECORDS] = 0
        state[S_FIRST] = np.iinfo(np.int64).max
        state[S_LAST] = -1
        fresh: dict[str, Any] = {}
        for kind, size in (("service", 1 << 14), ("connection", 1 << 12), ("address", 1 << 12)):
            index = getattr(self.tables, f"{kind}_index")
            if index.size == size:
                index[:] = 0
            else:
                fresh[f"{kind}_index"] = self._spaces[kind].cleared(size)
        if fresh:
            self.tables = self.tables._replace(**fresh)

    def release(self) -> None:
        """Give the memory back; the tables cannot be filled again."""
        self.clear()
        self._spaces = {kind: IndexSpace(slot) for kind, slot in _INDEXES.items()}
        nothing = np.zeros(16, np.uint64)
        self.tables = self.tables._replace(
            service_index=np.zeros(16, np.uint32),
            connection_index=nothing,
            address_index=nothing,
            services=np.zeros((1, t.SERVICE_WORDS), np.uint64),
            connections=np.zeros((1, t.CONNECTION_WORDS), np.uint64),
            addresses=np.zeros((1, t.ADDRESS_WORDS), np.uint64),
        )

    def fix(self, network: int, observer: int) -> None:
        """What the next source's records get: a network number (-1: by interface) and an observer number."""
        self.tables.state[S_FIXED_NETWORK] = network
        self.tables.state[S_FIXED_OBSERVER] = observer


def _decoded(names: NDArray[np.uint64], arena: NDArray[np.uint8]) -> list[str]:
    """The texts of interned names."""
    if not len(names):
        return []
    begins = (names[:, 3] & t.MASK32).tolist()
    ends = ((names[:, 3] & t.MASK32) + (names[:, 3] >> t.U32)).tolist()
    raw = arena[: ends[-1]].tobytes()
    if raw.isascii():
        text = raw.decode("ascii")
        return [text[a:b] for a, b in zip(begins, ends, strict=True)]
    return [raw[a:b].decode("utf-8", "backslashreplace") for a, b in zip(begins, ends, strict=True)]


def _logged(interfaces: list[str], flow_log: str) -> list[str]:
    """Names of observers: interfaces as one flow log saw them."""
    return [observer_name(name, flow_log) for name in interfaces] if flow_log else interfaces


def _joined_names(names: list[str]) -> tuple[NDArray[np.uint8], NDArray[np.uint64], NDArray[np.uint64]]:
    """(padded text, begins, ends) of names, for intern_spans."""
    encoded = [name.encode() for name in names]
    ends = np.cumsum(np.array([len(name) for name in encoded], np.uint64)) + np.uint64(64)
    begins = ends - np.array([len(name) for name in encoded], np.uint64)
    return np.frombuffer(b"\0" * 64 + b"".join(encoded) + b"\0" * 8, np.uint8), begins, ends
