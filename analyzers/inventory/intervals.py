"""Who holds a place when: holdings become disjoint segments, and rows with times find theirs.

A place is an address or a prefix in a network. This module knows arrays and times, not what an endpoint is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

NOBODY = -1
SEVERAL = -2
LAG = 60
"""s. A flow log's times may be up to this much later than the packets they tell of (AWS user guide), so an address
stays its last holder's for this long, or until the next holder begins."""
RECORD_SPAN = 600
"""s. The longest window one record is about (AWS: maximum aggregation interval). A row may begin or end outside its
holder's time by this much; one that reaches further holds other traffic as well."""

BEGINNING = 0
END = (1 << 38) - 1
_PLACE_SHIFT = 38  # times are clipped into 38 bits (8,700 years), which leaves 25 bits for places


@dataclass(frozen=True, slots=True)
class Holding:
    """[since, until) in s UTC; None is open. `group` is equal for holders that need not be told apart."""

    since: int | None
    until: int | None
    holder: int
    group: int


@dataclass(frozen=True, slots=True)
class Segment:
    """[start, end) with one holder, or SEVERAL; time that no segment covers is nobody's."""

    start: int
    end: int
    holder: int
    group: int  # SEVERAL where the holder is


def clip(time: int | None, default: int) -> int:
    """A time within what segments can tell apart."""
    return default if time is None else min(max(time, BEGINNING + 1), END - 1)


def segments(holdings: Iterable[Holding]) -> list[Segment]:
    """Disjoint segments in order of time. A holding that ends before it began counts as one second.

    At each moment: the holders whose interval contains it; when there are none, those whose interval ended last, for
    LAG seconds. Holders of one group are one (the last to begin stands for it); of several groups, SEVERAL.
    """
    spans = []
    for one in holdings:
        start = clip(one.since, BEGINNING)
        spans.append((start, max(clip(one.until, END), start + 1), one))
    if len(spans) == 1:  # nearly every address
        start, end, one = spans[0]
        return [Segment(start, _lagged(end), one.holder, one.group)]
    edges = sorted({edge for start, end, _ in spans for edge in (start, end, _lagged(end))})
    spans.sort(key=lambda span: (span[0], span[2].holder))
    found: list[Segment] = []
    active: list[tuple[int, int, Holding]] = []  # in order of their beginning
    ended: list[tuple[int, int, Holding]] = []  # those that ended last, all at one moment
    begun = 0
    for start, end in pairwise(edges):
        gone = [span for span in active if span[1] <= start]
        if gone:
            ended, active = gone, [span for span in active if span[1] > start]
        while begun < len(spans) and spans[begun][0] <= start:
            active.append(spans[begun])
            begun += 1
        present = active or [span for span in ended if start < _lagged(span[1])]
        if not present:
            continue
        last = present[-1][2]
        several = any(one.group != last.group for _, _, one in present)
        holder, group = (SEVERAL, SEVERAL) if several else (last.holder, last.group)
        if found and found[-1].end == start and (found[-1].holder, found[-1].group) == (holder, group):
            start = found.pop().start
        found.append(Segment(start, end, holder, group))
    return found


def _lagged(end: int) -> int:
    return END if end == END else min(end + LAG, END - 1)


class Timeline:
    """Segments of many places, ready to be searched by whole columns."""

    def __init__(self, places: Sequence[Sequence[Segment]]) -> None:
        """`places[i]`: the segments of place i, as `segments` gives them."""
        flat = [(place, one) for place, own in enumerate(places) for one in own]
        place = np.array([p for p, _ in flat], np.int64)
        self._start = np.array([one.start for _, one in flat], np.int64)
        self._end = np.array([one.end for _, one in flat], np.int64)
        self._holder = np.array([one.holder for _, one in flat], np.int32)
        group = np.array([one.group for _, one in flat], np.int64)
        self._several = group == SEVERAL
        self._start_key = place << _PLACE_SHIFT | self._start
        self._end_key = place << _PLACE_SHIFT | self._end
        # How often the group has changed up to here, long gaps counting as changes: equal counts at both ends of a
        # row's segments say that they are one holder's throughout.
        changes = np.zeros(len(flat), np.int64)
        if len(flat) > 1:
            gap = self._start[1:] - self._end[:-1] > RECORD_SPAN
            changes[1:] = np.cumsum((group[1:] != group[:-1]) | gap)
        self._changes = changes

    def find(self, place: NDArray[np.int64], first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.int32]:
        """The holder of `place` over [first, last) (at least one second) for each row; NOBODY, or SEVERAL."""
        result = np.full(len(place), NOBODY, np.int32)
        if not len(self._start):
            return result
        low = np.clip(np.minimum(first, last), BEGINNING + 1, END - 2)
        high = np.clip(np.maximum(first, last), low + 1, END - 1)
        begin = np.searchsorted(self._end_key, place << _PLACE_SHIFT | low, side="right")
        finish = np.searchsorted(self._start_key, place << _PLACE_SHIFT | (high - 1), side="right") - 1
        rows = np.flatnonzero(begin <= finish)
        begin, finish = begin[rows], finish[rows]
        mixed = self._several[begin] | (self._changes[begin] != self._changes[finish])
        mixed |= low[rows] < self._start[begin] - RECORD_SPAN
        mixed |= high[rows] > self._end[finish] + RECORD_SPAN
        result[rows] = np.where(mixed, SEVERAL, self._holder[finish])
        return result
