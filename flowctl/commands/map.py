"""`flowctl map`: who talks to whom."""

from __future__ import annotations

from typing import Any

import click

from flowctl.options import input_options, inputs_of, source_arguments


def _input_options(function: Any) -> Any:
    return input_options(function, ("--input-format",))


@click.command("map", short_help="Show who talks to whom, as a table or a graph.")
@source_arguments
@_input_options
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["dot", "graphml", "json", "table"]),
    default="table",
    show_default=True,
    help="How to print the map.",
)
def command(sources: tuple[str, ...], output_format: str, **inputs: Any) -> None:
    """Read SOURCE... and print every edge: client, server, port, how often, how its direction was decided, and
    whether it may become a rule.
    """
    from flowctl.map_formats import printer
    from flowctl.observe import observe, skipped_exit

    chosen = inputs_of(sources, inputs)
    observation = observe(chosen)
    printer(output_format).show(observation)
    skipped_exit(observation, chosen.strict)
