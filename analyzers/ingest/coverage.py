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

    def add_counted(
        self, counts: NDArray[np.int64], first: NDArray[np.int64], called: Mapping[Any, str],
        place: Callable[[int], tuple[int, str]],
    ) -> None:  # fmt: skip
        """What a kernel counted: `counts` int64[reasons], which are 0 afterwards, and where it met the `first` of each
        (int64[reasons, n]). `called`: the texts of reasons; `place` tells (offset, what stands there)."""
        for reason in np.flatnonzero(counts).tolist():
            text, count = called[reason], int(counts[reason])
            known = len(self.samples[text]) >= SAMPLES  # the first places stay, whatever follows
            self.add(text, count, [] if known else [place(at) for at in first[reason, :count].tolist()])
        counts[:] = 0


def printable(raw: bytes, limit: int = 80) -> str:
    """Bytes of an input as one line that no terminal acts on."""
    text = raw[:limit].decode("utf-8", "backslashreplace")
    clean = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
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
