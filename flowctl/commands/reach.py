"""`flowctl reach`: who may talk to whom."""

from __future__ import annotations

import sys

import click

from flowctl.policy_options import (
    cni_option,
    host_network_option,
    inventory_option,
    ipv6_option,
    policies_argument,
    refuse_left_out,
    strict_option,
)


@click.command("reach", short_help="List everything that policies let through, workload by workload.")
@policies_argument
@inventory_option
@cni_option
@host_network_option
@ipv6_option
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["csv", "dot", "json", "md", "txt"]),
    default="txt",
    show_default=True,
    help="How to print the pairs.",
)
@strict_option
def command(
    policies: tuple[str, ...],
    inventory: tuple[str, ...],
    cni: str,
    host_network: str,
    ipv6: bool | None,
    output_format: str,
    strict: bool,
) -> None:
    """List every pair that POLICIES let through: `ns/name[Kind] => ns/name[Kind] : TCP 80,443-445`, what lies outside
    as ranges of addresses. POLICIES: files or directories of manifests, a git revision (HEAD~1:policies/), `-`, or
    `describe-security-groups` JSON with its interfaces; workloads may be among them.

    A pair that is not listed is allowed nothing. Exits with 1 when something was left out.
    """
    from flowctl.judging import echo_remarks, judged, profile_of
    from flowctl.policy_sources import load_policies
    from flowctl.reach_formats import printer

    loaded = load_policies(policies, inventory)
    refuse_left_out(loaded, strict)
    side = judged(loaded, profile_of(cni, host_network))
    refuse_left_out(side.loaded, strict)
    echo_remarks(side)
    for line in printer(output_format).lines(side.pairs(ipv6)):
        click.echo(line)
    if side.loaded.left_out:
        sys.exit(1)
