"""From what workloads were seen to need, to one security group a workload, per VPC.

Groups are stateful and only allow: a rule stands at the client's group (egress) and at the server's (ingress), replies
need none. Where both ends are workloads of one VPC that met at private addresses, the rules reference groups; elsewhere
they name exact addresses. What does not fit is an error, and nothing is written for its VPC.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from analyzers.inventory import Identity, Inventory
from analyzers.servicemap import Edge
from policygen.group_rules import describe_ports, split
from policygen.model import CidrPeer, Policy, PolicySet, PortRange, Rule, Selector
from policygen.synthesis.group_evidence import edge_line, sources_line
from policygen.synthesis.group_members import CLOUD_KINDS, Roster, Subject, enrol
from policygen.synthesis.group_peers import Met, PeerFinder, Side
from policygen.synthesis.group_quotas import (
    GroupError,
    account_errors,
    fitted,
    interface_errors,
    region_errors,
    rule_errors,
)


@dataclass(frozen=True, slots=True)
class GroupOptions:
    """What a person may set. The quotas are those of the AWS account; the defaults are what new accounts have."""

    internet_sources: int = 16  # more distinct public sources than this, of one family, open an ingress port to all
    rules_per_group: int = 60  # a direction and family
    groups_per_interface: int = 5
    groups_per_region: int = 2500
    vpc_cidrs: tuple[tuple[str, str], ...] = ()  # (VPC id, CIDR): tells which address is the VPC's resolver


@dataclass(frozen=True, slots=True, order=True)
class GroupNote:
    """Something a person should know: the workload or group, what, and the particulars."""

    subject: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True, order=True)
class OpenPort:
    """An ingress port that so many public sources reach that it was opened to every address of the family."""

    network: str
    group: str
    ports: str  # `TCP 443`
    cidr: str  # 0.0.0.0/0 or ::/0
    sources: int


@dataclass(frozen=True)
class GroupSynthesis:
    """The groups of all VPCs that have no error, and everything there is to say about them."""

    policies: PolicySet = field(default_factory=PolicySet)
    notes: tuple[GroupNote, ...] = ()
    errors: tuple[GroupError, ...] = ()
    unseen: tuple[Identity, ...] = ()  # workloads in no flow: they get no group
    internet_facing: tuple[OpenPort, ...] = ()


def synthesize_groups(
    inventory: Inventory, edges: Iterable[Edge], seen: Iterable[Identity], options: GroupOptions | None = None
) -> GroupSynthesis:
    """One group for each cloud workload that was seen, with exactly the rules that `edges` need.

    `edges` are qualified: accepted, answered, direction known. `seen` are the workloads that appear in any flow, pods
    too; one without edges gets a group that allows nothing. The order of the input leaves no trace.
    """
    options = options or GroupOptions()
    if refused := account_errors(options.rules_per_group, options.groups_per_interface):
        return GroupSynthesis(errors=tuple(refused))
    return _Synthesis(inventory, options).run(sorted(set(edges), key=edge_order), frozenset(seen))


def edge_order(edge: Edge) -> tuple[str, ...]:
    """A total order of edges; ends of different kinds have none of their own."""
    ends = (repr(edge.client), repr(edge.server))
    return (*ends, f"{edge.protocol:03}", f"{edge.port:05}", repr(edge))


class _Synthesis:
    """The work of one call: collects rules, notes and errors."""

    def __init__(self, inventory: Inventory, options: GroupOptions) -> None:
        self._inventory = inventory
        self._options = options
        self._roster: Roster = enrol(inventory)
        self._peers = PeerFinder(self._roster, options.vpc_cidrs)
        self._rules: dict[str, dict[Subject, list[Rule]]] = {"ingress": defaultdict(list), "egress": defaultdict(list)}
        self._public: dict[tuple[Subject, PortRange, int], list[Met]] = defaultdict(list)
        self._notes: set[GroupNote] = set()
        self._errors: set[GroupError] = set()
        self._open: list[OpenPort] = []

    def run(self, edges: Sequence[Edge], seen: frozenset[Identity]) -> GroupSynthesis:
        involved: set[Subject] = set()
        for edge in edges:
            involved |= self._add(edge)
        for workload in seen:
            involved |= self._peers.subjects_of_workload(workload)
        self._settle_public_sources()
        policies = self._policies(sorted(involved))
        self._note_workloads(involved, seen, edges)
        return GroupSynthesis(
            PolicySet(tuple(policies)).sorted(),
            tuple(sorted(self._notes)),
            tuple(sorted(self._errors)),
            tuple(sorted({s.workload for s in self._roster.subjects} - {s.workload for s in involved})),
            tuple(sorted(self._open)),
        )

    def _add(self, edge: Edge) -> set[Subject]:
        """Both ends' rules for one edge; the subjects that take part in it."""
        clients, servers = self._peers.subjects(edge, "client"), self._peers.subjects(edge, "server")
        ports, lost = group_ports(edge.protocol, edge.port)
        for subject in clients | servers if lost else ():
            self._note(subject, "ports cannot be restricted", lost)
        sides: tuple[tuple[str, set[Subject], Side], ...]
        sides = (("egress", clients, "server"), ("ingress", servers, "client"))
        for direction, subjects, side in sides:
            for subject in subjects:
                for met in self._peers.met(edge, side, subject):
                    self._take(direction, subject, met, ports, edge)
        return clients | servers

    def _take(self, direction: str, subject: Subject, met: Met, ports: PortRange, edge: Edge) -> None:
        for reason, detail in met.notes:
            self._note(subject, reason, detail)
        if met.unknown:
            self._errors.add(
                GroupError(
                    subject.network,
                    subject.name,
                    f"no address is known of {met.unknown}, which it met on {describe_ports(ports)}",
                    "give an inventory that lists its addresses",
                )
            )
        if direction == "ingress" and met.public_source:
            self._public[subject, ports, met.public_source].append(met)
            return
        for peer in met.peers:
            self._rules[direction][subject].append(Rule((peer,), (ports,), (edge_line(edge),)))

    def _settle_public_sources(self) -> None:
        """Few public sources of a port stay exact; more than the limit, of one family, make it internet-facing."""
        for (subject, ports, family), found in self._public.items():
            peers = {peer for met in found for peer in met.peers}
            if len(peers) <= self._options.internet_sources:
                for met in found:
                    for peer in met.peers:
                        self._rules["ingress"][subject].append(Rule((peer,), (ports,), (edge_line(met.edge),)))
                continue
            everyone = "0.0.0.0/0" if family == 4 else "::/0"
            line = sources_line([met.edge for met in found], len(peers))
            rules = self._rules["ingress"][subject]
            rules[:] = [r for r in rules if r.ports != (ports,) or not _contained(r, everyone)]
            rules.append(Rule((CidrPeer(everyone),), (ports,), (line,)))
            self._open.append(OpenPort(subject.network, subject.name, describe_ports(ports), everyone, len(peers)))
            detail = (
                f"{describe_ports(ports)} is reached by {len(peers)} public sources and is open to {everyone}; "
                "groups know no exceptions, so private addresses are included"
            )
            self._note(subject, "internet-facing", detail)

    def _policies(self, involved: Sequence[Subject]) -> list[Policy]:
        by_network: dict[str, list[Subject]] = defaultdict(list)
        for subject in involved:
            by_network[subject.network].append(subject)
        written = []
        for network, subjects in sorted(by_network.items()):
            policies = [self._policy(subject) for subject in subjects]
            limit, carried = self._options.rules_per_group, self._options.groups_per_interface
            errors = [e for policy in policies for e in rule_errors(policy, limit, carried)]
            errors += interface_errors(policies, {s.name: s.interfaces for s in subjects}, carried)
            errors += region_errors(network, len(policies), self._options.groups_per_region)
            self._errors.update(errors)
            if not any(error.network == network for error in self._errors):
                written += policies
        return written

    def _policy(self, subject: Subject) -> Policy:
        directions = []
        for direction in ("ingress", "egress"):
            plain = split(self._rules[direction].get(subject, ()))
            rules = fitted(plain, self._options.rules_per_group)
            if rules != plain:
                detail = f"{len(plain)} {direction} rules became {len(rules)}; they allow the same"
                self._note(subject, "adjacent ports or addresses were joined to fit the quota", detail)
            if not rules:
                self._note(subject, f"no {direction}", "it was seen, and nothing it was seen to do needs a rule")
            directions.append(rules)
        return Policy(
            name=subject.name,
            namespace=subject.network,
            subject=Selector(tuple(sorted(subject.workload.labels))),
            ingress=directions[0],
            egress=directions[1],
            labels=(("managed-by", "flowctl"),),
            members=subject.members,
        )

    def _note_workloads(self, involved: set[Subject], seen: frozenset[Identity], edges: Sequence[Edge]) -> None:
        ends = {end for edge in edges for end in (edge.client, edge.server) if isinstance(end, Identity)}
        for workload, reason in self._roster.without_group:
            if workload in seen | ends:
                self._notes.add(GroupNote(str(workload), "no group", reason))
        for workload in sorted((seen | ends) - {w for w, _ in self._roster.without_group}):
            if workload.kind in CLOUD_KINDS and workload not in self._roster.of_workload:
                self._notes.add(GroupNote(str(workload), "no group", "the inventory has no interface of it"))
        if len(involved) > self._options.groups_per_region:
            detail = f"{len(involved):,} groups in all VPCs; a Region holds {self._options.groups_per_region:,}"
            self._notes.add(GroupNote("", "many groups", detail))
        limit = self._options.groups_per_interface
        attached = {i.id: i.security_groups for i in self._inventory.interfaces}
        for subject in sorted(involved):
            full = [i for i in subject.interfaces if len(set(attached.get(i, ()))) >= limit]
            if full:
                detail = f"{full[0]}{' and others' if len(full) > 1 else ''}: the new group has to replace one of them"
                self._note(subject, f"interfaces carry {limit} groups or more already", detail)

    def _note(self, subject: Subject, reason: str, detail: str) -> None:
        self._notes.add(GroupNote(f"{subject.network}/{subject.name}", reason, detail))


def group_ports(protocol: int, port: int) -> tuple[PortRange, str]:
    """The narrowest port range that groups know for it, and what it lets through beyond, "" when nothing."""
    if protocol == 6:
        return PortRange("TCP", port), ""
    if protocol == 17:
        return PortRange("UDP", port), ""
    if protocol in (1, 58):
        return PortRange("icmp" if protocol == 1 else "icmpv6"), ""
    if port:
        return PortRange(str(protocol)), f"protocol {protocol} is allowed on every port; port {port} was seen"
    return PortRange(str(protocol)), ""


def _contained(rule: Rule, everyone: str) -> bool:
    family = ":" in everyone
    return all(isinstance(peer, CidrPeer) and (":" in peer.cidr) == family for peer in rule.peers or ())
