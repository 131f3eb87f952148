"""Objects on their way into a store, and what became of them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from analyzers.flows import IngestReport, Skip
from analyzers.ingest.coverage import SkipCounts, merge_skips
from analyzers.ingest.sources import Source
from analyzers.store.identity import Identity
from analyzers.store.rows import Columns
from analyzers.store.schema import StoreTable
from analyzers.store.write import SourceFacts, Transaction


@dataclass(frozen=True)
class IntakeSummary:
    """What a run did. `left`: objects that were not taken, by reason; `report` is about the taken ones only."""

    taken: int
    replaced: int
    unchanged: int
    objects: int
    left: tuple[Skip, ...]
    report: IngestReport
    interrupted: bool = False


Fate = Literal["new", "replace", "add"]
"""What becomes of what the store had under the same key: there was nothing, it goes, it stays under another key."""


@dataclass
class IncomingObject:
    """One object on its way in."""

    source: Source
    identity: Identity
    number: int
    then: tuple[Fate, int]  # and the number of what was there
    facts: SourceFacts
    whole: bool = False  # to be read from one end to the other: its parts have different formats
    open_items: int = 0
    holders: int = 0  # threads whose tables have rows of it
    dead: bool = False
    transaction: Transaction | None = None
    chunks: list[tuple[StoreTable, Columns]] = field(default_factory=list)
    rows: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def summarise(
    done: Sequence[IncomingObject], left: Sequence[SkipCounts], objects: int, unchanged: int, notes: Sequence[str]
) -> IntakeSummary:
    """What became of `objects` objects."""
    skips, coverage, remarks = merge_skips([part for one in done for part in one.facts.skips])
    reasons, _, _ = merge_skips(list(left))
    times = [(one.facts.first, one.facts.last) for one in done if one.facts.records]
    report = IngestReport(
        sources=len(done),
        bytes_read=sum(one.facts.bytes_read for one in done),
        records=sum(one.facts.records for one in done),
        skips=skips,
        coverage=coverage,
        notes=tuple(sorted({*notes, *remarks})),
        formats=dict(sorted(Counter(one.facts.format for one in done if one.facts.format).items())),
        first=min(t[0] for t in times) if times else None,
        last=max(t[1] for t in times) if times else None,
        plain_sources=len({part.source for one in done for part in one.facts.skips if part.plain}),
    )
    replaced = sum(one.then[0] == "replace" for one in done)
    return IntakeSummary(len(done), replaced, unchanged, objects, reasons, report)
