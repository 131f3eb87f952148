"""NetworkPolicies from evidence: one for each workload that was seen, both directions, nothing beyond what was seen.

Soundness comes first where labels cannot tell workloads apart: a policy whose selector takes in foreign pods isolates
those too, so it carries what they need, and says so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from analyzers.inventory import Identity, Inventory
from analyzers.servicemap import Edge, End, External
from policygen.model import Policy, PolicySet, Rule, Selector
from policygen.synthesis.census import Census
from policygen.synthesis.cluster_dns import DnsPlan, plan_dns
from policygen.synthesis.evidence import edge_line, end_name
from policygen.synthesis.findings import Findings, InternetFacing, SynthesisNote, listed
from policygen.synthesis.normal_rules import Permission, normal_rules
from policygen.synthesis.outside import OutsideLimits, OutsidePeers
from policygen.synthesis.policy_names import group_name, policy_names

PROTOCOLS = {6: "TCP", 17: "UDP", 132: "SCTP"}
"""What NetworkPolicy can express, by IANA number."""

MANAGED_BY = (("app.kubernetes.io/managed-by", "flowctl"),)


@dataclass(frozen=True, slots=True)
class SynthesisOptions:
    """What a person may decide."""

    default_deny: bool = False  # isolate workloads that were never seen as well; they keep DNS
    max_exact_addresses: int = 32  # on one port of one workload; more are written too, and reported
    internet_sources: int = 16  # more public sources than this on one port make it internet-facing
    merge_ports: bool = False  # write three or more consecutive ports as a range


@dataclass(frozen=True)
class Synthesis:
    """The policies and everything to be said about them; sorted, so equal for equal input in any order."""

    policies: PolicySet
    notes: tuple[SynthesisNote, ...]
    unseen: tuple[Identity, ...]  # selectable, in no flow
    internet_facing: tuple[InternetFacing, ...]
    dns: DnsPlan
    isolated: tuple[tuple[Identity, str], ...] = ()  # workload and its policy as namespace/name


@dataclass(frozen=True, slots=True)
class _Subject:
    """Workloads that share one selector, and so one policy. `strangers` are selected with them without wanting it."""

    selector: Selector
    members: tuple[Identity, ...]
    strangers: tuple[Identity, ...]


def synthesize(
    inventory: Inventory,
    edges: Iterable[Edge],
    seen: frozenset[Identity],
    options: SynthesisOptions | None = None,
) -> Synthesis:
    """Policies for the workloads of `inventory` that are in `seen` or at an end of `edges`.

    `edges` are taken for true: accepted, answered, of known direction. Never raises for odd values; what cannot be
    expressed is a note, and no rule is widened for it.
    """
    options = options or SynthesisOptions()
    findings = Findings()
    ordered = sorted(set(edges), key=_edge_order)
    census = Census(inventory, ordered, seen, findings)
    dns = plan_dns(census, findings)
    needs = _Needs(census, options, findings)
    for edge in ordered:
        needs.add(edge)
    wanted = [w for w in census.workloads if options.default_deny or w in census.seen]
    subjects = _subjects(wanted, census, findings)
    names = policy_names(census.workloads)
    policies: list[Policy] = []
    isolated: dict[Identity, str] = {}
    for subject in subjects:
        policy = _policy(subject, names, needs, dns, options, findings)
        policies.append(policy)
        isolated.update((member, f"{policy.namespace}/{policy.name}") for member in subject.members)
    _report_census(census, wanted, findings)
    return Synthesis(
        PolicySet(tuple(policies)).sorted(),
        findings.notes(),
        tuple(w for w in census.workloads if w not in census.seen),
        tuple(sorted(needs.outside.internet_facing)),
        dns,
        tuple(sorted(isolated.items())),
    )


class _Needs:
    """What each selectable workload has to be allowed, by direction, before it is known who shares a policy."""

    def __init__(self, census: Census, options: SynthesisOptions, findings: Findings) -> None:
        self.census = census
        self.outside = OutsidePeers(
            census, OutsideLimits(options.max_exact_addresses, options.internet_sources), findings
        )
        self._findings = findings
        self._inside: dict[tuple[Identity, str], list[Permission]] = defaultdict(list)
        self._outside: dict[tuple[Identity, str], dict[tuple[str, int], list[Edge]]] = defaultdict(dict)
        self._ready: dict[tuple[Identity, str], tuple[Permission, ...]] = {}

    def add(self, edge: Edge) -> None:
        """One edge becomes egress of its client and ingress of its server, where those are pods."""
        protocol = PROTOCOLS.get(edge.protocol)
        if protocol is None or not 0 < edge.port <= 65535:
            what = f"IP protocol {edge.protocol}" if protocol is None else f"{protocol} without a port"
            pair = f"{end_name(edge.client)} -> {end_name(edge.server)}"
            sentence = f"NetworkPolicy cannot express {what}; what happens is up to the network plugin: {{items}}"
            self._findings.collect("not-expressible", "", sentence, pair, edge.records)
            return
        self._need(edge.client, "egress", edge.server, edge, protocol)
        self._need(edge.server, "ingress", edge.client, edge, protocol)

    def of(self, workload: Identity, direction: str) -> tuple[Permission, ...]:
        """All that one workload needs in one direction (`ingress` or `egress`)."""
        key = workload, direction
        if key not in self._ready:
            self._ready[key] = (*self._inside.get(key, ()), *self._from_outside(workload, direction))
        return self._ready[key]

    def _from_outside(self, workload: Identity, direction: str) -> Iterator[Permission]:
        ask = self.outside.clients if direction == "ingress" else self.outside.servers
        for (protocol, port), edges in sorted(self._outside.get((workload, direction), {}).items()):
            yield from ask(workload, protocol, port, edges)

    def _need(self, end: End, direction: str, other: End, edge: Edge, protocol: str) -> None:
        if not isinstance(end, Identity) or not self.census.selectable(end):
            return
        if isinstance(other, External):
            self._outside[end, direction].setdefault((protocol, edge.port), []).append(edge)
            return
        peers = self.census.peers(other, end.namespace)
        if not peers:
            sentence = f"{direction}: no address of {{items}} is known, so no rule could be written"
            self._findings.collect("no-address", str(end), sentence, end_name(other), edge.records)
        line = edge_line(edge, protocol)
        self._inside[end, direction].extend(Permission(peer, protocol, edge.port, line) for peer in peers)


def _subjects(wanted: Sequence[Identity], census: Census, findings: Findings) -> list[_Subject]:
    """Folds workloads with one selector into one subject, and finds who is selected along with them."""
    members: dict[tuple[str, Selector], list[Identity]] = defaultdict(list)
    for workload in wanted:
        choice = census.choice(workload)
        if not choice.usable:
            findings.add(
                "unselectable",
                str(workload),
                f"{workload.kind} without a label to select it by: no policy isolates it, and as a peer it is met by"
                f" what its namespace offers ({_words(choice.as_peer)}). Give its template a label of its own",
            )
            continue
        members[workload.namespace, choice.selector].append(workload)
        if choice.version_labels:
            keys = ", ".join(choice.version_labels)
            sentence = f"only a label that changes with a release tells it apart ({keys}): run again after each release"
            findings.add("version-label", str(workload), sentence)
    owned = {w for group in members.values() for w in group}
    subjects = []
    for (_, selector), group in sorted(members.items(), key=lambda item: min(item[1])):
        group = sorted(group)
        over = {w for member in group for w in census.choice(member).over_selected_workloads} - set(group)
        strangers = tuple(sorted(over - owned))
        subjects.append(_Subject(selector, tuple(group), strangers))
        _report_sharing(group, selector, census, strangers, findings)
    return subjects


def _report_sharing(
    group: Sequence[Identity],
    selector: Selector,
    census: Census,
    strangers: Sequence[Identity],
    findings: Findings,
) -> None:
    if len(group) > 1:
        names = ", ".join(f"{w.kind} {w}" for w in group)
        findings.add(
            "shared-policy",
            str(group[0]),
            f"no stable label tells these apart, so they share one policy with the needs of all: {names}",
        )
    for workload in group:
        choice = census.choice(workload)
        if not choice.exact:
            findings.add(
                "over-selection",
                str(workload),
                f"the narrowest selector ({_words(selector)}) also selects {listed(choice.over_selected)}",
            )
    for stranger in strangers:
        state = (
            "their needs are in that policy" if stranger in census.seen else "it was never seen, so nothing is allowed"
        )
        findings.add(
            "isolated-with-others",
            str(stranger),
            f"{stranger.kind} isolated by the policy of {group[0]}, whose labels it carries; {state}",
        )


def _policy(
    subject: _Subject,
    names: dict[Identity, str],
    needs: _Needs,
    dns: DnsPlan,
    options: SynthesisOptions,
    findings: Findings,
) -> Policy:
    """Both directions of one subject. A direction without rules is isolated all the same, and said to be."""
    members, namespace = subject.members, subject.members[0].namespace
    name = names[members[0]] if len(members) == 1 else group_name(members, names)
    inside = (*members, *subject.strangers)
    ingress = [p for w in inside for p in (*needs.of(w, "ingress"), *dns.ingress(w, needs.census))]
    egress = [p for w in inside for p in needs.of(w, "egress")]
    annotations = {"flowctl/workload": ", ".join(f"{w.kind}/{w.name}" for w in members)}
    seen = any(w in needs.census.seen for w in inside)
    where = "in the flows" if seen else "of this workload at all"
    for direction, found in (("ingress", ingress), ("egress", egress)):
        if not found:
            kept = "DNS is kept, nothing else" if direction == "egress" else "isolated, nothing may come in"
            findings.add(f"no-{direction}", f"{namespace}/{name}", f"no {direction} was seen {where}: {kept}")
            annotations[f"flowctl/{direction}"] = f"no {direction} was seen {where}: {kept}"
    egress.extend(dns.egress(namespace, needs.census))

    def rules(permissions: Iterable[Permission]) -> tuple[Rule, ...]:
        return normal_rules(permissions, merge_ports=options.merge_ports)

    return Policy(
        name=name,
        namespace=namespace,
        subject=subject.selector,
        ingress=rules(ingress),
        egress=rules(egress),
        labels=MANAGED_BY,
        annotations=tuple(sorted(annotations.items())),
    )


def _report_census(census: Census, wanted: Sequence[Identity], findings: Findings) -> None:
    """What a policy cannot reach, whoever it is."""
    for workload in census.on_host_network:
        some = census.selectable(workload)
        what = "some of its pods are" if some else "its pods are"
        findings.add(
            "host-network",
            str(workload),
            f"{workload.kind}: {what} on the host's network, where NetworkPolicies do not reach them",
        )
    networks = sorted({w.network for w in wanted})
    if len(networks) > 1:
        findings.add(
            "several-clusters",
            "",
            f"the workloads live in {len(networks)} networks ({', '.join(n or 'unnamed' for n in networks)}), while"
            " policies are written for one cluster: namespaces of one name are taken for one. Run once a cluster",
        )


def _words(selector: Selector) -> str:
    """A selector as a person writes it for kubectl."""
    parts = [f"{key}={value}" for key, value in selector.labels]
    for one in selector.expressions:
        values = ",".join(one.values)
        parts.append(
            {"Exists": one.key, "DoesNotExist": f"!{one.key}", "In": f"{one.key} in ({values})"}.get(
                one.operator, f"{one.key} notin ({values})"
            )
        )
    return ",".join(parts) or "everything"


def _edge_order(edge: Edge) -> tuple[object, ...]:
    return (
        *(_end_order(edge.client), _end_order(edge.server), edge.protocol, edge.port),
        *(edge.first, edge.last, edge.records, repr(edge)),
    )


def _end_order(end: End) -> tuple[str, ...]:
    if isinstance(end, External):
        return ("outside", end.address, end.network, str(end.private))
    return ("inside", end.namespace, end.kind, end.name, end.network, repr(end.labels))
