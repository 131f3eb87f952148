"""Any set of policies, judged against what was seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import click

from analyzers.inventory import Inventory
from flowctl.observe import Observation
from flowctl.policy_sources import LoadedPolicies
from policygen.verify.evaluate import Flow
from policygen.verify.group_reachability import GroupReachability
from policygen.verify.profiles import SPEC, CniProfile
from policygen.verify.reachability import Reachability
from policygen.verify.replay import Denial, ReplayFlow, ReplayReport, replay
from policygen.verify.security_groups import replay_groups
from policygen.verify.tightness import Tightness, tightness


@dataclass(frozen=True)
class Judged:
    """The outcome for one kind of policies. `tightness` None: not known for this kind."""

    kind: str
    policies: int
    proof: ReplayReport
    problems: tuple[str, ...] = ()  # what was left out
    remarks: tuple[str, ...] = ()
    tightness: Tightness | None = None

    @property
    def unused_rules(self) -> tuple[str, ...]:
        """Rules that no flow needed."""
        return tuple(str(hit.rule) for hit in self.proof.hits if not hit.flows)


def verify(loaded: LoadedPolicies, observation: Observation, profile: CniProfile = SPEC) -> list[Judged]:
    """Kubernetes policies and security groups, each kind that is there. Raises click.UsageError for none."""
    flows = observation.qualified_flows()
    found: list[Judged] = []
    network, groups = loaded.network, loaded.groups
    problems = tuple(f"{p.where}: {p.reason}" for p in loaded.left_out)
    remarks = tuple(f"{p.where}: {p.reason}" for p in loaded.remarks)
    if network.policies or network.admin:
        kind = "policy" if network.admin else "NetworkPolicy"
        found.append(
            Judged(
                kind,
                len(network.policies) + len(network.admin),
                replay(network, observation.inventory, flows, profile),
                problems,
                remarks,
                _tightness(loaded, flows, profile),
            )
        )
        problems = remarks = ()
    if groups.policies or loaded.acls:
        proof = replay_cloud(loaded, observation.inventory, flows)
        found.append(Judged("security group", len(groups.policies), proof, problems, remarks))
    if not found:
        given = ", ".join(loaded.given)
        why = "".join(f"\nleft out: {problem}" for problem in problems[:10])
        raise click.UsageError(f"{given}: no NetworkPolicy, admin policy or security group in it{why}")
    return found


def replay_cloud(loaded: LoadedPolicies, inventory: Inventory, flows: Sequence[ReplayFlow]) -> ReplayReport:
    """The replay of security groups, with what network ACLs deny beside."""
    proof = replay_groups(loaded.groups, inventory, flows)
    if not loaded.acls:
        return proof
    judge = GroupReachability(loaded.groups, loaded.inventory, loaded.acls)
    known = {id(denial.flow) for denial in proof.denied}
    more = []
    for flow in flows:
        if id(flow) not in known and judge.acls.passes(flow.source, flow.destination)[1]:
            verdict = judge.verdict(Flow(flow.source, flow.destination, flow.protocol, flow.port))
            if not verdict.allowed:
                more.append(Denial(flow, verdict))
    order = sorted((*proof.denied, *more), key=lambda d: (d.flow.source_label, d.flow.destination_label, d.flow.port))
    return replace(proof, denied=tuple(order))


def _tightness(loaded: LoadedPolicies, flows: Sequence[ReplayFlow], profile: CniProfile) -> Tightness:
    return tightness(Reachability.compile(loaded.network, loaded.inventory, profile), flows)
