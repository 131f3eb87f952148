"""What was passed over: counted by source and reason, with the first places, in an order that no thread decides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzers.flows import Carried, Skip

SAMPLES = 3
CONTROL_MESSAGE = "CONTROL_MESSAGE: CloudWatch Logs tests that the way is open"
COVERAGE_REASONS = (
    "NODATA: no traffic in the window",
    "SKIPDATA: the log lost records in the window",
    CONTROL_MESSAGE,
)


@dataclass
class SkipCounts:
    """Counts of one source, or of a part of it."""

    source: str
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    samples: dict[str, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))
    notes: set[str] = field(default_factory=set)
    carried: list[Carried] = field(default_factory=list)
    unit: str = "offset"  # what places are counted in
    plain: bool = False  # some records tell interfaces' addresses only: no pkt-srcaddr and pkt-dstaddr

    def add(self, reason: str, count: int, places: list[tuple[int, str]]) -> None:
        """`places`: (offset, what stands there)."""
        self.counts[reason] += count
        if places:
            self.samples[reason] = sorted(self.samples[reason] + places)[:SAMPLES]


class ReasonCounts:
    """What a kernel counts of one input after the other: `counts` int64[reasons], and where it met the `first` of each
    (int64[reasons, n]). `called`: the texts of reasons."""

    def __init__(self, counts: NDArray[np.int64], first: NDArray[np.int64], called: Mapping[Any, str]) -> None:
        self._counts, self._first, self._called = counts, first, called
        self._noted = np.zeros_like(counts)  # how many of the first places are

    def note(self, skips: SkipCounts, place: Callable[[int], tuple[int, str]]) -> None:
        """Places that are new; `place` tells (offset, what stands there)."""
        met = np.minimum(self._counts, self._first.shape[1])
        if np.array_equal(met, self._noted):
            return
        for reason in np.flatnonzero(met - self._noted).tolist():
            new = self._first[reason, self._noted[reason] : met[reason]]
            skips.add(self._called[reason], 0, [place(at) for at in new.tolist()])
        self._noted[:] = met

    def settle(self, skips: SkipCounts) -> None:
        """The counts of an input that is done; then they begin again."""
        for reason in np.flatnonzero(self._counts).tolist():
            skips.add(self._called[reason], int(self._counts[reason]), [])
        self._counts[:] = 0
        self._noted[:] = 0


def printable(raw: bytes, limit: int = 80) -> str:
    """Bytes of an input as one line that no terminal acts on."""
    text = raw[:limit].decode("utf-8", "backslashreplace")
    clean = text if text.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return clean + ("..." if len(raw) > limit else "")


def merge_skips(parts: list[SkipCounts]) -> tuple[tuple[Skip, ...], tuple[Skip, ...], set[str]]:
    """(skips, coverage facts, notes) of all parts together, sorted by source and reason."""
    merged: dict[str, SkipCounts] = {}
    notes: set[str] = set()
    for part in parts:
        whole = merged.setdefault(part.source, SkipCounts(part.source))
        whole.unit = max(whole.unit, part.unit)
        for reason, count in part.counts.items():
            whole.add(reason, count, part.samples[reason])
        notes |= {f"{part.source}: {note}" for note in part.notes}
    skips: list[Skip] = []
    coverage: list[Skip] = []
    for name in sorted(merged):
        whole = merged[name]
        for reason in sorted(whole.counts):
            samples = tuple(
                f"{whole.unit} {at}: {what}" if what else f"{whole.unit} {at}" for at, what in whole.samples[reason]
            )
            (coverage if reason in COVERAGE_REASONS else skips).append(
                Skip(name, reason, whole.counts[reason], samples)
            )
    return tuple(skips), tuple(coverage), notes
