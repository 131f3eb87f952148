"""Stores, and what outgrew the memory of this run, to a FlowTable: merged, and directions settled over everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from analyzers.flows import COLUMNS, Direction, Evidence, FlowTable
from analyzers.ingest.coverage import SkipCounts
from analyzers.ingest.direction import settle_rows
from analyzers.store.database import plain_errors, whole_number
from analyzers.store.merging import merged_rows, write_cuts
from analyzers.store.parts import Part, attach, unify_names
from analyzers.store.rows import Columns, connection_words
from analyzers.store.schema import CONNECTIONS, FLOWS
from analyzers.store.spill import Spill
from analyzers.store.write import SourceFacts

if TYPE_CHECKING:
    from analyzers.ingest.aggregate import IngestOptions


class Reading:
    """Stores opened together with a working database. Close the Spill when done."""

    def __init__(self, spill: Spill, paths: Sequence[str], options: IngestOptions) -> None:
        """Raises StoreError for a store that cannot be read."""
        self._spill = spill
        self._options = options
        self._connection = spill.connection
        self.parts = [attach(self._connection, number, path, spill.folder) for number, path in enumerate(paths, 1)]
        self._all = list(self.parts)
        if spill.rows:
            spill.write_names()
            self._all.append(Part(0, "main.", str(spill.folder), own=True))

    def flows(self, room: int) -> FlowTable:
        """Everything, merged and settled; `room` bytes decide whether directions are settled in memory."""
        options, path = self._options, ", ".join(part.path for part in self._all)
        with plain_errors(path):
            known = tuple(network for network, _, _ in options.cuts)
            names = unify_names(self._connection, self._all, options.networks, options.interface_networks, known)
            cut = write_cuts(self._connection, options.cuts, names)
            for table in (FLOWS, CONNECTIONS):
                select = merged_rows(table, self._all, options.window, cut=cut)
                self._connection.execute(f"CREATE TEMP TABLE merged_{table.name} AS {select}")
            services = self._services(names.networks, names.observers)
            count = whole_number(self._connection, "SELECT count(*) FROM merged_connections")
            if not count:
                return services
            assert room
            words = connection_words(self._connection.execute("SELECT * FROM merged_connections").fetchnumpy())
        return settle_rows(services, words, options.declared)

    def _services(self, networks: tuple[str, ...], observers: tuple[str, ...]) -> FlowTable:
        wanted = [c for c in COLUMNS if c.name != "direction"]
        listed = ", ".join(f'"{c.name}"' for c in wanted)
        rows: Columns = self._connection.execute(f"SELECT {listed} FROM merged_flows").fetchnumpy()
        columns = {c.name: np.asarray(rows[c.name]).astype(c.dtype, copy=False) for c in wanted}
        shaken = (columns["evidence"] & (Evidence.SYN | Evidence.SYN_ACK)) != 0
        columns["direction"] = np.where(shaken, Direction.HANDSHAKE, Direction.WELL_KNOWN).astype(np.uint8)
        return FlowTable({c.name: columns[c.name] for c in COLUMNS}, networks, observers)

    def sources(self) -> list[SourceFacts]:
        """What the stores tell of the objects in them, in the order of names."""
        found: list[SourceFacts] = []
        for part in self.parts:
            with plain_errors(part.path):
                rows = self._connection.execute(
                    f"SELECT id, name, format, bytes_read, records, first, last, notes FROM {part.prefix}sources"
                ).fetchall()
                skips = self._connection.execute(
                    f"SELECT source, reason, count, offsets, samples FROM {part.prefix}skips"
                ).fetchall()
            by_id = {row[0]: SourceFacts(*row[1:7]) for row in rows}
            for number, *_, notes in rows:
                by_id[number].skips.append(SkipCounts(by_id[number].name, notes=set(notes)))
            for number, reason, count, offsets, samples in skips:
                by_id[number].skips[0].add(reason, count, list(zip(offsets, samples, strict=True)))
            found += by_id.values()
        return sorted(found, key=lambda one: one.name)
