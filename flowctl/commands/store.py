"""`flowctl store`: looking after a flow store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from flowctl.options import memory_option

F = TypeVar("F", bound=Callable[..., Any])


class Moment(click.ParamType[int]):
    """A date or time in ISO 8601, UTC unless it says otherwise."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Seconds since 1970; fails with a usage error."""
        if isinstance(value, int):
            return value
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time such as 2026-01-31 or 2026-01-31T15:00:00Z", param, ctx)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def store_argument(function: F) -> F:
    """STORE, and --memory."""
    return click.argument("store", metavar="STORE")(memory_option(function))


@click.group("store", short_help="Look after a flow store: info, forget, compact, export, migrate.")
def command() -> None:
    """Look after a flow store that `flowctl ingest` made."""


@command.command("info")
@store_argument
def info(store: str, memory: int) -> None:
    """Tell what is in STORE: objects, rows, times, sizes."""
    from flowctl.store_upkeep import show_info

    show_info(store, memory)


@command.command("forget")
@store_argument
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="X",
    help="Objects to forget: a name, a path, a glob, or a directory. May be given several times.",
)
@click.option(
    "--between",
    nargs=2,
    type=Moment(),
    metavar="FROM TO",
    help="Only time slices that begin at FROM or later, and before TO.",
)
def forget(store: str, sources: tuple[str, ...], between: tuple[int, int] | None, memory: int) -> None:
    """Remove objects or times from STORE. Objects that are forgotten as a whole may be taken again."""
    from flowctl.store_upkeep import forget_rows

    if not sources and between is None:
        raise click.UsageError("say what to forget: --source X, --between FROM TO, or both")
    if between is not None and between[0] >= between[1]:
        raise click.UsageError("--between: FROM is not before TO, so no row lies between them")
    forget_rows(store, sources, between, memory)


@command.command("compact")
@store_argument
@click.option(
    "--merge-before",
    type=Moment(),
    metavar="TIME",
    help="Add up the rows of all objects in time slices before TIME: smaller, but those objects can then be forgotten "
    "by time only.",
)
def compact(store: str, merge_before: int | None, memory: int) -> None:
    """Rewrite STORE so that it is as small as its content."""
    from flowctl.store_upkeep import compact_store

    compact_store(store, merge_before, memory)


@command.command("export")
@click.argument("form", metavar="parquet", type=click.Choice(["parquet"]))
@store_argument
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
def export(form: str, store: str, output: Path, memory: int) -> None:
    """Write STORE as Parquet files to the new directory DIR, which every --store reads as well."""
    from flowctl.store_upkeep import export_store

    assert form == "parquet"
    export_store(store, output, memory)


@command.command("migrate")
@store_argument
def migrate(store: str, memory: int) -> None:
    """Bring STORE to the layout of this version, in one step that happens whole or not at all."""
    from flowctl.store_upkeep import migrate_store

    migrate_store(store, memory)
