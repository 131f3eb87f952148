"""A temporary DuckDB database: where rows go that outgrow the memory, and where stores are read and merged."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import duckdb
import numpy as np

from analyzers.ingest.worker_tables import WorkerTables
from analyzers.store.database import insert, plain_errors, plain_text, settings
from analyzers.store.rows import Cuts, Emptier
from analyzers.store.schema import CONNECTIONS, FLOWS, NETWORKS, OBSERVERS, create_statement


class Spill:
    """The database, removed on `close`. Threads may share it; `rows` tells how many it has taken."""

    def __init__(self, memory: int, threads: int) -> None:
        """`memory`: bytes for DuckDB. Raises StoreError."""
        self.folder = Path(tempfile.mkdtemp(prefix="flowctl-"))
        self.rows = 0
        self._lock = threading.Lock()
        self._numbers: dict[str, dict[str, int]] = {"networks": {"": 0}, "observers": {"": 0}}
        with plain_errors(str(self.folder)):
            self.connection = duckdb.connect(
                str(self.folder / "work.duckdb"), config=settings(memory, threads, self.folder)
            )
            for table in (NETWORKS, OBSERVERS, FLOWS, CONNECTIONS):
                self.connection.execute(create_statement(table))

    def emptier(self, cuts: Cuts) -> Emptier:
        """For one thread."""
        return Emptier(cuts, 0, self.numbers_of)

    def take(self, tables: WorkerTables, emptier: Emptier) -> None:
        """All rows of the tables, which are empty afterwards."""
        for table, columns in emptier.chunks(tables):
            count = len(columns["first"])
            with self._lock, plain_errors(str(self.folder)):
                self.rows += count
                insert(self.connection, table.name, {"source": np.zeros(count, np.uint32), **columns})

    def numbers_of(self, table: str, names: list[str]) -> list[int]:
        """Numbers of names in `networks` or `observers`."""
        with self._lock:
            known = self._numbers[table]
            return [known.setdefault(name, len(known)) for name in names]

    def write_names(self) -> None:
        """The dictionary tables, once all rows are there."""
        for table, known in self._numbers.items():
            names: Mapping[str, int] = known
            columns = {
                "id": np.array(list(names.values()), np.uint32),
                "name": np.array([plain_text(name) for name in names], object),
            }
            with plain_errors(str(self.folder)):
                self.connection.execute(f"DELETE FROM {table}")
                insert(self.connection, table, columns)

    def limit(self, memory: int) -> None:
        """What DuckDB may take from now on, in bytes."""
        with plain_errors(str(self.folder)):
            self.connection.execute(f"SET memory_limit = '{memory >> 10}KiB'")

    def close(self) -> None:
        """Remove it."""
        self.connection.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Spill:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
