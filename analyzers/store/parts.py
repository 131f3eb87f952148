"""Stores side by side in one working database: attached, their names numbered alike, their rows in one shape.

A part is anything with the tables of schema.py under some SQL prefix: an attached DuckDB store, a directory of Parquet
files behind views, or the working database's own tables (what was spilled).
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyzers.store.database import StoreError, absolute, check_version, insert, plain_errors, quoted
from analyzers.store.schema import (
    CONNECTIONS,
    FLOWS,
    MARKER,
    SKIPS,
    SOURCES,
    VERSION,
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


def attach(connection: duckdb.DuckDBPyConnection, number: int, path: str) -> Part:
    """The store at `path`, read-only. Raises StoreError."""
    name = f"part{number}"
    if is_parquet(path):
        return _attach_parquet(connection, number, path)
    with plain_errors(path):
        if not Path(path).exists():
            raise StoreError(f"{path}: there is no such store; flowctl ingest makes one")
        connection.execute(f"ATTACH {quoted(absolute(path))} AS {name} (READ_ONLY)")
    check_version(connection, path, f"{name}.")
    return Part(number, f"{name}.", path)


def _attach_parquet(connection: duckdb.DuckDBPyConnection, number: int, path: str) -> Part:
    """Views that give Parquet files the shape of a DuckDB store's tables."""
    check_marker(path)
    name = f"part{number}"
    with plain_errors(path):
        if is_remote(path):
            connection.register_filesystem(filesystem(path)[0])
        connection.execute(f"CREATE SCHEMA {name}")
        files = {table.name: parquet_files(path, table) for table in (SOURCES, SKIPS, FLOWS, CONNECTIONS)}
        for column in ("network", "observer"):
            names = (
                " UNION ".join(
                    f"SELECT {column} AS name FROM {files[table.name]}"
                    for table in (FLOWS, CONNECTIONS)
                    if files[table.name]
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
        for table in (SKIPS, FLOWS, CONNECTIONS):
            connection.execute(f"CREATE VIEW {name}.{table.name} AS {_as_stored(table, files[table.name], name)}")
    return Part(number, f"{name}.", path)


def is_remote(path: str) -> bool:
    """Whether the store is a URL (s3://, gs://, az://, ...), which fsspec reads."""
    return "://" in path


def is_parquet(path: str) -> bool:
    """Whether the store is one of Parquet files: a directory, or a prefix of an object store."""
    return is_remote(path) or Path(path).is_dir()


def filesystem(path: str) -> tuple[Any, str]:
    """(fsspec file system, path in it) of a URL. Raises StoreError when what reads such URLs is not installed."""
    try:
        from fsspec.core import url_to_fs

        found: tuple[Any, str] = url_to_fs(path)
        return found
    except (ImportError, ValueError) as problem:
        raise StoreError(f"{path}: {problem}; install flowctl-microseg with [s3], [gcs] or [azure]") from problem


def check_marker(path: str) -> int:
    """The slice length of the Parquet store in a directory. Raises StoreError when it is none, or of another layout."""
    try:
        if is_remote(path):
            files, root = filesystem(path)
            text = files.cat_file(f"{root.rstrip('/')}/{MARKER}")
        else:
            text = (Path(path) / MARKER).read_bytes()
        marker = json.loads(text)
        version, seconds = int(marker["schema"]), int(marker["slice_seconds"])
    except FileNotFoundError as problem:
        raise StoreError(f"{path}: there is no {MARKER} in it, so it is no flow store; name another") from problem
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise StoreError(f"{path}/{MARKER}: cannot be read: {problem}") from problem
    if version != VERSION:
        raise StoreError(f"{path}: a Parquet store of layout {version}, this version reads {VERSION}; export it anew")
    return seconds


def parquet_files(path: str, table: StoreTable) -> str:
    """SQL that reads a table's files, or nothing when there are none."""
    if is_remote(path):
        files, root = filesystem(path)
        listed = [files.unstrip_protocol(name) for name in files.find(f"{root.rstrip('/')}/{table.name}")]
    else:
        listed = [str(file) for file in (Path(path) / table.name).rglob("*.parquet")]
    listed = sorted(name for name in listed if name.endswith(".parquet"))
    if not listed:
        return ""
    return f"read_parquet([{', '.join(map(quoted, listed))}], hive_partitioning = false)"


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
