"""What the subcommands of `flowctl store` do and print."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from analyzers.ingest.aggregate import available_cores
from analyzers.ingest.sources import InputError
from analyzers.store.memory import divide
from analyzers.store.upkeep import compact, export_parquet, forget, store_info
from flowctl.options import Unusable
from flowctl.printing import ROWS, clean, console, table, time_text
from flowctl.progress import reading_progress


@contextlib.contextmanager
def _limits(memory: int) -> Iterator[tuple[int, int]]:
    """(bytes for DuckDB, threads); failures of the store in a line."""
    try:
        yield divide(memory, 1).settling, available_cores()
    except InputError as problem:
        raise Unusable(str(problem)) from problem


def show_info(path: str, memory: int) -> None:
    """Print what is in the store."""
    with _limits(memory) as (size, threads):
        found = store_info(path, size, threads)
    out = console()
    rows: list[tuple[str, str]] = [
        ("layout", f"{found.layout}, time slices of {found.slice_seconds} s"),
        ("size", f"{found.size / 1e6:,.1f} MB"),
        *(
            (f"objects: {name or 'nothing readable'}", f"{count:,} of {size / 1e6:,.1f} MB, {records:,} records")
            for name, count, size, records in found.objects
        ),
        ("skipped, and not seen", f"{found.skipped:,}"),
        ("rows with a settled direction", f"{found.flow_rows:,}"),
        ("rows without", f"{found.connection_rows:,}"),
        ("networks", f"{found.networks:,}"),
        ("observers", f"{found.observers:,}"),
        ("times", f"{time_text(found.first)} to {time_text(found.last)}"),
    ]
    out.print(table(f"Flow store {clean(path)}", ("what", "how much"), rows))
    days = [(day, f"{count:,}", f"{records:,}") for day, count, records in found.days]
    if len(days) > ROWS:
        days = days[-ROWS:]
    if days:
        out.print()
        out.print(table("By day", ("day", "rows", "records"), days, (1, 2)))


def forget_rows(path: str, sources: tuple[str, ...], between: tuple[int, int] | None, memory: int) -> None:
    """Forget, and print what."""
    with _limits(memory) as (size, threads):
        done = forget(path, sources, between, size, threads)
    out = console()
    out.print(f"forgotten: {done.objects:,} objects, {done.rows:,} rows")
    for name in done.kept[:ROWS]:
        out.print(f"kept: {clean(name)}: its rows are merged with other objects'; use --between", soft_wrap=True)
    if len(done.kept) > ROWS:
        out.print(f"kept: and {len(done.kept) - ROWS} more")


def compact_store(path: str, merge_before: int | None, memory: int) -> None:
    """Compact, and print by how much."""
    old = Path(path).stat().st_size if Path(path).exists() else 0
    with _limits(memory) as (size, threads), reading_progress() as bar:
        before, after = compact(path, merge_before, size, threads, bar.stage if bar else None)
    new = Path(path).stat().st_size
    console().print(f"{before:,} rows became {after:,}; {old / 1e6:,.1f} MB became {new / 1e6:,.1f} MB")


def export_store(path: str, folder: Path, memory: int) -> None:
    """Export, and print where to."""
    with _limits(memory) as (size, threads), reading_progress() as bar:
        rows = export_parquet(path, folder, size, threads, bar.stage if bar else None)
    console().print(f"{rows:,} rows are in {clean(folder)}", soft_wrap=True)


def migrate_store(path: str, memory: int) -> None:
    """Migrate, and print from what to what."""
    from analyzers.store.migrations import migrate

    with _limits(memory) as (size, threads):
        before, after = migrate(path, size, threads)
    console().print(
        f"{clean(path)}: layout {before} became {after}" if before != after else f"{clean(path)}: up to date"
    )
