"""What security groups say about one end of a connection, rule by rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from policygen.explain.near_miss import Asked, Miss, rule_misses
from policygen.explain.values import DirectionView, Question, distance, view_of
from policygen.verify.evaluate import Direction, Flow, RuleRef, Verdict, policy_name, rules_of
from policygen.verify.matching import Surroundings


def group_view(
    question: Question, flow: Flow, direction: Direction, texts: Sequence[str], verdict: Verdict
) -> DirectionView:
    """What the groups of one end say; `verdict` is the oracle's, of both ends."""
    end, peer = (flow.source, flow.destination) if direction == "egress" else (flow.destination, flow.source)
    around = Surroundings({}, {}, replace(question.profile, blocks_match_pods=True, blocks_match_nodes=True))
    there = frozenset(group.name for group in question.membership.groups_of(peer))
    carried = peer.endpoint.security_groups if peer.endpoint is not None else ()
    asked = Asked(peer, flow.destination, flow.protocol, flow.port, around, "", there | set(carried))
    groups = question.membership.groups_of(end)
    allowing = {ref for ref in verdict.rules if ref.direction == direction}
    rules = []
    for group in groups:
        for index, rule in enumerate(rules_of(group, direction) or ()):
            ref = RuleRef(policy_name(group), direction, index)
            misses = () if ref in allowing else rule_misses(rule, group.namespace, asked)
            if ref not in allowing and not misses:  # the oracle knows better, say why in its words
                misses = (
                    Miss("peer", "it does not cover this end (a public address, or another VPC)", "name its CIDR"),
                )
            rules.append(replace(view_of(policy_name(group), group, direction, index, rule, "Allow", misses), path=""))
    allowed = bool(allowing) or not groups
    nearest = tuple(sorted((r for r in rules if not r.matches), key=distance)) if not allowed else ()
    change = ""
    if not allowed:
        best = nearest[0] if nearest else None
        change = f"add a rule to {policy_name(groups[0])}"
        if best is not None and len(best.misses) == 1:
            change = f"in {best.rule}: {best.misses[0].change}"
    return DirectionView(
        "security groups", direction, texts[0] if direction == "egress" else texts[1], allowed,
        tuple(line for line in verdict.path if line.startswith(direction)), tuple(rules), nearest, change,
    )  # fmt: skip
