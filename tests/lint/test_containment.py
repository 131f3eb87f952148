"""Containment is never claimed where a cluster shows otherwise, and what may be taken out changes nothing there.

The clusters are made for the test; the oracle and the engine decide.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from analyzers.flows import address_halves
from analyzers.inventory import Endpoint, Identity, Inventory, NamedPort
from policygen.lint.case import Case
from policygen.lint.containment import peers_within, ports_within, satisfiable, selector_within
from policygen.lint.imagined import imagined
from policygen.lint.model import Finding
from policygen.lint.run import lint
from policygen.lint.source_places import steps
from policygen.model import (
    AdminPolicy,
    AdminRule,
    CidrPeer,
    PodPeer,
    Policy,
    PolicySet,
    PortRange,
    Requirement,
    Rule,
    Selector,
)  # fmt: skip
from policygen.verify.differences import same_reachability
from policygen.verify.matching import FlowEnd, Surroundings, peer_covers, port_covers, selector_matches
from policygen.verify.profiles import PROFILES
from policygen.verify.reachability import Reachability

VALUES = ("1", "2", "3")
EVERY_LABELS = [
    {key: value for key, value in (("a", a), ("b", b)) if value} for a in ("", *VALUES) for b in ("", *VALUES)
]
NAMESPACES: dict[str, dict[str, str]] = {"n": {"team": "1"}, "m": {"team": "2"}, "o": {}}
CIDRS = ("10.0.0.0/8", "10.0.0.0/16", "10.0.0.0/24", "10.1.0.0/16", "0.0.0.0/0", "2001:db8::/64", "::/0")

expressions = st.one_of(
    st.builds(Requirement, st.sampled_from("ab"), st.sampled_from(("In", "NotIn")),
              st.sets(st.sampled_from(VALUES), min_size=1).map(lambda v: tuple(sorted(v)))),
    st.builds(Requirement, st.sampled_from("ab"), st.sampled_from(("Exists", "DoesNotExist"))),
)  # fmt: skip
pairs = st.dictionaries(st.sampled_from("ab"), st.sampled_from(VALUES), max_size=2).map(
    lambda f: tuple(sorted(f.items()))
)
selectors = st.builds(Selector, pairs, st.lists(expressions, max_size=2).map(tuple))
spaces = st.one_of(
    st.none(),
    st.sampled_from(
        (
            Selector(), Selector((("team", "1"),)), Selector((), (Requirement("team", "Exists"),)),
            Selector((("kubernetes.io/metadata.name", "n"),)),
        )
    ),
)  # fmt: skip


@st.composite
def blocks(draw: st.DrawFn) -> CidrPeer:
    cidr = draw(st.sampled_from(CIDRS))
    inside = [
        c for c in CIDRS if c != cidr and cidr in ("10.0.0.0/8", "0.0.0.0/0") and ":" not in c and c != "0.0.0.0/0"
    ]
    excepts = draw(st.sets(st.sampled_from(inside), max_size=2)) if inside else set()
    return CidrPeer(cidr, tuple(sorted(excepts - {cidr})))


@st.composite
def pod_peers(draw: st.DrawFn, absolute: bool = False) -> PodPeer:
    space = draw(spaces.filter(lambda one: one is not None)) if absolute else draw(spaces)
    return PodPeer(space, draw(selectors) if space is None else draw(st.one_of(st.none(), selectors)))


ports = st.builds(
    lambda protocol, port, more: PortRange(protocol, port, port + more if more and isinstance(port, int) else None),
    st.sampled_from(("TCP", "UDP")),
    st.sampled_from((None, 80, 81, 85, "http")),
    st.sampled_from((0, 1, 10)),
)
some_ports = st.one_of(st.none(), st.lists(ports, min_size=1, max_size=3).map(tuple))
rules = st.builds(
    Rule,
    st.one_of(st.none(), st.lists(st.one_of(pod_peers(), blocks()), min_size=1, max_size=3).map(tuple)),
    some_ports,
)
directions = st.one_of(st.none(), st.lists(rules, max_size=3).map(tuple))
admin_rules = st.lists(
    st.builds(
        AdminRule,
        st.sampled_from(("Accept", "Deny", "Pass")),
        st.lists(
            st.one_of(pod_peers(absolute=True), st.builds(CidrPeer, st.sampled_from(CIDRS))), min_size=1, max_size=2
        ).map(tuple),
        some_ports,
    ),
    max_size=3,
).map(tuple)


def numbered(policies: list[Policy], admin: list[AdminPolicy]) -> PolicySet:
    return PolicySet(
        tuple(replace(p, name=f"p{number}", origin=f"p{number}") for number, p in enumerate(policies)),
        admin=tuple(replace(p, name=f"a{number}", origin=f"a{number}") for number, p in enumerate(admin)),
    ).sorted()


sets = st.builds(
    numbered,
    st.lists(
        st.builds(Policy, st.just(""), st.sampled_from(("n", "n", "m")), st.one_of(st.just(Selector()), selectors),
                  directions, directions).filter(lambda p: p.ingress is not None or p.egress is not None),
        min_size=1, max_size=4,
    ),
    st.lists(
        st.builds(AdminPolicy, st.just(""), st.just("ClusterNetworkPolicy"), st.sampled_from(("Admin", "Baseline")),
                  st.sampled_from((1, 2, 3)), pod_peers(absolute=True), admin_rules, admin_rules),
        max_size=2,
    ),
)  # fmt: skip


def pod(name: str, space: str, labels: dict[str, str], number: int) -> Endpoint:
    own = tuple(sorted(labels.items()))
    address = address_halves(f"10.0.{number % 3}.{number + 1}")
    named = (NamedPort("http", "TCP", 80 + number % 2), NamedPort("http", "UDP", 80)) if number % 4 else ()
    return Endpoint(name, space, Identity("Deployment", space, name, "", own), own, (address,), ports=named)


PODS = tuple(
    pod(f"{space}-{number}", space, labels, number)
    for space in NAMESPACES
    for number, labels in enumerate(EVERY_LABELS)
)
INVENTORY = Inventory(endpoints=PODS, workloads=tuple(p.workload for p in PODS), namespaces=NAMESPACES)


@given(selectors, selectors)
@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_selector_within_another_selects_no_more(inner: Selector, outer: Selector) -> None:
    chosen = [selector_matches(inner, labels) for labels in EVERY_LABELS]
    assert any(chosen) <= satisfiable(inner)
    if selector_within(inner, outer):
        assert all(selector_matches(outer, labels) for labels, one in zip(EVERY_LABELS, chosen, strict=True) if one)


@given(
    st.lists(st.one_of(pod_peers(), blocks()), min_size=1, max_size=3),
    st.lists(st.one_of(pod_peers(), blocks()), min_size=1, max_size=3),
    st.sampled_from(tuple(PROFILES)),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_peers_within_others_cover_no_more(inner: list[Any], outer: list[Any], cni: str) -> None:
    if not peers_within(inner, outer, "n"):
        return
    around = Surroundings(NAMESPACES, {}, PROFILES[cni])
    ends = [FlowEnd(one) for one in PODS]
    ends += [FlowEnd(None, address_halves(a)) for a in ("10.0.0.1", "10.0.9.1", "10.1.0.1", "10.9.0.1", "8.8.8.8",
                                                        "2001:db8::1", "2001:db9::1")]  # fmt: skip
    for end in ends:
        if any(peer_covers(peer, "n", end, around, admin=False) for peer in inner):
            assert any(peer_covers(peer, "n", end, around, admin=False) for peer in outer)


@given(some_ports, some_ports)
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_ports_within_others_cover_no_more(inner: Any, outer: Any) -> None:
    if not ports_within(inner, outer):
        return
    for cni in PROFILES.values():
        for protocol in (6, 17, 132):
            for number in (79, 80, 81, 82, 85, 90, 95, 96):
                for end in (FlowEnd(PODS[0]), FlowEnd(PODS[1])):
                    if inner is None or any(port_covers(one, end, protocol, number, cni) for one in inner):
                        assert outer is None or any(port_covers(one, end, protocol, number, cni) for one in outer)


def without(policies: PolicySet, findings: list[Finding]) -> PolicySet:
    """The set after every removal, done on values: nothing here is shared with the rewriting of texts."""
    gone: dict[str, list[tuple[str | int, ...]]] = {}
    for finding in findings:
        assert finding.removal is not None
        gone.setdefault(finding.origin, []).append(tuple(steps(finding.removal.path)))

    def kept(policy: Any) -> Any:
        paths = gone.get(policy.origin, [])
        for direction, field in (("ingress", "from"), ("egress", "to")):
            own = [path[2:] for path in paths if path and path[1] == direction]
            found = []
            for number, rule in enumerate(getattr(policy, direction) or ()):
                if (number,) in own:
                    continue
                inner = [path[1:] for path in own if path[0] == number]
                found.append(
                    replace(
                        rule,
                        peers=_left(rule.peers, {path[1] for path in inner if path[0] == field}),
                        ports=_left(rule.ports, {path[1] for path in inner if path[0] == "ports"}),
                    )
                )
            if getattr(policy, direction) is not None:
                policy = replace(policy, **{direction: tuple(found)})
        return policy

    return replace(
        policies,
        policies=tuple(kept(p) for p in policies.policies if () not in gone.get(p.origin, [])),
        admin=tuple(kept(p) for p in policies.admin),
    )


def _left(items: Any, gone: set[Any]) -> Any:
    if items is None:
        return None
    left = tuple(item for index, item in enumerate(items) if index not in gone)
    assert left, "a list was emptied, which would mean everybody"
    return left


def taken_out(policies: PolicySet, cni: str) -> list[str]:
    """The checks whose removals were made; that they change nothing is asserted."""
    profile = PROFILES[cni]
    report = lint(Case(policies, profile=profile), ["contained", "redundant", "shadowed"])
    removals = [one for one in report.findings if one.finding.removal is not None]
    if removals:
        after = without(policies, [one.finding for one in removals])
        for inventory in (INVENTORY, imagined(policies)):
            sides = [Reachability.compile(one, inventory, profile) for one in (policies, after)]
            witness = same_reachability(*sides)
            assert witness is None, (str(witness), removals)
    return [one.check for one in removals]


@given(sets, st.sampled_from(tuple(PROFILES)))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_may_be_taken_out_changes_nothing(policies: PolicySet, cni: str) -> None:
    for check in set(taken_out(policies, cni)):
        event(check)


few_peers = st.sampled_from(
    (PodPeer(Selector()), PodPeer(Selector((("team", "1"),))), PodPeer(Selector(), Selector((("a", "1"),))),
     CidrPeer("10.0.0.0/8"), CidrPeer("10.0.0.0/16"), CidrPeer("0.0.0.0/0"))
)  # fmt: skip
few_ports = st.sampled_from((None, (PortRange("TCP", 80),), (PortRange("TCP", 80, 90),), (PortRange("-1", "http"),)))
tiers = st.lists(
    st.builds(
        AdminPolicy, st.just(""), st.just("ClusterNetworkPolicy"), st.sampled_from(("Admin", "Baseline")),
        st.sampled_from((1, 2)), st.sampled_from((PodPeer(Selector()), PodPeer(Selector((("team", "1"),))))),
        *[
            st.lists(
                st.builds(
                    AdminRule, st.sampled_from(("Accept", "Deny", "Pass")),
                    st.lists(few_peers, min_size=1, max_size=2).map(tuple), few_ports,
                ),
                min_size=1, max_size=4,
            ).map(tuple)
        ] * 2,
    ),
    min_size=1, max_size=3,
)  # fmt: skip


@given(tiers, sets)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_admin_tiers_shadow_may_be_taken_out(admin: list[AdminPolicy], beside: PolicySet) -> None:
    if "shadowed" in taken_out(numbered(list(beside.policies), admin), "spec"):
        event("shadowed")
