"""Stores side by side in one working database: attached, their names numbered alike, their rows in one shape.

A part is anything with the tables of schema.py under some SQL prefix: an attached DuckDB store, a directory of Parquet
files behind views, or the working database's own tables (what was spilled).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analyzers.store.database import StoreError, absolute, check_version, insert, plain_errors, quoted
from analyzers.store.parquet_files import ParquetFiles, is_parquet_store
from analyzers.store.schema import (
    CONNECTIONS,
    FLOWS,
    LOSSES,
    SKIPS,
    SOURCES,
    TABLES,
    WINDOWS,
    StoreTable,
    from_parquet,
)

if TYPE_CHECKING:
    import duckdb

EVERYWHERE = -1
"""Network number of cuts that hold in every network."""


@dataclass(frozen=True, slots=True)
class Part:
    """`prefix`: what goes before its tables' names in SQL; `own`: rows of this run, which have no sources table."""

    number: int
    prefix: str
    path: str
    own: bool = False


def attach(connection: duckdb.DuckDBPyConnection, number: int, path: str, folder: Path) -> Part:
    """The store at `path` (a file, a directory, a URL), read-only; `folder`: for temporary files. Raises StoreError."""
    name = f"part{number}"
    if is_parquet_store(path):
        return _attach_parquet(connection, number, path, folder)
    with plain_errors(path):
        if not Path(path).exists():
            raise StoreError(f"{path}: there is no such store; flowctl ingest makes one")
        connection.execute(f"ATTACH {quoted(absolute(path))} AS {name} (READ_ONLY)")
    check_version(connection, path, f"{name}.")
    return Part(number, f"{name}.", path)


def _attach_parquet(connection: duckdb.DuckDBPyConnection, number: int, path: str, folder: Path) -> Part:
    """Views that give Parquet files the shape of a DuckDB store's tables."""
    there = ParquetFiles(path, folder)
    name = f"part{number}"
    with plain_errors(path):
        connection.execute(f"CREATE SCHEMA {name}")
        files = {table.name: there.sql(table.name) for table in TABLES if table.parquet}
        for column in ("network", "observer"):
            names = (
                " UNION ".join(
                    f"SELECT {column} AS name FROM {files[table.name]}"
                    for table in (FLOWS, CONNECTIONS, WINDOWS)
                    if files[table.name] and column in (c.name for c in table.columns)
                )
                or "SELECT '' AS name"
            )
            connection.execute(
                f"CREATE TABLE {name}.{column}s AS SELECT row_number() OVER (ORDER BY name) - "
                f"(count(*) FILTER (name = '') OVER ()) AS id, name FROM ({names}) WHERE name <> '' "
                "UNION ALL SELECT 0, ''"
            )
        keys = files[SOURCES.name]
        listed = ", ".join(from_parquet(c) + f' AS "{c.name}"' for c in SOURCES.columns if c.name != "id")
        numbered = (
            f"SELECT row_number() OVER (ORDER BY key, name) AS id, {listed} FROM {keys}" if keys else _nothing(SOURCES)
        )
        connection.execute(f"CREATE TABLE {name}.sources AS {numbered}")
        for table in (SKIPS, LOSSES, WINDOWS, FLOWS, CONNECTIONS):
            connection.execute(f"CREATE VIEW {name}.{table.name} AS {_as_stored(table, files[table.name], name)}")
    return Part(number, f"{name}.", path)


def _nothing(table: StoreTable) -> str:
    return "SELECT " + ", ".join(f'NULL::{c.type} AS "{c.name}"' for c in table.columns) + " WHERE false"


def _as_stored(table: StoreTable, files: str, schema: str) -> str:
    if not files:
        return _nothing(table)
    columns, joins = [], []
    for column in table.columns:
        if column.dictionary:
            alias, match = f"d_{column.name}", "key" if column.dictionary == "sources" else "name"
            columns.append(f'coalesce({alias}.id, 0) AS "{column.name}"')
            joins.append(f"LEFT JOIN {schema}.{column.dictionary} {alias} ON {alias}.{match} = r.{column.name}")
        else:
            columns.append(f'{from_parquet(column, "r.")} AS "{column.name}"')
    return f"SELECT {', '.join(columns)} FROM {files} r {' '.join(joins)}"


# -- names ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Names:
    """Names of all parts together; the number of a name is its place."""

    networks: tuple[str, ...]
    observers: tuple[str, ...]


def unify_names(
    connection: duckdb.DuckDBPyConnection,
    parts: Sequence[Part],
    patterns: Sequence[tuple[str, str]],
    interface_networks: Mapping[str, str],
    more_networks: Sequence[str] = (),
) -> Names:
    """Tables `network_numbers` and `observer_numbers` (part, id, number), and for rows without a network of their own
    `source_networks` and `interface_numbers` (part, id, number): what --network and the inventory say of them."""
    found: dict[str, tuple[str, ...]] = {}
    for column in ("network", "observer"):
        rows = [
            (part.number, number, name)
            for part in parts
            for number, name in connection.execute(f"SELECT id, name FROM {part.prefix}{column}s").fetchall()
        ]
        names = {name for _, _, name in rows} | {""}
        if column == "network":
            names |= {name for _, name in patterns} | set(interface_networks.values()) | set(more_networks)
        found[column] = tuple(sorted(names))
        place = {name: i for i, name in enumerate(found[column])}
        _mapping(connection, f"{column}_numbers", [(part, number, place[name]) for part, number, name in rows])
        if column == "observer":
            networks = {name: i for i, name in enumerate(found["network"])}
            known = [
                (part, number, networks[interface_networks[name]])
                for part, number, name in rows
                if name in interface_networks
            ]
            _mapping(connection, "interface_networks", known)
            _mapping(connection, "source_networks", _named_sources(connection, parts, patterns, networks))
    return Names(found["network"], found["observer"])


def _named_sources(
    connection: duckdb.DuckDBPyConnection,
    parts: Sequence[Part],
    patterns: Sequence[tuple[str, str]],
    networks: Mapping[str, int],
) -> list[tuple[int, int, int]]:
    """Sources whose name meets a --network pattern. Rows of this run got theirs while they were read."""
    named: list[tuple[int, int, int]] = []
    for part in parts if patterns else ():
        if part.own:
            continue
        for number, name in connection.execute(f"SELECT id, name FROM {part.prefix}sources").fetchall():
            network = next((net for pattern, net in patterns if fnmatch.fnmatch(name, pattern)), None)
            if network is not None:
                named.append((part.number, number, networks[network]))
    return named


def _mapping(connection: duckdb.DuckDBPyConnection, name: str, rows: list[tuple[int, int, int]]) -> None:
    import numpy as np

    connection.execute(f"CREATE TEMP TABLE {name} (part INTEGER, id UINTEGER, number INTEGER)")
    if rows:
        columns = np.array(rows, np.int64)
        incoming = {"part": columns[:, 0].copy(), "id": columns[:, 1].copy(), "number": columns[:, 2].copy()}
        insert(connection, name, incoming)
