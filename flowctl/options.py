"""Options that several commands share, and what a person typed as a value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Inputs:
    """What to read and how."""

    sources: tuple[str, ...]
    inventory: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    format: str | None = None
    threads: int = 0
    strict: bool = False
    log_format: tuple[str, ...] = ()  # field names of records that carry no header


def source_arguments(function: F) -> F:
    """SOURCE... as arguments."""
    return click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)(function)


def _log_format(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    if value is None:
        return ()
    from analyzers.ingest.log_formats import parse_log_format

    try:
        return parse_log_format(value)
    except ValueError as problem:
        raise click.BadParameter(str(problem)) from problem


def input_options(function: F, format_flags: tuple[str, ...] = ("--format", "--input-format")) -> F:
    """--inventory, --network, --format, --threads, --strict. `format_flags`: where --format is taken already."""
    for option in (
        click.option("--strict", is_flag=True, help="Exit with 3 when anything in the input was skipped."),
        click.option(
            "--threads", type=click.IntRange(0, 256), default=0, metavar="N", help="Reading threads. 0: all cores."
        ),
        click.option(
            *format_flags,
            "input_format",
            type=click.Choice(["aws-vpc", "capture"]),
            help="Take every source for this format instead of sniffing.",
        ),
        click.option(
            "--log-format",
            callback=_log_format,
            metavar="FORMAT",
            help="Fields of flow-log records that carry no header (CloudWatch Logs), as describe-flow-logs has it: "
            "'${version} ${interface-id} ...'.",
        ),
        click.option(
            "--network",
            "networks",
            multiple=True,
            metavar="[PATTERN=]NAME",
            help="Network (VPC, cluster) of the sources' addresses where records do not tell; "
            "with PATTERN, of the sources whose name matches it.",
        ),
        click.option(
            "--inventory",
            multiple=True,
            metavar="[NETWORK=]PATH",
            help="File or directory that says who holds which address: kubectl get -o json, manifests, "
            "aws ec2 describe-*, CSV or YAML of address,name,labels. May be given several times.",
        ),
    ):
        function = option(function)
    return function


def network_patterns(networks: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """`PATTERN=NAME` and `NAME` as (pattern of source names, network); the specific ones first."""
    specific = [tuple(value.split("=", 1)) for value in networks if "=" in value]
    general = [("*", value) for value in networks if "=" not in value]
    if len(general) > 1:
        raise click.UsageError("--network NAME without a pattern may be given once; use --network PATTERN=NAME")
    return tuple((pattern, name) for pattern, name in [*specific, *general])
