"""Coverage by interface and hour: what was idle, what the log lost, where whole aggregation intervals are missing.

An interval without traffic has a NODATA record; so a time that no record touches, long enough to hold a whole
aggregation interval wherever the intervals begin, is a time that the log does not tell about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from analyzers.flows import WindowFact
from analyzers.ingest.flow_logs import interface_of
from analyzers.ingest.formats.aws_vpc import LOST_REASONS
from analyzers.ingest.worker_tables import HOUR, MAX_WINDOWS, WorkerTables, too_many_windows
from analyzers.kernels import windows as w
from analyzers.kernels.record import S_COUNT, S_LOST, S_OBSERVERS, S_SLOT_SECONDS, S_WINDOWS
from analyzers.kernels.tables import MASK40, U40

DEFAULT_INTERVAL = 600
"""s, the longest MaxAggregationInterval of AWS, which a flow log has unless it was created with 60."""

PARTS = 60

Array = NDArray[Any]
_Slots = dict[tuple[int, int], list[int]]  # (observer, slot) -> NODATA, SKIPDATA, skipped parts, gap parts


class LazyFacts(Sequence[WindowFact]):
    """Facts that are worked out when somebody looks at them: one for each idle interface and hour may be many."""

    def __init__(self, work_out: Callable[[], tuple[WindowFact, ...]]) -> None:
        self._work_out = work_out

    @cached_property
    def _all(self) -> tuple[WindowFact, ...]:
        return self._work_out()

    def __len__(self) -> int:
        return len(self._all)

    @overload
    def __getitem__(self, index: int) -> WindowFact: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[WindowFact, ...]: ...

    def __getitem__(self, index: int | slice) -> WindowFact | tuple[WindowFact, ...]:
        return self._all[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._all == tuple(other)

    def __hash__(self) -> int:
        return hash(self._all)

    def __repr__(self) -> str:
        return repr(self._all)


class Windows:
    """The windows of all threads' tables, by observers' names, with slots as long as the memory for them asks."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {"": 0}
        self._state = np.zeros(S_COUNT, np.int64)
        self._state[S_SLOT_SECONDS] = HOUR
        self._rows = np.zeros((1 << 11, w.WINDOW_WORDS), np.uint64)
        self._index = np.zeros(1 << 12, np.uint64)
        self._waiting: list[tuple[Array, Callable[[], Sequence[str]], int]] = []  # taken, not yet added
        self._lost: dict[str, list[int]] = {}  # transit gateway attachment -> packets lost, by reason

    def take(self, tables: WorkerTables) -> None:
        """Add the windows of a thread's tables, and the packets that transit gateways lost; the tables know of none
        afterwards."""
        self.add_lost(lost_in(tables))
        slot_seconds = int(tables.tables.state[S_SLOT_SECONDS])
        rows = tables.take_windows()
        if len(rows):
            self._waiting.append((rows, tables.observers_now(), slot_seconds))
        if sum(len(waiting) for waiting, _, _ in self._waiting) > MAX_WINDOWS:
            self._add_waiting()

    def _add_waiting(self) -> None:
        """Many never look at windows; who does waits for them here."""
        waiting, self._waiting = self._waiting, []
        for rows, names, slot_seconds in waiting:
            self.add(rows, names(), slot_seconds)

    def add(self, rows: Array, names: Sequence[str], slot_seconds: int) -> None:
        """Add rows (uint64[n, WINDOW_WORDS], which may be written to) whose observers are numbers of `names`."""
        while self._state[S_SLOT_SECONDS] < slot_seconds:
            self._coarsen()
        while slot_seconds < self._state[S_SLOT_SECONDS]:
            rows, slot_seconds = _coarsened(rows, slot_seconds), 2 * slot_seconds
        number = (rows[:, 0] >> U40).astype(np.intp)
        mine = np.zeros(len(names), np.uint64)
        for one in np.flatnonzero(np.bincount(number)).tolist():
            mine[one] = self._names.setdefault(names[one], len(self._names))
        rows[:, 0] = (mine[number] << U40) | (rows[:, 0] & MASK40)
        self._grow(int(self._state[S_WINDOWS]) + len(rows))
        w.add_windows(rows, len(rows), self._state, self._index, self._rows)
        # the bound of a thread's tables: whoever read what, the slots are the shortest of which there are few enough
        while too_many_windows(self._state):
            self._coarsen()

    @property
    def rows(self) -> tuple[Array, list[str], int]:
        """(rows, names of their observers by number, seconds of a slot), as `add` takes them."""
        self._add_waiting()
        return self._rows[: self._state[S_WINDOWS]].copy(), list(self._names), int(self._state[S_SLOT_SECONDS])

    def add_lost(self, lost: Mapping[str, Sequence[int]]) -> None:
        """Add packets that transit gateway attachments lost, in the order of LOST_REASONS."""
        for name, more in lost.items():
            sums = self._lost.setdefault(name, [0] * len(LOST_REASONS))
            self._lost[name] = [one + int(other) for one, other in zip(sums, more, strict=True)]

    def lost_packets(self) -> dict[str, dict[str, int]]:
        """Transit gateway attachment -> reason -> packets that it lost."""
        return {name: dict(zip(LOST_REASONS, sums, strict=True)) for name, sums in sorted(self._lost.items())}

    def _grow(self, count: int) -> None:
        if count > len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros((count, w.WINDOW_WORDS), np.uint64)])
        size = self._index.size
        while 2 * count > size:
            size *= 2
        if size != self._index.size:
            self._index = np.zeros(size, np.uint64)
            w.rehash_windows(self._rows, int(self._state[S_WINDOWS]), self._index)

    def _coarsen(self) -> None:
        self._index[:] = 0
        w.coarser(self._rows, int(self._state[S_WINDOWS]), self._state, self._index)

    def facts(self, intervals: Mapping[str, int]) -> LazyFacts:
        """Facts of all interfaces, sorted. `intervals`: flow log id, "" for the others -> aggregation interval, s."""
        return LazyFacts(lambda: self._facts(intervals))

    def _facts(self, intervals: Mapping[str, int]) -> tuple[WindowFact, ...]:
        self._add_waiting()
        rows = self._rows[: self._state[S_WINDOWS]]
        names = [(name.partition(" ")[0], name.partition(" ")[2]) for name in self._names]
        return _facts(rows, names, int(self._state[S_SLOT_SECONDS]), intervals)


def lost_in(tables: WorkerTables) -> dict[str, list[int]]:
    """Transit gateway attachment -> packets that it lost, in the order of LOST_REASONS."""
    lost = tables.tables.lost_packets[: tables.tables.state[S_OBSERVERS]]
    found: dict[str, list[int]] = {}
    if not tables.tables.state[S_LOST] or not lost.max():
        return found
    names = tables.observer_names()
    for number in np.flatnonzero(lost.any(axis=1)).tolist():
        sums = found.setdefault(interface_of(names[number]), [0] * len(LOST_REASONS))
        sums[:] = [one + int(more) for one, more in zip(sums, lost[number], strict=True)]
    return found


def _coarsened(rows: Array, slot_seconds: int) -> Array:
    """Rows of slots twice as long."""
    state = np.zeros(S_COUNT, np.int64)
    state[S_SLOT_SECONDS] = slot_seconds
    index = np.zeros(1 << max(4, (2 * len(rows)).bit_length()), np.uint64)
    w.coarser(rows, len(rows), state, index)
    return rows[: state[S_WINDOWS]]


def _facts(
    rows: Array, names: list[tuple[str, str]], slot_seconds: int, intervals: Mapping[str, int]
) -> tuple[WindowFact, ...]:
    if not len(rows):
        return ()
    rows = rows[np.argsort(rows[:, 0])]
    observer = (rows[:, 0] >> np.uint64(40)).astype(np.int64)
    slot = (rows[:, 0] & np.uint64((1 << 40) - 1)).astype(np.int64)
    nodata = (rows[:, 3] >> np.uint64(32)).astype(np.int64)
    skipdata = (rows[:, 3] & np.uint64(0xFFFF_FFFF)).astype(np.int64)
    found: _Slots = {}
    for at in np.flatnonzero((nodata | skipdata) + rows[:, 2].astype(bool)).tolist():
        skipped = int(rows[at, 2]).bit_count()
        found[int(observer[at]), int(slot[at])] = [int(nodata[at]), int(skipdata[at]), skipped, 0]
    runs: list[WindowFact] = []
    general = intervals.get("", DEFAULT_INTERVAL)
    interval = np.array([intervals.get(log, general) for _, log in names], np.int64)
    for number, begin, end in _gaps(rows, interval, slot_seconds // PARTS):
        _spread(found, runs, names[number], number, begin, end, slot_seconds)
    minutes = slot_seconds / PARTS / 60
    facts = runs
    for (number, hour), (idle, lost, skipped, gap) in found.items():
        start = hour * slot_seconds
        facts.append(
            WindowFact(
                *names[number], start, start + slot_seconds, idle, lost, round(skipped * minutes), round(gap * minutes)
            )
        )
    return tuple(_joined(sorted(facts)))


def _gaps(rows: Array, interval: Array, part_seconds: int) -> list[list[int]]:
    """[observer, first part, part behind the last] of each stretch that holds a whole interval, wherever it began."""
    needed = -(-2 * interval // part_seconds)
    found = np.zeros((0, 3), np.int64)
    while (count := int(w.find_gaps(rows, needed, found))) > len(found):
        found = np.zeros((count, 3), np.int64)
    gaps: list[list[int]] = found.tolist()
    return gaps


def _spread(
    found: _Slots, runs: list[WindowFact], name: tuple[str, str], number: int, begin: int, end: int, slot_seconds: int
) -> None:
    """Enter a gap into the slots it touches; slots that it fills, which have no row, become one fact together."""
    first, last = begin // PARTS, (end - 1) // PARTS
    whole_from = first if begin % PARTS == 0 else first + 1
    whole_to = last + 1 if end % PARTS == 0 else last
    for slot in {first, last}:
        if not whole_from <= slot < whole_to:
            inside = min(end, (slot + 1) * PARTS) - max(begin, slot * PARTS)
            found.setdefault((number, slot), [0, 0, 0, 0])[3] += inside
    if whole_from < whole_to:
        minutes = (whole_to - whole_from) * slot_seconds // 60
        runs.append(WindowFact(*name, whole_from * slot_seconds, whole_to * slot_seconds, gap_minutes=minutes))


def _joined(facts: list[WindowFact]) -> list[WindowFact]:
    """Neighbouring times of one interface that were idle and nothing else, as one."""
    joined: list[WindowFact] = []
    for fact in facts:
        before = joined[-1] if joined else None
        if (
            before is not None
            and (before.interface, before.flow_log, before.end) == (fact.interface, fact.flow_log, fact.start)
            and not (before.skipped_minutes or before.gap_minutes or fact.skipped_minutes or fact.gap_minutes)
        ):
            joined[-1] = WindowFact(fact.interface, fact.flow_log, before.start, fact.end, before.nodata + fact.nodata)
        else:
            joined.append(fact)
    return joined
