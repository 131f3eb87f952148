"""Rows of all parts as one table of each kind: names numbered alike, networks filled in, one row a key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from analyzers.objects.key_layout import Window
from analyzers.store.database import insert
from analyzers.store.parts import EVERYWHERE, Names, Part
from analyzers.store.rows import Cuts
from analyzers.store.schema import CONNECTIONS, FLOWS, StoreColumn, StoreTable

if TYPE_CHECKING:
    import duckdb

ENDS = {FLOWS.name: ("client", "server"), CONNECTIONS.name: ("a", "b")}
WRAP = "18446744073709551616"
LEFT_OUT = ("source", "slice")
"""Key columns that readers do not tell rows apart by."""


def merge_expression(column: StoreColumn) -> str:
    """The SQL aggregate of a value column; sums wrap at 2^64 as the kernels' do."""
    name = f'"{column.name}"'
    if column.merge == "sum":
        return f"(sum({name}) % {WRAP})::UBIGINT AS {name}"
    if column.merge == "or":
        return f"bit_or({name}) AS {name}"
    return f"{column.merge}({name}) AS {name}"


def write_cuts(connection: duckdb.DuckDBPyConnection, cuts: Cuts, names: Names) -> bool:
    """Table `cuts` (network number or EVERYWHERE, hi, lo, times); whether there are any."""
    if not cuts:
        return False
    place = {name: i for i, name in enumerate(names.networks)}
    connection.execute("CREATE TEMP TABLE cut_times (network INTEGER, hi UBIGINT, lo UBIGINT, time BIGINT)")
    rows = [
        (place.get(network, -2) if network else EVERYWHERE, hi, lo, max(0, time))
        for (network, hi, lo), times in cuts.items()
        for time in times
    ]
    incoming = {
        "network": np.array([r[0] for r in rows], np.int32),
        "hi": np.array([r[1] for r in rows], np.uint64),
        "lo": np.array([r[2] for r in rows], np.uint64),
        "time": np.array([r[3] for r in rows], np.int64),
    }
    insert(connection, "cut_times", incoming)
    connection.execute(
        "CREATE TEMP TABLE cuts AS "
        "SELECT network, hi, lo, list(time ORDER BY time) AS times FROM cut_times GROUP BY network, hi, lo"
    )
    return bool(rows)


def part_rows(table: StoreTable, part: Part, window: Window) -> str:
    """SELECT of a part's rows with unified numbers; networks that the records did not tell are filled in.

    Of a store, rows that lie in the window from their first record to their last: parts of a row cannot be told apart.
    """
    limits = [f"r.first >= {window.since}"] if window.since is not None else []
    limits += [f"r.last < {window.until}"] if window.until is not None else []
    inside = f" WHERE {' AND '.join(limits)}" if limits and not part.own else ""
    columns = [
        f'r."{c.name}"' for c in table.columns if c.name not in (*LEFT_OUT, "network", "observer", *_stretches(table))
    ]
    return (
        "SELECT CASE WHEN r.network <> 0 THEN n.number ELSE coalesce(s.number, i.number, 0) END AS network, "
        f"o.number AS observer, {', '.join(columns)} FROM {part.prefix}{table.name} r "
        f"JOIN network_numbers n ON n.part = {part.number} AND n.id = r.network "
        f"JOIN observer_numbers o ON o.part = {part.number} AND o.id = r.observer "
        f"LEFT JOIN source_networks s ON s.part = {part.number} AND s.id = r.source "
        f"LEFT JOIN interface_networks i ON i.part = {part.number} AND i.id = r.observer{inside}"
    )


def _stretches(table: StoreTable) -> tuple[str, ...]:
    return tuple(f"{end}_stretch" for end in ENDS[table.name])


def merged_rows(table: StoreTable, parts: Sequence[Part], window: Window, *, cut: bool) -> str:
    """SELECT of all parts' rows, one for each key. Stretches are counted anew, by the cuts known now, as
    analyzers.kernels.tables.epoch_of counts them: 0, or 2 * (cuts at or before) + 2 (+ 1 when one lies within)."""
    rows = " UNION ALL ".join(part_rows(table, part, window) for part in parts)
    keys = [f'"{c.name}"' for c in table.keys if c.name not in (*LEFT_OUT, *_stretches(table))]
    values = [f'"{c.name}"' for c in table.values]
    epochs = [f"0::BIGINT AS {name}" for name in _stretches(table)]
    joins = ""
    if cut:
        epochs = []
        for end in ENDS[table.name]:
            own, other = f"{end}_own", f"{end}_any"
            match = f"{{0}}.hi = r.{end}_hi AND {{0}}.lo = r.{end}_lo AND {{0}}.network = {{1}}"
            joins += f" LEFT JOIN cuts {own} ON {match.format(own, 'r.network')}"
            joins += f" LEFT JOIN cuts {other} ON {match.format(other, EVERYWHERE)}"
            times = f"coalesce({own}.times, {other}.times)"
            before, until = (f"len(list_filter({times}, lambda t: t <= r.{at}))" for at in ('"first"', '"last"'))
            epochs.append(
                f"CASE WHEN {times} IS NULL THEN 0 ELSE 2 * {before} + 2 + ({until} > {before})::INTEGER END::BIGINT "
                f"AS {end}_stretch"
            )
    selected = ", ".join(f"r.{name}" for name in (*keys, *values))
    merged = ", ".join(merge_expression(c) for c in table.values)
    grouped = ", ".join((*keys, *_stretches(table)))
    return (
        f"SELECT {grouped}, {merged} FROM (SELECT {selected}, {', '.join(epochs)} FROM ({rows}) r{joins}) "
        f"GROUP BY {grouped}"
    )
