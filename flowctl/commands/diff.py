"""`flowctl diff`: what does a change of policies open and close?"""

from __future__ import annotations

import sys
from typing import Any

import click

from flowctl.policy_options import (
    cni_option,
    host_network_option,
    inventory_option,
    ipv6_option,
    refuse_left_out,
    strict_option,
)
from flowctl.repeated_values import RepeatedValues


@click.command(
    "diff",
    cls=RepeatedValues,
    short_help="Show what a change of policies opens and closes, with a packet for each change.",
)
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@inventory_option
@cni_option
@host_network_option
@ipv6_option
@click.option(
    "--flows",
    "sources",
    multiple=True,
    metavar="SOURCE",
    help="Flow logs or captures: which flows the change would break, and which openings none ever used.",
)
@click.option(
    "--network",
    "networks",
    multiple=True,
    metavar="[PATTERN=]NAME",
    help="Network of the addresses in --flows where records do not tell.",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["csv", "json", "md", "txt"]),
    default="txt",
    show_default=True,
    help="How to print the changes.",
)
@click.option(
    "--detailed-exitcode", is_flag=True, help="Exit with 2 when anything differs, and with 0 when nothing does."
)
@strict_option
def command(old: str, new: str, sources: tuple[str, ...], output_format: str, **rest: Any) -> None:
    """Compare what OLD and NEW let through: each a file or directory of manifests, a git revision
    (HEAD~1:policies/), `-`, or `describe-security-groups` JSON. Workloads may be among them; --inventory counts for
    both. The order of files, policies and rules never matters.

    Every change comes with a packet that one side allows and the other denies, and the rules that decide it.
    Exits with 1 when something was left out, or a flow that was seen would break.
    """
    from flowctl.diff_formats import printer
    from flowctl.diffing import diff_of
    from flowctl.judging import echo_remarks, judged, profile_of
    from flowctl.options import Inputs
    from flowctl.policy_sources import load_policies

    profile = profile_of(rest["cni"], rest["host_network"])
    loaded = [load_policies((one,), rest["inventory"]) for one in (old, new)]
    for one in loaded:
        refuse_left_out(one, rest["strict"])
    sides = [judged(one, profile) for one in loaded]
    for name, side in zip((old, new), sides, strict=True):
        refuse_left_out(side.loaded, rest["strict"])
        echo_remarks(side, name)
    flows = Inputs(sources, networks=rest["networks"]) if sources else None
    found = diff_of(sides[0], sides[1], rest["ipv6"], flows)
    for line in printer(output_format).lines(found):
        click.echo(line)
    if any(side.loaded.left_out for side in sides):
        sys.exit(1)
    if rest["detailed_exitcode"] and found:
        sys.exit(2)
    if found.seen is not None and found.seen.broken:
        sys.exit(1)
