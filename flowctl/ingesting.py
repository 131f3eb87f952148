"""What `flowctl ingest` does: open the store, take the objects, say what came of it."""

from __future__ import annotations

from typing import Any

import click

from analyzers.ingest.aggregate import IngestOptions, available_cores
from analyzers.ingest.log_formats import log_formats
from analyzers.ingest.sources import InputError
from analyzers.inventory import Inventory
from analyzers.inventory.load import InventoryError, load_inventory
from analyzers.inventory.resolve import cuts, interface_networks
from analyzers.kernels.jit import compiled_before
from analyzers.objects.key_layout import Window
from analyzers.store.identity import identifiable_sources
from analyzers.store.intake import Intake
from analyzers.store.memory import divide
from analyzers.store.objects import IntakeSummary
from analyzers.store.parquet_files import is_parquet_store
from analyzers.store.write import FlowStore
from flowctl.options import INTERRUPTED, Inputs, Unusable, network_patterns
from flowctl.progress import taking_progress


def ingest_with_spark(inputs: Inputs, path: str, master: str | None, slice_seconds: int | None) -> int:
    """The same on a Spark cluster, into a store of Parquet files."""
    from analyzers.spark.job import take_with_spark

    try:
        summary = take_with_spark(inputs.sources, path, _options(inputs), master, slice_seconds)
    except (InputError, InventoryError) as problem:
        raise Unusable(str(problem)) from problem
    return _outcome(summary, path, inputs.strict)


def _options(inputs: Inputs) -> IngestOptions:
    """How to read. Raises InventoryError."""
    inventory = load_inventory(list(inputs.inventory)) if inputs.inventory else Inventory()
    return IngestOptions(
        networks=network_patterns(inputs.networks),
        format=inputs.format,
        threads=inputs.threads or available_cores(),
        interface_networks=interface_networks(inventory),
        cuts=cuts(inventory),
        log_formats=log_formats(inputs.log_format, inventory.flow_logs),
        window=Window(inputs.since, inputs.until),
        outer=inputs.outer,
        memory_bytes=inputs.memory,
    )


def ingest(inputs: Inputs, path: str, slice_seconds: int | None, changed: Any) -> int:
    """Take the sources into the store at `path`, print what was done, and return the exit code.

    Raises Unusable for names that lead nowhere and stores that cannot be used.
    """
    if not compiled_before():
        click.echo("flowctl: compiling kernels for this machine, once (about half a minute) ...", err=True)
    threads = inputs.threads or available_cores()
    try:
        if is_parquet_store(path):
            raise InputError(f"{path}: a directory: only --engine spark writes stores of Parquet files; name a file")
        options = _options(inputs)
        memory = divide(inputs.memory, threads).database
        sources, notes = identifiable_sources(inputs.sources, options.window)
        store = FlowStore(path, slice_seconds=slice_seconds, memory=memory, threads=threads)
        try:
            with taking_progress() as progress:
                summary = Intake(store, options, changed, progress).run(sources, notes)
        finally:
            store.close()
    except (InputError, InventoryError) as problem:
        raise Unusable(str(problem)) from problem
    return _outcome(summary, path, inputs.strict)


def _outcome(summary: IntakeSummary, path: str, strict: bool) -> int:
    from flowctl.store_printing import print_taken

    if summary.interrupted:
        there = summary.taken + summary.unchanged
        click.echo(
            f"flowctl: interrupted; {there} of {summary.objects} objects are in {path}, the same command goes on "
            "from there",
            err=True,
        )
        return INTERRUPTED
    print_taken(summary, path)
    if strict and (summary.report.skips or summary.left):
        click.echo("flowctl: input was skipped, and --strict was given", err=True)
        return 3
    return 0
