"""`flowctl ingest`: flow logs and captures into a flow store, each object once."""

from __future__ import annotations

import sys
from typing import Any

import click

from flowctl.options import INTERRUPTED, Inputs, input_options


@click.command("ingest", short_help="Take flow logs and captures into a flow store, each exactly once.")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option(
    "--store",
    "store",
    required=True,
    metavar="STORE",
    help="The flow store, made when it is not there: a DuckDB file; with --engine spark a directory or a prefix of an "
    "object store (s3://...), of Parquet files.",
)
@input_options
@click.option(
    "--slice",
    "slice_seconds",
    type=click.IntRange(60, 7 * 86400),
    metavar="SECONDS",
    help="Length of a time slice of a new store; rows of one slice are added up. Default: 3600.",
)
@click.option(
    "--changed",
    type=click.Choice(["add", "replace", "skip"]),
    default="skip",
    show_default=True,
    help="What becomes of an object that was taken before and has other content now: leave it (skip), put it in the "
    "place of what was taken (replace), or keep both (add: a log that was rotated). One that only grew is replaced.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "spark"]),
    default="local",
    show_default=True,
    help="What does the work: this machine, or a Spark cluster (extra [spark]).",
)
@click.option(
    "--master",
    metavar="URL",
    help="Spark's master, as spark://host:7077 or local[4]. Default: what spark-submit or Spark's configuration says.",
)
def command(
    sources: tuple[str, ...],
    store: str,
    slice_seconds: int | None,
    changed: str,
    engine: str,
    master: str | None,
    **inputs: Any,
) -> None:
    """Aggregate SOURCE... (as for generate) into the flow store, per time slice and object.

    Run it again as often as you like: an object that is in the store is not read again, and a run that was stopped or
    killed goes on where it was. Other commands read the store with --store.
    """
    chosen = Inputs(
        sources, inputs["inventory"], inputs["networks"], inputs["input_format"], inputs["threads"], inputs["strict"],
        inputs["log_format"], memory=inputs["memory"], outer=inputs["outer"], since=inputs["since"],
        until=inputs["until"],
    )  # fmt: skip
    if master and engine != "spark":
        raise click.UsageError("--master goes with --engine spark")
    if engine == "spark" and changed != "skip":
        raise click.UsageError("--engine spark adds rows up over objects: what was taken cannot be replaced")
    try:
        from flowctl.ingesting import ingest, ingest_with_spark

        if engine == "spark":
            code = ingest_with_spark(chosen, store, master, slice_seconds)
        else:
            code = ingest(chosen, store, slice_seconds, changed)
    except KeyboardInterrupt:  # before it began, or at its very end: what comes between is told with numbers
        click.echo(f"flowctl: interrupted; what is in {store} stays there, the same command goes on from it", err=True)
        code = INTERRUPTED
    sys.exit(code)
