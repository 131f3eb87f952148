"""`flowctl explain`: why does this connection pass, or not?"""

from __future__ import annotations

import re

import click

from flowctl.policy_options import cni_option, inventory_option, policies_argument, refuse_left_out, strict_option

_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132, "icmp": 1, "icmpv6": 58}
_PORT = re.compile(r"(?:([0-9]{1,5})|([a-z0-9]([-a-z0-9]*[a-z0-9])?))(?:/([A-Za-z0-9]+))?\Z")


@click.command("explain", short_help="Say why a connection is allowed or denied, and what would change it.")
@policies_argument
@click.option("--from", "source", required=True, metavar="END", help="Who opens the connection.")
@click.option("--to", "destination", required=True, metavar="END", help="Who is to answer.")
@click.option("--port", required=True, metavar="PORT[/PROTOCOL]", help="As 5432/tcp, 53/udp, http/tcp, icmp.")
@inventory_option
@cni_option
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["json", "txt"]),
    default="txt",
    show_default=True,
    help="How to print the answer.",
)
@strict_option
def command(
    policies: tuple[str, ...],
    source: str,
    destination: str,
    port: str,
    inventory: tuple[str, ...],
    cni: str,
    output_format: str,
    strict: bool,
) -> None:
    """Say which tiers and rules of POLICIES decide about a connection, at both ends, and what the nearest rule misses
    by when it is denied.

    An END is namespace/pod, namespace/workload, namespace/service, an instance or interface, an IP address, or the
    domain name of something outside. POLICIES are files or directories, a git revision (HEAD~1:policies/), or -.
    """
    from flowctl.explain_formats import ExplainOutput, printer
    from flowctl.linting import FindingPlaces
    from flowctl.policy_sources import load_policies
    from policygen.explain.ends import UnknownEnd, find_end
    from policygen.explain.explanation import explain
    from policygen.explain.values import Question
    from policygen.verify.profiles import PROFILES

    protocol, number = _port(port)
    loaded = load_policies(policies, inventory)
    refuse_left_out(loaded, strict)
    try:
        question = Question(
            find_end(source, loaded.inventory),
            find_end(destination, loaded.inventory),
            protocol,
            number,
            loaded.network,
            loaded.groups,
            loaded.inventory,
            PROFILES[cni],
            loaded.acls,
        )
        answers = explain(question)
    except (UnknownEnd, ValueError) as problem:
        raise click.UsageError(str(problem)) from problem
    printer(output_format).show(ExplainOutput(loaded, answers, FindingPlaces(loaded), cni))


def _port(text: str) -> tuple[int, int | str]:
    """(IANA protocol, port number or name). Raises click.BadParameter."""
    lower = text.strip().lower()
    if lower in ("icmp", "icmpv6"):
        return _PROTOCOLS[lower], 0
    match = _PORT.match(lower)
    protocol = (match[4] or "tcp") if match else ""
    number = _PROTOCOLS.get(protocol, int(protocol) if protocol.isdigit() and int(protocol) < 256 else None)
    if match is None or number is None:
        raise click.BadParameter(f"{text!r} is no port: write 5432/tcp, 53/udp, http/tcp or icmp", param_hint="--port")
    if match[1] is None:
        return number, match[2]
    if not 1 <= int(match[1]) <= 65535:
        raise click.BadParameter(f"{match[1]} is not between 1 and 65535", param_hint="--port")
    return number, int(match[1])
