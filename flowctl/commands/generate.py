"""`flowctl generate`: policies from what was seen, written, read back and proven."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from flowctl.options import input_options, inputs_of, source_arguments


@click.command("generate", short_help="Write least-privilege policies from flow logs and captures, and prove them.")
@source_arguments
@input_options
@click.option(
    "--target",
    "targets",
    multiple=True,
    type=click.Choice(["aws-sg", "kubernetes"]),
    help="What to write; may be given several times. Default: kubernetes.",
)
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
@click.option("--default-deny", is_flag=True, help="Isolate workloads that were never seen too; they keep DNS.")
@click.option(
    "--internet-sources",
    default=16,
    show_default=True,
    type=click.IntRange(1),
    metavar="N",
    help="A port that more than N distinct public sources reach is internet-facing.",
)
@click.option(
    "--max-exact-addresses",
    default=32,
    show_default=True,
    type=click.IntRange(1),
    metavar="N",
    help="Say so when a port of a workload has more than N exact external addresses.",
)
def command(
    sources: tuple[str, ...],
    targets: tuple[str, ...],
    output: Path,
    default_deny: bool,
    internet_sources: int,
    max_exact_addresses: int,
    **inputs: Any,
) -> None:
    """Read SOURCE... (files, directories, globs, - for stdin: AWS VPC flow logs, pcap, pcapng; plain, gzip or zstd),
    write one policy per workload below DIR, read the files back, and replay every qualified flow through them.

    Exits with 1 when a qualified flow is denied.
    """
    from flowctl.observe import observe, skipped_exit
    from flowctl.printing import print_generated
    from flowctl.report import previous_files, write_report
    from flowctl.targets import GenerateOptions, runner

    chosen = inputs_of(sources, inputs)
    if not chosen.inventory:
        raise click.UsageError("generate needs --inventory: without it no address has a name")
    observation = observe(chosen)
    options = GenerateOptions(output, default_deny, internet_sources, max_exact_addresses)
    earlier = previous_files(output)
    results = [runner(name).run(observation, options) for name in sorted(set(targets) or {"kubernetes"})]
    stale = write_report(output, observation, results, earlier)
    print_generated(observation, results, output, stale)
    if any(result.errors or result.proof.denied or result.problems for result in results):
        sys.exit(1)
    skipped_exit(observation, chosen.strict)
