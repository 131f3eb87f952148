"""Opening DuckDB files as flow stores: creation, versions, locks, limits, and every failure in words that help."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analyzers.ingest.sources import InputError
from analyzers.store.schema import (
    META,
    NETWORKS,
    OBSERVERS,
    SLICE_SECONDS,
    TABLES,
    VERSION,
    StoreTable,
    create_statement,
)

if TYPE_CHECKING:
    import duckdb

DEFAULT_MEMORY = 1 << 30
MAGIC_AT, MAGIC = 8, b"DUCK"
"""A DuckDB file has these bytes at this offset."""

_LOCKED = re.compile(r"Conflicting lock is held in .*?\(PID (\d+)\)")


class StoreError(InputError):
    """A store cannot be used; the message says which, why and what to do."""


@contextlib.contextmanager
def plain_errors(path: str) -> Iterator[None]:
    """DuckDB's and the system's errors about the store at `path` as StoreError."""
    import duckdb

    try:
        yield
    except duckdb.OutOfMemoryException as problem:
        raise StoreError(f"{path}: the memory given is too little for this step; raise --memory") from problem
    except (duckdb.Error, OSError) as problem:
        raise StoreError(f"{path}: {_in_words(str(problem))}") from problem


def _in_words(text: str) -> str:
    first_line = text.strip().splitlines()[0] if text.strip() else "unknown failure"
    locked = _LOCKED.search(text)
    if locked:
        return f"another process ({locked[1]}) has it open; wait until that is done, or use another store"
    for pattern, words in (
        ("Could not set lock", "another process has it open; wait until that is done, or use another store"),
        ("not a valid DuckDB database file", "this file is no flow store; name another, or remove it"),
        ("File too large", "the file may not grow any further (a limit on file sizes); raise it and run it again"),
        ("No space left", "no space left on the disk; what was committed is kept, make room and run it again"),
        ("max_temp_directory_size", "no space left for temporary files; make room and run it again"),
        ("Read-only file system", "the file system is read-only; put the store elsewhere"),
        ("Permission denied", "permission denied; make it writable, or put the store elsewhere"),
        ("Is a directory", "this is a directory, not a flow store"),
        ("No such file or directory", "there is no such file or directory"),
        ("does not exist", "there is no such store; flowctl ingest makes one"),
        ("version number", "the file was written by a newer DuckDB; upgrade duckdb"),
    ):
        if pattern in text:
            return words
    if re.search(r"[Cc]orrupt|checksum|read enough bytes|Failure while replaying WAL", text):
        return f"the file is damaged ({first_line}); restore a copy, or ingest into a new store"
    return first_line


def settings(memory: int, threads: int, scratch: Path | str) -> dict[str, str | bool | int | float | list[str]]:
    """DuckDB's configuration: within `memory` bytes, spilling to `scratch`, never fetching extensions."""
    return {
        "memory_limit": f"{max(memory, 64 << 20) >> 10}KiB",
        "threads": max(1, threads),
        "temp_directory": str(scratch),  # "": nothing is spilled
        "preserve_insertion_order": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }


def is_store_file(path: str) -> bool:
    """Whether the file begins as DuckDB files do. A pipe does not, which what is looked at here would be lost of."""
    if not Path(path).is_file():
        return False
    try:
        with Path(path).open("rb") as file:
            return file.read(MAGIC_AT + len(MAGIC))[MAGIC_AT:] == MAGIC
    except OSError:
        return False


def open_for_writing(
    path: str, *, create: bool, slice_seconds: int | None = None, memory: int = DEFAULT_MEMORY, threads: int = 1
) -> duckdb.DuckDBPyConnection:
    """The store, exclusively; made when it is not there and `create` says so. Raises StoreError.

    `slice_seconds` None: what the store has, or SLICE_SECONDS for a new one.
    """
    import duckdb

    if "://" in path:
        raise StoreError(f"{path}: a store that is written here is a file; an object store takes what is exported")
    with plain_errors(path):
        absolute(path)
        if create and not Path(path).exists():
            _create(Path(path), slice_seconds or SLICE_SECONDS)
        elif not Path(path).exists():
            raise StoreError(f"{path}: there is no such store; flowctl ingest makes one")
        scratch = Path(f"{path}.tmp")
        connection = duckdb.connect(absolute(path), config=settings(memory, threads, scratch))
        # what killed processes left; the lock is ours now
        shutil.rmtree(scratch, ignore_errors=True)
        _remove_unfinished(Path(path))
    try:
        check_version(connection, path)
        if slice_seconds not in (None, stored_slice_seconds(connection)):
            raise StoreError(
                f"{path}: its time slices are {stored_slice_seconds(connection)} s long; leave --slice out, or use "
                "another store"
            )
    except BaseException:
        connection.close()
        raise
    return connection


def _create(path: Path, slice_seconds: int) -> None:
    """A store without rows, which appears whole or not at all."""
    import duckdb

    partial = path.with_name(f".{path.name}.{os.getpid()}.new")
    partial.unlink(missing_ok=True)
    try:
        connection = duckdb.connect(str(partial))
        try:
            make_tables(connection, slice_seconds)
            connection.execute("CHECKPOINT")
        finally:
            connection.close()
        # another process may have made one meanwhile: that is the store then
        with contextlib.suppress(FileExistsError):
            os.link(partial, path)
    finally:
        partial.unlink(missing_ok=True)
        Path(f"{partial}.wal").unlink(missing_ok=True)


def _remove_unfinished(path: Path) -> None:
    """Stores that processes were killed over while they made them."""
    for partial in path.parent.glob(f".{path.name}.*.new*"):
        number = partial.name.removeprefix(f".{path.name}.").split(".")[0]
        try:
            os.kill(int(number), 0)
        except (ValueError, ProcessLookupError, OverflowError):
            partial.unlink(missing_ok=True)
        except PermissionError:
            pass  # it lives, under another user


def make_tables(connection: duckdb.DuckDBPyConnection, slice_seconds: int) -> None:
    """All tables of schema.py, empty."""
    for table in TABLES:
        connection.execute(create_statement(table))
    connection.executemany(
        f"INSERT INTO {META.name} VALUES (?, ?)", [("schema", str(VERSION)), ("slice_seconds", str(slice_seconds))]
    )
    for names in (NETWORKS, OBSERVERS):
        connection.execute(f"INSERT INTO {names.name} VALUES (0, '')")


def schema_version(connection: duckdb.DuckDBPyConnection, prefix: str = "") -> int | None:
    """The version that the store says it has; None when it is no flow store."""
    import duckdb

    try:
        found = connection.execute(f"SELECT value FROM {prefix}meta WHERE name = 'schema'").fetchall()
        return int(found[0][0]) if found else None
    except (duckdb.CatalogException, duckdb.BinderException, ValueError):
        return None


def check_version(connection: duckdb.DuckDBPyConnection, path: str, prefix: str = "") -> None:
    """Raises StoreError unless the store has the layout that this version reads and writes."""
    with plain_errors(path):
        found = schema_version(connection, prefix)
    if found is None:
        raise StoreError(f"{path}: a DuckDB database, but no flow store; name another")
    if found < VERSION:
        raise StoreError(
            f"{path}: a store of layout {found}, this version reads {VERSION}; run: flowctl store migrate {path}"
        )
    if found > VERSION:
        raise StoreError(f"{path}: a store of layout {found}, newer than this flowctl knows ({VERSION}); upgrade it")


def stored_slice_seconds(connection: duckdb.DuckDBPyConnection, prefix: str = "") -> int:
    """Length of the store's time slices in seconds."""
    found = connection.execute(f"SELECT value FROM {prefix}meta WHERE name = 'slice_seconds'").fetchall()
    return int(found[0][0]) if found else SLICE_SECONDS


def whole_number(connection: duckdb.DuckDBPyConnection, query: str, parameters: list[object] | None = None) -> int:
    """The one number that a query gives."""
    return int(connection.execute(query, parameters or []).fetchall()[0][0])


Stage = Callable[[str, Callable[[], float]], None]
"""Told what begins now, and how to ask for its percentage (less than 0: not known), from any thread."""


class Stages:
    """Tells `stage`, if anybody wants to know, what a connection is at."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, stage: Stage | None) -> None:
        self._connection = connection
        self._stage = stage
        if stage is not None:
            connection.execute("SET enable_progress_bar = true")
            connection.execute("SET enable_progress_bar_print = false")

    def begin(self, what: str) -> None:
        """The next statements are for this."""
        if self._stage is not None:
            self._stage(what, self._percent)

    def _percent(self) -> float:
        import duckdb

        try:
            return float(self._connection.query_progress())
        except duckdb.Error:  # closed: it is done
            return 100.0


def absolute(path: str) -> str:
    """The path as DuckDB cannot take it for anything else: `name:rest` would be a database of an extension. Raises
    StoreError for one that it does not take at all."""
    whole = str(Path(path).absolute())
    if plain_text(whole) != whole:
        raise StoreError(f"{plain_text(path)}: DuckDB takes no path that is no UTF-8; name the store otherwise")
    return whole


def quoted(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def plain_text(text: str) -> str:
    """Text that a database takes: file names may hold bytes that are no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def insert(cursor: duckdb.DuckDBPyConnection, table: str, incoming: dict[str, Any]) -> None:  # noqa: ARG001
    """Append columns (numpy arrays of one length) to a table by name; types are cast, and must fit.

    DuckDB finds `incoming` by its name in this frame; a registered view would keep it until the transaction ends.
    """
    cursor.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming")


def insert_rows(cursor: duckdb.DuckDBPyConnection, table: StoreTable, rows: Sequence[Mapping[str, object]]) -> None:
    """Append rows by column names (layouts that were migrated have columns in another order); values may be lists."""
    columns: dict[str, Any] = {}
    for column in table.columns if rows else ():
        columns[column.name] = values = np.empty(len(rows), object)
        for place, row in enumerate(rows):
            values[place] = row[column.name]
    if rows:
        insert(cursor, table.name, columns)
