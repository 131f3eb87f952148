"""Options that several commands share, and what a person typed as a value."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells have it."""


class Unusable(click.ClickException):
    """What was named cannot be used, or the system refuses: a line says why. Of usage there is nothing to say."""

    exit_code = 2


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
    stores: tuple[str, ...] = ()
    memory: int = 0
    outer: bool = False  # tunnels in captures stay closed
    since: int | None = None  # s UTC
    until: int | None = None

    def __post_init__(self) -> None:
        """Raises click.UsageError for times that hold nothing."""
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise click.UsageError("--since is not before --until: no record lies between them")


def inputs_of(sources: tuple[str, ...], options: dict[str, Any]) -> Inputs:
    """What `source_arguments` and `input_options` gathered; a store among the sources is taken for one. Raises
    click.UsageError when there is nothing to read."""
    from analyzers.store.database import is_store_file

    stores = (*options["stores"], *(name for name in sources if is_store_file(name)))
    sources = tuple(name for name in sources if name not in stores)
    if not sources and not stores:
        raise click.UsageError("name a SOURCE (flow logs, captures), or a flow store with --store")
    return Inputs(
        sources,
        options["inventory"],
        options["networks"],
        options["input_format"],
        options["threads"],
        options["strict"],
        options["log_format"],
        stores,
        options["memory"],
        options["outer"],
        options["since"],
        options["until"],
    )


class Moment(click.ParamType[int]):
    """A date, a time (UTC unless it says otherwise) or a number of hours or days ago, as seconds UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """2026-01-31, 2026-01-31T10:00, 2026-01-31T10:00:00+01:00, 36h, 7d."""
        if isinstance(value, int):
            return value
        ago = re.fullmatch(r"(\d+)([hd])", value)
        if ago:
            return int(time.time()) - int(ago[1]) * (3600 if ago[2] == "h" else 86400)
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(
                f"{value!r} is no time; use 2026-01-31, 2026-01-31T10:00, or 36h or 7d for that long ago", param, ctx
            )
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


class ByteSize(click.ParamType[int]):
    """`1GiB`, `500MB`, `2G` (binary), or a number of bytes."""

    name = "size"
    _UNITS: ClassVar = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes; fails with a usage error."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?) *([KMGT]?)(i?)B?", value.strip(), re.IGNORECASE)
        if not found:
            self.fail(f"{value!r} is no size such as 1GiB or 500MB", param, ctx)
        unit, decimal = found[2].upper(), found[3] == "" and value.strip().upper().endswith("B") and found[2]
        factor = 1000 ** " KMGT".index(unit) if decimal else self._UNITS[unit]
        size = int(float(found[1]) * factor)
        if not size:
            self.fail(f"{value!r}: nothing can be done in no memory", param, ctx)
        return size


def memory_option(function: F) -> F:
    """--memory."""
    return click.option(
        "--memory",
        type=ByteSize(),
        default=0,
        metavar="SIZE",
        help="What the process may take, as 1GiB; more goes through temporary files. Default: half of what is free.",
    )(function)


def source_arguments(function: F) -> F:
    """SOURCE... as arguments, and --store for flow stores among them."""
    return click.argument("sources", metavar="[SOURCE...]", nargs=-1)(store_option(function))


def store_option(function: F) -> F:
    """--store."""
    return click.option(
        "--store",
        "stores",
        multiple=True,
        metavar="STORE",
        help="A flow store that `flowctl ingest` made, as a source. May be given several times.",
    )(function)


def _log_format(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    if value is None:
        return ()
    from analyzers.ingest.log_formats import parse_log_format

    try:
        return parse_log_format(value)
    except ValueError as problem:
        raise click.BadParameter(str(problem)) from problem


def input_options(function: F, format_flags: tuple[str, ...] = ("--format", "--input-format")) -> F:
    """The options of everything that reads sources. `format_flags`: where --format is taken already."""
    for option in (
        click.option("--until", type=Moment(), metavar="TIME", help="Only records that end before this time."),
        click.option(
            "--since",
            type=Moment(),
            metavar="TIME",
            help="Only records that end at or after this time: 2026-01-31, 2026-01-31T10:00 (UTC) or 36h, 7d for that "
            "long ago. Prefixes and directories whose names lie outside of --since and --until are not even listed.",
        ),
        click.option("--strict", is_flag=True, help="Exit with 3 when anything in the input was skipped."),
        click.option(
            "--threads", type=click.IntRange(0, 256), default=0, metavar="N", help="Reading threads. 0: all cores."
        ),
        memory_option,
        click.option(
            "--outer",
            is_flag=True,
            help="Keep the outer flows of tunnels in captures (VXLAN, Geneve, GRE, ERSPAN, IP in IP), not the inner.",
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
