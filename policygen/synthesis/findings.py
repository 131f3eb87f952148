"""What a person should know about the policies: collected while they are made, folded, sorted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from analyzers.inventory import Identity

_SAMPLES = 5


@dataclass(frozen=True, slots=True, order=True)
class SynthesisNote:
    """One finding. `kind` is a stable word for machines, `detail` a sentence for people.

    `records`: the log records that it is about; 0 where it is about none in particular.
    """

    kind: str
    subject: str  # namespace/name of a workload, or "" for the whole set
    detail: str
    records: int = 0


@dataclass(frozen=True, slots=True, order=True)
class InternetFacing:
    """A port of a workload that so many public addresses reach that it is open to all of them."""

    workload: Identity
    protocol: str
    port: int
    sources: int  # distinct public addresses
    blocks: tuple[str, ...]  # 0.0.0.0/0, ::/0: those whose family was seen


class Findings:
    """Collects notes; the same ones in any order give the same tuple."""

    def __init__(self) -> None:
        self._notes: dict[tuple[str, str, str], int] = {}
        self._items: dict[tuple[str, str, str], set[str]] = defaultdict(set)
        self._records: dict[tuple[str, str, str], int] = defaultdict(int)

    def add(self, kind: str, subject: str, detail: str, records: int = 0) -> None:
        """A finding of its own; the same one again adds its records."""
        key = kind, subject, detail
        self._notes[key] = self._notes.get(key, 0) + records

    def collect(self, kind: str, subject: str, sentence: str, item: str, records: int = 0) -> None:
        """One of many: `sentence` holds `{items}`, which becomes their number and a few of them."""
        key = kind, subject, sentence
        self._items[key].add(item)
        self._records[key] += records

    def notes(self) -> tuple[SynthesisNote, ...]:
        """All of them, sorted."""
        folded = [SynthesisNote(*key, records) for key, records in self._notes.items()]
        for (kind, subject, sentence), items in self._items.items():
            detail = sentence.replace("{items}", listed(items))
            folded.append(SynthesisNote(kind, subject, detail, self._records[kind, subject, sentence]))
        return tuple(sorted(folded))


def listed(items: Iterable[str], most: int = _SAMPLES) -> str:
    """`a, b, c`, or `7 (a, b, c, d, e, ...)` where there are more than fit."""
    ordered = sorted(items)
    if len(ordered) <= most:
        return ", ".join(ordered)
    return f"{len(ordered)} ({', '.join(ordered[:most])}, ...)"
