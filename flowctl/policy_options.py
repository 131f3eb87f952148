"""Options of the commands that judge policies."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from flowctl.policy_sources import LoadedPolicies

F = TypeVar("F", bound=Callable[..., Any])

CNI_PROFILES = ("aws", "calico", "cilium", "ovn", "spec")


def policies_argument(function: F) -> F:
    """POLICIES... as arguments."""
    return click.argument("policies", metavar="POLICIES...", nargs=-1, required=True)(function)


def inventory_option(function: F) -> F:
    """--inventory, beside what POLICIES bring along."""
    return click.option(
        "--inventory",
        multiple=True,
        metavar="[NETWORK=]PATH",
        help="Who lives where, beside what the POLICIES files say themselves. May be given several times.",
    )(function)


def cni_option(function: F) -> F:
    """--cni."""
    return click.option(
        "--cni",
        type=click.Choice(CNI_PROFILES),
        default="spec",
        show_default=True,
        help="Whose habits decide where the specification leaves it open.",
    )(function)


def strict_option(function: F) -> F:
    """--strict."""
    return click.option(
        "--strict", is_flag=True, help="Judge nothing and exit with 3 when anything in the input is left out."
    )(function)


def refuse_left_out(loaded: LoadedPolicies, strict: bool) -> None:
    """Exit with 3 when something is left out and the user wants all or nothing."""
    if strict and loaded.left_out:
        for problem in loaded.left_out:
            click.echo(f"flowctl: left out: {problem.where}: {problem.reason}", err=True)
        click.echo("flowctl: nothing is judged, because of --strict", err=True)
        sys.exit(3)


def host_network_option(function: F) -> F:
    """--host-network."""
    return click.option(
        "--host-network",
        type=click.Choice(["nodes", "pods"]),
        default="nodes",
        show_default=True,
        help="What pods on the host's network are to policies: addresses of their node, as most plugins see them, "
        "or pods like others.",
    )(function)


def ipv6_option(function: F) -> F:
    """--ipv6 / --no-ipv6; None by default."""
    return click.option(
        "--ipv6/--no-ipv6",
        default=None,
        help="List ranges of IPv6 addresses. Default: when policies or addresses speak of IPv6.",
    )(function)
