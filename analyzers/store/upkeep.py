"""Looking after a store: what is in it, forgetting, making it small, Parquet."""

from __future__ import annotations

import fnmatch
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from analyzers.objects.object_store import is_url
from analyzers.store.database import (
    Stage,
    Stages,
    StoreError,
    make_tables,
    open_for_writing,
    plain_errors,
    plain_text,
    quoted,
    settings,
    stored_slice_seconds,
    whole_number,
)
from analyzers.store.merging import merge_expression
from analyzers.store.parquet_files import bytes_at, is_parquet_store, slice_seconds_at
from analyzers.store.parts import Part, attach
from analyzers.store.schema import (
    CONNECTIONS,
    FLOWS,
    LOSSES,
    MARKER,
    NETWORKS,
    OBSERVERS,
    SKIPS,
    SOURCES,
    TABLES,
    VERSION,
    WINDOWS,
    StoreTable,
    to_parquet,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

MERGED = 0
"""`source` of rows that belong to several objects."""


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What `flowctl store info` tells. `days`: (day as text, rows, records)."""

    path: str
    layout: int
    slice_seconds: int
    size: int
    objects: tuple[tuple[str, int, int, int], ...]  # format, objects, bytes as they lay there, records read
    flow_rows: int
    connection_rows: int
    networks: int
    observers: int
    first: int | None
    last: int | None
    skipped: int
    days: tuple[tuple[str, int, int], ...]


def store_info(path: str, memory: int, threads: int) -> StoreInfo:
    """Raises StoreError."""
    with (
        plain_errors(path),
        tempfile.TemporaryDirectory(prefix="flowctl-") as fetched,
        duckdb.connect(":memory:", config=settings(memory, threads, "")) as connection,
    ):
        part = attach(connection, 1, path, Path(fetched))
        prefix = part.prefix
        wanted = 'SELECT slice, records, "first", "last" FROM'
        rows = f"({wanted} {prefix}flows UNION ALL {wanted} {prefix}connections)"
        objects = connection.execute(
            f"SELECT format, count(*), sum(size)::BIGINT, sum(records)::BIGINT FROM {prefix}sources "
            "GROUP BY 1 ORDER BY 1"
        ).fetchall()
        first, last = connection.execute(f'SELECT min("first"), max("last") FROM {rows}').fetchall()[0]
        days = connection.execute(
            f"SELECT strftime(make_timestamp((slice - slice % 86400) * 1000000), '%Y-%m-%d') AS day, count(*), "
            f"sum(records)::BIGINT FROM {rows} GROUP BY 1 ORDER BY 1"
        ).fetchall()

        def count(table: str) -> int:
            return whole_number(connection, f"SELECT count(*) FROM {prefix}{table}")

        return StoreInfo(
            path=path,
            layout=VERSION,
            slice_seconds=_slice_seconds(connection, part, path),
            size=_size(path),
            objects=tuple(objects),
            flow_rows=count("flows"),
            connection_rows=count("connections"),
            networks=count("networks") - 1,
            observers=count("observers") - 1,
            first=first,
            last=last,
            skipped=whole_number(connection, f"SELECT coalesce(sum(count), 0)::BIGINT FROM {prefix}skips"),
            days=tuple(days),
        )


def _size(path: str) -> int:
    if is_url(path):
        return bytes_at(path)
    place = Path(path)
    files: Iterator[Path] | list[Path] = place.rglob("*") if place.is_dir() else [place, Path(f"{path}.wal")]
    return sum(file.stat().st_size for file in files if file.is_file())


def _slice_seconds(connection: duckdb.DuckDBPyConnection, part: Part, path: str) -> int:
    return slice_seconds_at(path) if is_parquet_store(path) else stored_slice_seconds(connection, part.prefix)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What `forget` removed: objects as a whole, rows of flows and connections; `kept`: objects that it could not."""

    objects: int
    rows: int
    kept: tuple[str, ...]


def forget(path: str, patterns: Sequence[str], between: tuple[int, int] | None, memory: int, threads: int) -> Forgotten:
    """Remove the objects that a pattern (name, path, glob, or directory) meets, or their rows in the slices that begin
    in [from, to), or everybody's. An object that is removed as a whole may be taken again. Raises StoreError.
    """
    connection = open_for_writing(path, create=False, memory=memory, threads=threads)
    try:
        with plain_errors(path):
            seconds = stored_slice_seconds(connection)
            if between and any(time % seconds for time in between):
                raise StoreError(f"{path}: its slices are {seconds} s long; give times at which a slice begins")
            wanted, kept = _chosen(connection, patterns) if patterns else ([], [])
            connection.execute("BEGIN TRANSACTION")
            conditions = []
            if patterns:
                connection.execute("CREATE TEMP TABLE chosen (id UINTEGER)")
                connection.executemany("INSERT INTO chosen VALUES (?)", [[n] for n in wanted]) if wanted else None
                conditions.append("source IN (SELECT id FROM chosen)")
            if between:
                conditions.append(f"slice >= {between[0]} AND slice < {between[1]}")
            rows = 0
            for table in (FLOWS, CONNECTIONS):
                rows += whole_number(connection, f"DELETE FROM {table.name} WHERE {' AND '.join(conditions)}")
            connection.execute(f"DELETE FROM {WINDOWS.name} WHERE {' AND '.join(conditions)}")
            objects = 0
            if patterns and not between:
                for table in (SKIPS, LOSSES):
                    connection.execute(f"DELETE FROM {table.name} WHERE source IN (SELECT id FROM chosen)")
                objects = whole_number(connection, f"DELETE FROM {SOURCES.name} WHERE id IN (SELECT id FROM chosen)")
            connection.execute("COMMIT")
        return Forgotten(objects, rows, tuple(kept))
    finally:
        connection.close()


def _chosen(connection: duckdb.DuckDBPyConnection, patterns: Sequence[str]) -> tuple[list[int], list[str]]:
    """Numbers of the sources that a pattern meets, and the names of those whose rows are merged with others'."""
    wanted, kept = [], []
    for number, key, name, merged in connection.execute("SELECT id, key, name, merged FROM sources").fetchall():
        if any(_meets(pattern, key, name) for pattern in patterns):
            if merged:
                kept.append(name)
            else:
                wanted.append(number)
    return wanted, sorted(kept)


def _meets(pattern: str, key: str, name: str) -> bool:
    place = plain_text(str(Path(pattern).resolve()) if "://" not in pattern else pattern.rstrip("/"))
    pattern = plain_text(pattern)
    return (
        fnmatch.fnmatchcase(name, pattern)
        or fnmatch.fnmatchcase(key, pattern)
        or key == place
        or key.startswith(place.rstrip("/") + "/")
    )


# -- rewriting -----------------------------------------------------------------------------------------------------


def compact(
    path: str, merge_before: int | None, memory: int, threads: int, stage: Stage | None = None
) -> tuple[int, int]:
    """Rewrite the store: rows of one key become one, space of what was forgotten is given back. Slices that begin
    before `merge_before` (s UTC) lose the objects' names: rows of all objects are merged there.

    The new file takes the old one's place in one step. Returns (rows before, rows after); raises StoreError.
    """
    connection = open_for_writing(path, create=False, memory=memory, threads=threads)
    partial = Path(path).with_name(f".{Path(path).name}.{os.getpid()}.new")
    partial.unlink(missing_ok=True)
    try:
        with plain_errors(path):
            stages = Stages(connection, stage)
            seconds = stored_slice_seconds(connection)
            if merge_before is not None and merge_before % seconds:
                raise StoreError(f"{path}: its slices are {seconds} s long; give a time at which a slice begins")
            connection.execute(f"ATTACH {quoted(str(partial))} AS fresh")
            connection.execute("USE fresh")
            make_tables(connection, seconds)
            old = f'"{_database_name(connection, path)}".'
            before = after = 0
            for table in (NETWORKS, OBSERVERS, SOURCES, SKIPS, LOSSES):
                connection.execute(f"DELETE FROM fresh.{table.name}")
                connection.execute(f"INSERT INTO fresh.{table.name} BY NAME SELECT * FROM {old}{table.name}")
            for table in (FLOWS, CONNECTIONS):
                stages.begin(f"compacting {table.name}")
                before += whole_number(connection, f"SELECT count(*) FROM {old}{table.name}")
                connection.execute(f"INSERT INTO fresh.{table.name} BY NAME {_compacted(table, old, merge_before)}")
                after += whole_number(connection, f"SELECT count(*) FROM fresh.{table.name}")
            connection.execute(f"INSERT INTO fresh.{WINDOWS.name} BY NAME {_compacted(WINDOWS, old, merge_before)}")
            if merge_before is not None:
                connection.execute(
                    f"UPDATE fresh.sources SET merged = greatest(merged, {merge_before}) "
                    f'WHERE records > 0 AND "first" < {merge_before}'
                )
            connection.execute("CHECKPOINT fresh")
            connection.execute(f"USE {old.rstrip('.')}")
            connection.execute("DETACH fresh")
            connection.close()
            if Path(f"{path}.wal").exists():
                raise StoreError(f"{path}: its log could not be written into the file; nothing was changed")
            partial.replace(path)
        return before, after
    finally:
        connection.close()
        partial.unlink(missing_ok=True)
        Path(f"{partial}.wal").unlink(missing_ok=True)


def _database_name(connection: duckdb.DuckDBPyConnection, path: str) -> str:
    found = connection.execute("SELECT database_name, path FROM duckdb_databases() WHERE path IS NOT NULL").fetchall()
    here = os.path.realpath(path)
    return str(next(name for name, place in found if os.path.realpath(place) == here))


def _compacted(table: StoreTable, old: str, merge_before: int | None) -> str:
    keys = [f'"{c.name}"' for c in table.keys]
    source = f"CASE WHEN slice < {merge_before} THEN {MERGED} ELSE source END" if merge_before is not None else "source"
    rows = f"(SELECT * REPLACE ({source} AS source) FROM {old}{table.name})"
    values = ", ".join(merge_expression(c) for c in table.values)
    # in the order that questions are asked in, which also packs best
    return f"SELECT {', '.join(keys)}, {values} FROM {rows} GROUP BY {', '.join(keys)} ORDER BY slice, source, observer"


def export_parquet(path: str, folder: Path, memory: int, threads: int, stage: Stage | None = None) -> int:
    """Write the store as Parquet files below `folder`, which other engines and every --store read. Returns the number
    of rows. The marker file is written last: without it the directory is no store. Raises StoreError.
    """
    if folder.exists() and any(folder.iterdir()):
        raise StoreError(f"{folder}: not empty; name a new directory")
    rows = 0
    with plain_errors(str(folder)):
        folder.mkdir(parents=True, exist_ok=True)
    with (
        plain_errors(path),
        tempfile.TemporaryDirectory(prefix="flowctl-") as fetched,
        duckdb.connect(":memory:", config=settings(memory, threads, folder)) as connection,
    ):
        part = attach(connection, 1, path, Path(fetched))
        seconds = _slice_seconds(connection, part, path)
        stages = Stages(connection, stage)
        for table in (table for table in TABLES if table.parquet):
            stages.begin(f"writing {table.name}")
            (folder / table.name).mkdir()
            target = quoted(str(folder / table.name / "part-0.parquet"))
            connection.execute(
                f"COPY ({_as_parquet(table, part.prefix)}) TO {target} (FORMAT parquet, COMPRESSION zstd)"
            )
            if table in (FLOWS, CONNECTIONS):
                rows += whole_number(connection, f"SELECT count(*) FROM {part.prefix}{table.name}")
    with plain_errors(str(folder)):
        (folder / MARKER).write_text(json.dumps({"schema": VERSION, "slice_seconds": seconds}) + "\n", encoding="utf-8")
    return rows


def _as_parquet(table: StoreTable, prefix: str) -> str:
    columns, joins = [], []
    for column in table.columns:
        if column.dictionary:
            alias = f"d_{column.name}"
            text = "key" if column.dictionary == "sources" else "name"
            columns.append(f"coalesce({alias}.{text}, '') AS \"{column.name}\"")
            joins.append(f"LEFT JOIN {prefix}{column.dictionary} {alias} ON {alias}.id = r.{column.name}")
        elif not (table is SOURCES and column.name == "id"):
            columns.append(f'{to_parquet(column, "r.")} AS "{column.name}"')
    return f"SELECT {', '.join(columns)} FROM {prefix}{table.name} r {' '.join(joins)}"
