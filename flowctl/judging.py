"""From POLICIES arguments to a compiled judge of what passes: the part that `reach` and `diff` share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import click

from analyzers.inventory import Inventory
from analyzers.inventory.fields import clean
from analyzers.kernels.jit import compiled_before
from flowctl.policy_sources import LoadedPolicies
from policygen.ingress_objects import EntryPoint, read_entry_points
from policygen.model import DomainPeer
from policygen.verify.entries import entry_pairs
from policygen.verify.group_reachability import GroupReachability
from policygen.verify.profiles import PROFILES, CniProfile
from policygen.verify.reachability import Pair, Reachability
from policygen.verify.spaces import every_rule


@dataclass(frozen=True)
class JudgedSide:
    """One set of policies with everything that passes under it."""

    loaded: LoadedPolicies
    reachability: Reachability
    entries: tuple[EntryPoint, ...]
    groups: GroupReachability

    def pairs(self, ipv6: bool | None = None) -> Iterator[Pair]:
        """Every pair that is allowed anything: workloads, then controllers of Ingresses and Routes, then interfaces."""
        yield from self.reachability.pairs(ipv6)
        yield from entry_pairs(self.reachability, self.entries)
        yield from self.groups.pairs(ipv6)


def profile_of(cni: str, host_network: str) -> CniProfile:
    """The profile of a name; `host_network` "pods" takes the other reading of pods on the host's network."""
    profile = PROFILES[cni]
    return replace(profile, selects_host_network=True) if host_network == "pods" else profile


def judged(loaded: LoadedPolicies, profile: CniProfile) -> JudgedSide:
    """Compile what was read."""
    if not compiled_before():
        click.echo("flowctl: compiling kernels for this machine, once (about half a minute) ...", err=True)
    if not loaded.inventory.endpoints and not loaded.inventory.templates:
        raise click.UsageError("no workload in POLICIES: give --inventory, a dump or a directory of manifests")
    known = loaded.inventory if loaded.groups.policies or loaded.acls else Inventory()
    return JudgedSide(
        loaded,
        Reachability.compile(loaded.network, loaded.inventory, profile),
        read_entry_points(one.value for text in loaded.texts for one in text.documents),
        GroupReachability(loaded.groups, known, loaded.acls),
    )


def echo_remarks(side: JudgedSide, name: str = "") -> None:
    """What was left out, what is odd and what the answer takes for granted, on stderr: stdout is for the answer."""
    prefix = f"flowctl: {name}: " if name else "flowctl: "
    for problem in side.loaded.left_out:
        click.echo(f"{prefix}left out: {clean(f'{problem.where}: {problem.reason}')}", err=True)
    for problem in side.loaded.remarks:
        click.echo(f"{prefix}{clean(f'{problem.where}: {problem.reason}')}", err=True)
    reachability = side.reachability
    for workload in reachability.uneven():
        click.echo(f"{prefix}policies tell pods of {workload} apart: its lines are what any of them may", err=True)
    peers = (peer for rule in every_rule(side.loaded.network) for peer in rule.peers or ())
    names = sorted({peer.name for peer in peers if isinstance(peer, DomainPeer)})
    if names:
        click.echo(
            f"{prefix}rules for domain names ({clean(', '.join(names))}) are listed as allowing nothing", err=True
        )
