"""The files of a store of Parquet files, on disk so that DuckDB reads them: those of its commits, or all there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analyzers.ingest.coverage import SkipCounts
from analyzers.objects.object_store import is_url
from analyzers.store.commits import TABLES, committed, read_marker
from analyzers.store.database import StoreError, quoted
from analyzers.store.places import ObjectPlace, Place, place_of
from analyzers.store.schema import MARKER, SKIPS, SOURCES
from analyzers.store.write import SourceFacts


class ParquetFiles:
    """Which files hold which table."""

    def __init__(self, path: str, folder: Path) -> None:
        """`folder`: where files of an object store are fetched to. Raises StoreError."""
        place = place_of(path)
        try:
            marker = read_marker(place)
            if marker is None:
                raise StoreError(f"{path}: there is no {MARKER} in it, so it is no flow store; name another")
            self.slice_seconds = int(str(marker["slice_seconds"]))
            names = _committed_names(place) if marker.get("commits") else _all_names(place)
            root = _fetched(place, names, folder) if isinstance(place, ObjectPlace) else Path(path)
        except OSError as problem:
            raise StoreError(f"{path}: cannot be read: {problem}") from problem
        self._files = {table: [str(root / name) for name in found] for table, found in names.items()}
        missing = [file for found in self._files.values() for file in found if not Path(file).is_file()]
        if missing:
            raise StoreError(f"{path}: {missing[0]} is missing, which a commit names; the store is not whole")

    def sql(self, table: str) -> str:
        """SQL that reads a table's rows, or nothing when it has no files."""
        files = self._files.get(table)
        return f"read_parquet([{', '.join(map(quoted, files))}], hive_partitioning = false)" if files else ""


def slice_seconds_at(path: str) -> int:
    """Length of the slices of a store of Parquet files, in seconds. Raises StoreError."""
    marker = read_marker(place_of(path))
    if marker is None:
        raise StoreError(f"{path}: there is no {MARKER} in it, so it is no flow store; name another")
    return int(str(marker["slice_seconds"]))


def bytes_at(url: str) -> int:
    """Size of all objects of a store. Raises OSError."""
    place = ObjectPlace(url)
    return sum(found.size for table in TABLES for found in place.objects(table.name))


def is_parquet_store(path: str) -> bool:
    """Whether a path is that of a directory or of a prefix, not of a DuckDB file."""
    return is_url(path) or Path(path).is_dir()


def _committed_names(place: Place) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {table.name: [] for table in TABLES}
    for commit in committed(place):
        for table, files in commit.files.items():
            names[table] += files
    return names


def _all_names(place: Place) -> dict[str, list[str]]:
    return {table.name: [name for name in place.names(table.name) if name.endswith(".parquet")] for table in TABLES}


def _fetched(place: ObjectPlace, names: dict[str, list[str]], folder: Path) -> Path:
    """The directory that the named objects were fetched to."""
    root = folder / f"fetched-{len(list(folder.iterdir()))}"
    for table, files in names.items():
        there = {place.name_of(found): found for found in place.objects(table)} if files else {}
        for name in files:
            if name not in there:
                raise StoreError(f"{place.path}: {name} is missing, which a commit names; the store is not whole")
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as out:
                for piece in place.pieces(there[name]):
                    out.write(piece)
    root.mkdir(parents=True, exist_ok=True)
    return root


def facts_of_sources(place: Place, files: dict[str, list[str]]) -> list[SourceFacts]:
    """What the named files of the sources and skips tables tell, in the order of names. Raises StoreError."""
    import io

    import pyarrow.parquet as parquet

    tables: dict[str, list[dict[str, Any]]] = {SOURCES.name: [], SKIPS.name: []}
    for table, rows in tables.items():
        for name in files.get(table, ()):
            try:
                rows += parquet.read_table(io.BytesIO(place.read(name))).to_pylist()
            except OSError as problem:
                raise StoreError(f"{place.path}/{name}: cannot be read: {problem}") from problem
    found: dict[str, SourceFacts] = {}
    for row in tables[SOURCES.name]:
        facts = SourceFacts(*(row[name] for name in ("name", "format", "bytes_read", "records", "first", "last")))
        facts.skips.append(SkipCounts(facts.name, notes=set(row["notes"]), unit=row["unit"], plain=row["plain"]))
        found[row["key"]] = facts
    for row in tables[SKIPS.name]:
        places = list(zip(row["offsets"], row["samples"], strict=True))
        found[row["source"]].skips[0].add(row["reason"], row["count"], places)
    return sorted(found.values(), key=lambda one: one.name)
