"""Captures, pcap and pcapng: windows over the file or the stream, to connections in a worker's tables."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from analyzers.flows import Carried
from analyzers.ingest.coverage import SkipCounts
from analyzers.ingest.planning import CaptureItem
from analyzers.ingest.sources import GZIP_MAGIC, READ_BYTES, SHORTER, ZSTD_MAGIC, Source, StreamDamage, inflate
from analyzers.ingest.worker_tables import WorkerTables
from analyzers.kernels.capture_files import SMALLEST_WINDOW, CaptureReader, NotACapture
from analyzers.kernels.connections import C_CONNECTIONS, C_ERRORS, C_FIRST, C_LAST, C_OUTSIDE, C_PACKETS, Target
from analyzers.kernels.ipv4_flows import Flows
from analyzers.kernels.record import S_CONNECTIONS, S_FIRST, S_LAST, S_OUTSIDE, S_RECORDS, S_SPAN
from analyzers.kernels.text import Facts

CAPTURE_WINDOW = 4 << 20
MAPPED_WINDOW = 64 << 20


class CaptureAggregator:
    """Of one worker: adds the packets of captures to its tables. `outer`: tunnels stay closed."""

    def __init__(self, tables: WorkerTables, facts: Facts, *, outer: bool) -> None:
        self._tables = tables
        self._facts = facts
        self._outer = outer
        self._flows = Flows.empty()

    def read(
        self, item: CaptureItem, stream: BinaryIO, skips: SkipCounts, network: int, observer: int
    ) -> Iterator[int]:
        """Add one capture's packets -> bytes read, as often as there are some. `stream`: where it is not a file that
        can be mapped. Damage is noted in `skips`, not raised."""
        errors = 0
        readers: list[CaptureReader] = []  # none until the first window told that it is a capture
        try:
            for window, final, size in self._windows(item, stream, readers):
                if not readers:
                    readers.append(CaptureReader(window, item.source.name, final=final, outer=self._outer))
                else:
                    readers[0].feed(window, final=final)
                reader = readers[0]
                errors += self._with_room(lambda target: readers[0].aggregate(target, network, observer, self._facts))
                yield size
                if reader.finished:
                    break
        except StreamDamage as damage:
            skips.add(damage.reason, 1, [(damage.offset, "")])
        except NotACapture as problem:
            skips.add(str(problem), 1, [(0, "")])
        self._with_room(lambda target: CaptureReader.finish(target, network, observer))
        for reader in readers:
            self._note_tunnels(reader, skips)
            for reason, (count, samples) in reader.counts().items():
                skips.add(reason, count, [(at, "") for at in samples])
            skips.notes.update(f"{text} ({count} packets)" for text, (count, _) in reader.notes().items())
        if errors:
            skips.add("ICMP errors, which quote another packet", errors, [])

    @staticmethod
    def _note_tunnels(reader: CaptureReader, skips: SkipCounts) -> None:
        found = reader.carriers()
        skips.carried.extend(Carried(skips.source, one.tunnel.text, one.one, one.other, one.packets) for one in found)
        for kind in sorted({one.tunnel for one in found}):
            packets = sum(one.packets for one in found if one.tunnel == kind)
            pairs = [f"{one.one} and {one.other}" for one in found if one.tunnel == kind and one.one]
            between = f" between {', '.join(pairs[:3])}{f' and {len(pairs) - 3} more pairs' if pairs[3:] else ''}"
            skips.notes.add(
                f"{packets} packets inside {kind.text}{between if pairs else ''}: the inner flows are the flows"
                f"{' (--outer keeps the outer ones)' if pairs else ''}"
            )

    def _windows(
        self, item: CaptureItem, stream: BinaryIO, readers: list[CaptureReader]
    ) -> Iterator[tuple[NDArray[np.uint8], bool, int]]:
        """Windows over the capture, each beginning where the reader stands: the mapped file, or pieces of a stream ->
        (window, whether it is the last one, bytes that are new in it). Raises StreamDamage at its end."""
        head = item.head or stream.read(4)
        if isinstance(stream, FileIO) and not head.startswith((GZIP_MAGIC, ZSTD_MAGIC)):
            yield from self._mapped(item.source, readers)
            return
        pieces = inflate(stream, head + (b"" if item.head else stream.read(READ_BYTES)))
        window = np.zeros(0, np.uint8)
        final = False
        damage: StreamDamage | None = None
        while not final and damage is None:
            now = readers[0] if readers else None
            rest = window if now is None else window[now.consumed :]
            wanted = CAPTURE_WINDOW if now is None else max(CAPTURE_WINDOW, now.wanted)
            parts = [rest]
            before = size = rest.size
            while size < max(wanted, SMALLEST_WINDOW):
                try:
                    piece = next(pieces, None)
                except StreamDamage as problem:  # what came before it counts
                    damage = problem
                    break
                if piece is None:
                    final = True
                    break
                parts.append(np.frombuffer(piece, np.uint8))
                size += len(piece)
            window = np.concatenate(parts)
            yield window, final, size - before
        if damage is not None:
            raise damage

    def _mapped(self, source: Source, readers: list[CaptureReader]) -> Iterator[tuple[NDArray[np.uint8], bool, int]]:
        """Windows over the mapped file, for a sign of life between them, and for a look at how long it is now: the
        system ends a process that touches what was cut off. Raises StreamDamage when it was."""
        with Path(source.name).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not size:
                raise StreamDamage(SHORTER, 0)
            whole = np.frombuffer(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ), np.uint8)
            start, end = 0, 0
            while end < size:
                wanted = readers[0].wanted if readers else 0
                before, end = end, min(size, start + max(MAPPED_WINDOW, wanted))
                there = os.fstat(file.fileno()).st_size
                if there < end:
                    yield whole[start : max(start, there)], False, max(0, there - before)
                    raise StreamDamage(SHORTER, there)
                yield whole[start:end], end == size, end - before
                start += readers[0].consumed

    def _with_room(self, step: Callable[[Target], bool]) -> int:
        """Let `step` add packets to the tables, with more room as often as it asks -> ICMP errors, left out."""
        state = self._tables.tables.state
        errors = 0
        done = False
        while not done:
            self._tables.make_room()
            now = self._tables.tables
            target = Target.over(
                now.connection_index, now.connections, int(state[S_CONNECTIONS]), self._flows, int(state[S_SPAN])
            )
            done = step(target)
            counted = target.counters
            state[S_CONNECTIONS] = counted[C_CONNECTIONS]
            state[S_RECORDS] += counted[C_PACKETS]
            state[S_OUTSIDE] += counted[C_OUTSIDE]
            state[S_FIRST] = min(state[S_FIRST], counted[C_FIRST])
            state[S_LAST] = max(state[S_LAST], counted[C_LAST])
            errors += int(counted[C_ERRORS])
        return errors
