"""Steps from one layout of a store to the next: from_<n>.py has `migrate(connection)`, which ends at layout n + 1.

A step spells out its own SQL: schema.py tells the newest layout only, and steps must go on working when that changes.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import duckdb

from analyzers.store.database import StoreError, absolute, plain_errors, schema_version, settings
from analyzers.store.schema import VERSION


def migrate(path: str, memory: int, threads: int) -> tuple[int, int]:
    """Bring the store to the newest layout, in one transaction. (layout before, layout after); raises StoreError."""
    with plain_errors(path):
        if not Path(path).exists():
            raise StoreError(f"{path}: there is no such store; flowctl ingest makes one")
        connection = duckdb.connect(absolute(path), config=settings(memory, threads, f"{path}.tmp"))
        try:
            before = schema_version(connection)
            if before is None:
                raise StoreError(f"{path}: a DuckDB database, but no flow store; name another")
            if before > VERSION:
                raise StoreError(f"{path}: a store of layout {before}, newer than this flowctl knows ({VERSION})")
            connection.execute("BEGIN TRANSACTION")
            for version in range(before, VERSION):
                importlib.import_module(f"{__name__}.from_{version}").migrate(connection)
                connection.execute("UPDATE meta SET value = ? WHERE name = 'schema'", [str(version + 1)])
            connection.execute("COMMIT")
        finally:
            connection.close()
    return before, VERSION


def steps() -> list[int]:
    """The layouts that there is a step from."""
    names = [name.removesuffix(".py") for name in os.listdir(__path__[0]) if name.startswith("from_")]  # noqa: PTH208
    return sorted(int(name.removeprefix("from_")) for name in names)
