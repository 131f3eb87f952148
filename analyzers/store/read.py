"""Stores, and what outgrew the memory of this run, to a FlowTable: merged, and directions settled over everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from analyzers.flows import COLUMNS, Direction, Evidence, FlowTable
from analyzers.ingest.coverage import SkipCounts
from analyzers.ingest.direction import settle_rows
from analyzers.ingest.formats.aws_vpc import LOST_REASONS
from analyzers.store.database import Stages, plain_errors, whole_number
from analyzers.store.memory import CONNECTION_BYTES, FLOW_BYTES
from analyzers.store.merging import merge_expression, merged_rows, write_cuts
from analyzers.store.parts import Names, Part, attach, unify_names
from analyzers.store.rows import Columns, connection_words, window_rows
from analyzers.store.schema import CONNECTIONS, FLOWS, WINDOWS
from analyzers.store.settling import settle_in_database
from analyzers.store.spill import Spill
from analyzers.store.write import SourceFacts

if TYPE_CHECKING:
    import duckdb

    from analyzers.ingest.aggregate import IngestOptions
    from analyzers.ingest.windows import Windows

WINDOWS_AT_ONCE = 1 << 18
"""Rows about times covered that are fetched at once: some 20 MB."""


class Reading:
    """Stores opened together with a working database. Close the Spill when done."""

    def __init__(self, spill: Spill, paths: Sequence[str], options: IngestOptions) -> None:
        """Raises StoreError for a store that cannot be read."""
        self._spill = spill
        self._options = options
        self._connection = spill.connection
        self.parts = [attach(self._connection, number, path, spill.folder) for number, path in enumerate(paths, 1)]
        self._all = list(self.parts)
        self.notes: list[str] = []
        self.records = 0
        self.first: int | None = None
        self.last: int | None = None
        if spill.rows:
            spill.write_names()
            self._all.append(Part(0, "main.", str(spill.folder), own=True))

    def flows(self, room: int) -> FlowTable:
        """Everything, merged and settled; in memory when that takes no more than `room` bytes."""
        options = self._options
        self._spill.limit(room)
        with plain_errors(", ".join(part.path for part in self._all)):
            known = tuple(network for network, _, _ in options.cuts)
            names = unify_names(self._connection, self._all, options.networks, options.interface_networks, known)
            cut = write_cuts(self._connection, options.cuts, names)
            stages = Stages(self._connection, options.stage)
            for table in (FLOWS, CONNECTIONS):
                stages.begin(f"merging rows of {table.name}")
                select = merged_rows(table, self._all, options.window, cut=cut)
                self._connection.execute(f"CREATE TABLE merged_{table.name} AS {select}")
            self._measure()
            flows, connections = (self._count(f"merged_{table.name}") for table in (FLOWS, CONNECTIONS))
            if connections and connections * CONNECTION_BYTES + flows * FLOW_BYTES > room:
                settle_in_database(self._connection, options.declared, stages)
                self._weigh(flows + self._count("settled"), room)
                return _table(self._connection, ("merged_flows", "settled"), names)
            self._weigh(flows, room)
            services = _table(self._connection, ("merged_flows",), names)
            if not connections:
                return services
            words = connection_words(self._connection.execute("SELECT * FROM merged_connections").fetchnumpy())
        return settle_rows(services, words, options.declared)

    def _weigh(self, rows: int, room: int) -> None:
        """Before so many rows are taken over: the database gives memory back, and too many of them are told."""
        self._spill.limit(room // 4)
        if rows * FLOW_BYTES > room:
            self.notes.append(
                f"the settled result has {rows:,} service keys, which take about {rows * FLOW_BYTES >> 20:,} MiB: "
                "more than --memory leaves for them"
            )

    def _count(self, table: str) -> int:
        return whole_number(self._connection, f"SELECT count(*) FROM {table}")

    def _measure(self) -> None:
        rows = " UNION ALL ".join(
            f'SELECT sum(records) AS records, min("first") AS "first", max("last") AS "last" FROM merged_{table.name}'
            for table in (FLOWS, CONNECTIONS)
        )
        query = f'SELECT coalesce(sum(records), 0)::BIGINT, min("first"), max("last") FROM ({rows})'
        self.records, self.first, self.last = self._connection.execute(query).fetchall()[0]

    def windows(self, known: Windows) -> None:
        """Add what the stores tell of the times that records cover."""
        window = self._options.window
        limits = [f"slice >= {window.since}"] if window.since is not None else []
        limits += [f"slice + seconds <= {window.until}"] if window.until is not None else []
        for part in self.parts:
            with plain_errors(part.path):
                table = f"{part.prefix}{WINDOWS.name}"
                names = dict(self._connection.execute(f"SELECT id, name FROM {part.prefix}observers").fetchall())
                listed = [names.get(number, "") for number in range(max(names, default=0) + 1)]
                for seconds, count in self._connection.execute(
                    f"SELECT seconds, count(*) FROM {table} GROUP BY seconds ORDER BY seconds"
                ).fetchall():
                    step = max(1, len(listed) * WINDOWS_AT_ONCE // max(count, 1))
                    for start in range(0, len(listed), step):
                        these = [f"observer >= {start}", f"observer < {start + step}", f"seconds = {seconds}"]
                        rows = self._connection.execute(
                            f"SELECT {', '.join(c.name for c in WINDOWS.keys if c.name != 'source')}, "
                            f"{', '.join(merge_expression(c) for c in WINDOWS.values)} "
                            f"FROM {table} WHERE {' AND '.join(these + limits)} GROUP BY observer, seconds, slice"
                        ).fetchnumpy()
                        known.add(window_rows(rows), listed, seconds)

    def sources(self) -> list[SourceFacts]:
        """What the stores tell of the objects in them, in the order of names."""
        found: list[SourceFacts] = []
        for part in self.parts:
            with plain_errors(part.path):
                rows = self._connection.execute(
                    f"SELECT id, name, format, bytes_read, records, first, last, notes, unit, plain "
                    f"FROM {part.prefix}sources"
                ).fetchall()
                skips = self._connection.execute(
                    f"SELECT source, reason, count, offsets, samples FROM {part.prefix}skips"
                ).fetchall()
                losses = self._connection.execute(
                    f"SELECT source, attachment, reason, packets FROM {part.prefix}losses"
                ).fetchall()
            by_id = {row[0]: SourceFacts(*row[1:7]) for row in rows}
            for number, *_, notes, unit, plain in rows:
                by_id[number].skips.append(
                    SkipCounts(by_id[number].name, notes=set(notes), unit=unit, plain=bool(plain))
                )
            for number, reason, count, offsets, samples in skips:
                by_id[number].skips[0].add(reason, count, list(zip(offsets, samples, strict=True)))
            for number, attachment, reason, packets in losses:
                by_id[number].add_lost({attachment: [packets if one == reason else 0 for one in LOST_REASONS]})
            found += by_id.values()
        return sorted(found, key=lambda one: one.name)


def _table(connection: duckdb.DuckDBPyConnection, tables: Sequence[str], names: Names) -> FlowTable:
    """Rows of `merged_flows`, whose direction follows from their evidence, and of `settled`, as one FlowTable."""
    columns: Columns = {}
    shaken = int(Evidence.SYN | Evidence.SYN_ACK)
    connection.execute("SET preserve_insertion_order = true")  # else each column's rows come in an order of their own
    for column in COLUMNS:  # one at a time: the database's copy of a column goes before the next one comes
        parts = []
        for table in tables:
            name = f'"{column.name}"'
            if table == "merged_flows" and column.name == "direction":
                name = f"CASE WHEN evidence & {shaken} <> 0 THEN {int(Direction.HANDSHAKE)} "
                name += f"ELSE {int(Direction.WELL_KNOWN)} END"
            found = connection.execute(f"SELECT {name} AS value FROM {table}").fetchnumpy()["value"]
            parts.append(np.asarray(found).astype(column.dtype, copy=False))
        columns[column.name] = np.concatenate(parts) if len(parts) > 1 else parts[0]
    return FlowTable(columns, names.networks, names.observers)
