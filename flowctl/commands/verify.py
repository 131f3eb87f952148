"""`flowctl verify`: would these policies deny anything that was seen, and how much do they allow beside it?"""

from __future__ import annotations

import sys
from typing import Any

import click

from flowctl.options import input_options, inputs_of, store_option
from flowctl.policy_options import cni_option, policies_argument, refuse_left_out
from flowctl.repeated_values import RepeatedValues


def _input_options(function: Any) -> Any:
    return input_options(function, ("--input-format",))


@click.command(
    "verify", cls=RepeatedValues, short_help="Replay what was seen through policies: what breaks, what nobody needs."
)
@policies_argument
@click.option(
    "--flows",
    "sources",
    multiple=True,
    metavar="SOURCE...",
    help="Flow logs or captures; every value up to the next option is one.",
)
@store_option
@_input_options
@cni_option
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["json", "table"]),
    default="table",
    show_default=True,
    help="How to print the answer.",
)
def command(policies: tuple[str, ...], sources: tuple[str, ...], cni: str, output_format: str, **inputs: Any) -> None:
    """Replay every qualified flow of the sources through POLICIES: files or directories of manifests, Terraform or
    `describe-security-groups` JSON, a git revision (HEAD~1:policies/), or -. Exits with 1 when one is denied, and names
    the rule path that denies it.
    """
    from flowctl.observe import observe, skipped_exit
    from flowctl.policy_sources import load_policies
    from flowctl.verifying import verify
    from policygen.verify.profiles import PROFILES

    chosen = inputs_of(sources, inputs)
    loaded = load_policies(policies, chosen.inventory)
    refuse_left_out(loaded, chosen.strict)
    if not loaded.inventory.endpoints:
        raise click.UsageError("verify needs --inventory: without it no address has a name")
    observation = observe(chosen, loaded.inventory)
    judged = verify(loaded, observation, PROFILES[cni])
    if output_format == "json":
        from flowctl.report import verified_document

        click.echo(verified_document(observation, judged))
    else:
        from flowctl.printing import print_verified

        print_verified(observation, judged)
    if any(one.proof.denied or one.problems for one in judged):
        sys.exit(1)
    skipped_exit(observation, chosen.strict)
