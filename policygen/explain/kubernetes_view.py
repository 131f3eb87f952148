"""What policies of Kubernetes say about one end of a connection, rule by rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from policygen.explain.near_miss import Asked, is_below, rule_misses
from policygen.explain.smallest_rule import smallest_rule
from policygen.explain.values import DirectionView, Question, RuleView, distance, view_of
from policygen.model import AdminRule, CidrPeer, DomainPeer, PolicySet
from policygen.verify.evaluate import (
    Direction,
    Flow,
    Verdict,
    admin_rules_of,
    evaluate,
    policy_name,
    rules_of,
)
from policygen.verify.judge import node_labels
from policygen.verify.matching import FlowEnd, Labels, Surroundings, namespace_labels, selector_matches, subject_of


def kubernetes_view(
    question: Question, flow: Flow, direction: Direction, texts: Sequence[str], views: list[DirectionView]
) -> Verdict:
    """The oracle's verdict of one direction by itself; what it says goes to `views`."""
    namespaces: Mapping[str, Labels] = question.inventory.namespaces
    nodes = node_labels(question.inventory.endpoints)
    around = Surroundings(namespaces, nodes, question.profile)
    end, peer = (flow.source, flow.destination) if direction == "egress" else (flow.destination, flow.source)
    named = question.destination if direction == "egress" else question.source
    policies = _by_name(question.policies, named.domain) if direction == "egress" else question.policies
    verdict = evaluate(one_direction(policies, direction), namespaces, flow, question.profile, nodes)
    asked = Asked(peer, flow.destination, flow.protocol, flow.port, around, named.domain)
    rules = tuple(_rules(question.policies, end, direction, asked))
    allowing = [view for view in rules if view.action in ("Allow", "Accept") and not view.matches]
    nearest = tuple(sorted(allowing, key=distance)) if not verdict.allowed else ()
    change, snippet = "", ""
    if not verdict.allowed and not verdict.undefined:
        change, snippet = _change(question, verdict, rules, nearest, direction, end, asked)
    views.append(
        DirectionView(
            "Kubernetes", direction, texts[0] if direction == "egress" else texts[1], verdict.allowed,
            tuple(line for line in verdict.path if line.startswith(direction)), rules, nearest, change, snippet,
        )
    )  # fmt: skip
    return verdict


def one_direction(policies: PolicySet, direction: Direction) -> PolicySet:
    """The same policies with nothing to say about the other direction."""
    if direction == "egress":
        return PolicySet(
            tuple(replace(p, ingress=None) for p in policies.policies),
            admin=tuple(replace(p, ingress=()) for p in policies.admin),
        )
    return PolicySet(
        tuple(replace(p, egress=None) for p in policies.policies),
        admin=tuple(replace(p, egress=()) for p in policies.admin),
    )


def _by_name(policies: PolicySet, domain: str) -> PolicySet:
    """Where the destination is known by its name, a rule for that name is one for everywhere outside."""
    if not domain:
        return policies

    def rule(one: AdminRule) -> AdminRule:
        named = any(isinstance(peer, DomainPeer) and is_below(domain, peer.name) for peer in one.peers)
        others = tuple(peer for peer in one.peers if not isinstance(peer, DomainPeer))
        return replace(one, peers=(*others, CidrPeer("0.0.0.0/0"), CidrPeer("::/0")) if named else others)

    admin = tuple(replace(policy, egress=tuple(map(rule, policy.egress))) for policy in policies.admin)
    return replace(policies, admin=admin)


def _rules(policies: PolicySet, end: FlowEnd, direction: Direction, asked: Asked) -> list[RuleView]:
    """Every rule of every policy that applies to `end`, in the order in which they are asked."""
    pod = subject_of(end, asked.around.profile)
    if pod is None:
        return []
    found: list[RuleView] = []
    labels = dict(pod.labels)
    spaces = namespace_labels(asked.around.namespaces, pod.namespace)
    for tier in ("Admin", "", "Baseline"):
        if not tier:
            for policy in policies.policies:
                if policy.namespace == pod.namespace and selector_matches(policy.subject, labels):
                    for index, rule in enumerate(rules_of(policy, direction) or ()):
                        misses = rule_misses(rule, policy.namespace, asked)
                        found.append(view_of(policy_name(policy), policy, direction, index, rule, "Allow", misses))
            continue
        for admin in policies.admin:
            subject = admin.subject
            if admin.tier != tier or subject.namespaces is None or not selector_matches(subject.namespaces, spaces):
                continue
            if subject.pods is None or selector_matches(subject.pods, labels):
                for index, one in enumerate(admin_rules_of(admin, direction)):
                    misses = rule_misses(one, "", asked, admin=True)
                    found.append(view_of(str(admin), admin, direction, index, one, one.action, misses))
    return found


def _change(
    question: Question,
    verdict: Verdict,
    rules: Sequence[RuleView],
    nearest: Sequence[RuleView],
    direction: Direction,
    end: FlowEnd,
    asked: Asked,
) -> tuple[str, str]:
    """(the smallest change in words, a rule that would do)."""
    deciding = next((view for view in rules if view.matches and view.action == "Deny"), None)
    line = next((line for line in verdict.path if deciding is not None and f"denied by {deciding.rule} (" in line), "")
    if deciding is not None and "(Admin tier" in line:
        return (
            f"no NetworkPolicy can allow it: {deciding.rule} denies it before; narrow that rule, or put a rule with "
            "Accept or Pass before it",
            "",
        )
    snippet = smallest_rule(direction, end, asked)
    best = nearest[0] if nearest else None
    if best is not None and len(best.misses) == 1:
        return f"in {best.rule}: {best.misses[0].change}", snippet
    subject = end.endpoint
    chosen = [
        p
        for p in question.policies.policies
        if subject is not None
        and p.namespace == subject.namespace
        and rules_of(p, direction) is not None
        and selector_matches(p.subject, dict(subject.labels))
    ]
    if line:
        return f"a NetworkPolicy that selects the pod comes before {deciding.rule if deciding else line}", snippet
    where = f"to spec.{direction} of {policy_name(chosen[0])}" if chosen else "to a NetworkPolicy that selects the pod"
    return f"add a rule {where}", snippet
