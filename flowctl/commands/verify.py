"""`flowctl verify`: would these policies deny anything that was seen?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from flowctl.options import input_options, inputs_of, store_option


@click.command("verify", short_help="Replay what was seen through a directory of policies.")
@click.argument("policies", type=click.Path(exists=True, path_type=Path), metavar="POLICY_DIR")
@click.option(
    "--flows",
    "sources",
    multiple=True,
    metavar="SOURCE",
    help="Flow logs or captures; may be given several times.",
)
@click.argument("more_sources", nargs=-1, metavar="[SOURCE...]")
@store_option
@input_options
def command(policies: Path, sources: tuple[str, ...], more_sources: tuple[str, ...], **inputs: Any) -> None:
    """Replay every qualified flow of the sources through the NetworkPolicies (*.yaml, *.json) and security groups
    (*.tf) below POLICY_DIR. Exits with 1 when one is denied, and names the rule path that denies it.
    """
    from flowctl.observe import observe, skipped_exit
    from flowctl.printing import print_verified
    from flowctl.verifying import verify

    chosen = inputs_of((*sources, *more_sources), inputs)
    if not chosen.inventory:
        raise click.UsageError("verify needs --inventory: without it no policy selects anything")
    observation = observe(chosen)
    judged = verify(policies, observation)
    print_verified(observation, judged)
    if any(one.proof.denied or one.problems for one in judged):
        sys.exit(1)
    skipped_exit(observation, chosen.strict)
