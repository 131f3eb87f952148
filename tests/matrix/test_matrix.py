"""Every cell of the matrix: the engine, the replay of whole columns and the oracle say the same."""

from __future__ import annotations

import json
from itertools import product

import pytest

from analyzers.inventory import Inventory
from analyzers.inventory.facts import SourceDocument
from analyzers.inventory.fields import Notes
from analyzers.inventory.formats.kubernetes import read
from policygen.manifests import parse_policies
from policygen.model import PolicySet
from policygen.verify.evaluate import Flow, decide
from policygen.verify.matching import FlowEnd, Surroundings
from policygen.verify.profiles import PROFILES
from policygen.verify.reachability import Reachability
from policygen.verify.replay import ReplayFlow, replay
from tests.matrix import admin_cases, cases

NUMBERS = {"TCP": 6, "UDP": 17, "SCTP": 132}
CELLS = list(product(cases.PROTOCOLS, cases.PORTS))


def inventory() -> Inventory:
    facts = read([SourceDocument(cases.cluster(), "", Notes("matrix"))])
    return Inventory(
        endpoints=tuple(sorted(facts.endpoints, key=lambda e: (e.namespace, e.name))), namespaces=facts.namespaces
    )


INVENTORY = inventory()
ENDS = {f"{e.namespace}/{e.name}[Pod]": FlowEnd(e) for e in INVENTORY.endpoints}


def read_case(manifests: list[cases.Manifest]) -> PolicySet:
    found = parse_policies("\n---\n".join(map(json.dumps, manifests)), "case")
    assert not [problem for problem in found.problems if problem.fatal], found.problems
    return found


def check(manifests: list[cases.Manifest], profile: str) -> int:
    """Compare every cell; how many are allowed."""
    policies = read_case(manifests)
    found = Reachability.compile(policies, INVENTORY, PROFILES[profile])
    around = Surroundings(INVENTORY.namespaces, {}, PROFILES[profile])
    flows, expected = [], []
    for (one, source), (other, destination) in product(ENDS.items(), ENDS.items()):
        connections = found.connections(one, other)
        for protocol, port in CELLS:
            allowed = decide(policies, Flow(source, destination, NUMBERS[protocol], port), around).allowed
            if one != other:
                assert ((protocol, port) in connections) == allowed, (one, other, protocol, port)
            flows.append(ReplayFlow(source, destination, NUMBERS[protocol], port, one, other))
            expected.append(allowed)
    denied = {id(denial.flow) for denial in replay(policies, INVENTORY, flows, PROFILES[profile]).denied}
    assert [id(flow) not in denied for flow in flows] == expected
    return sum(expected)


@pytest.mark.parametrize("profile", ["spec", "calico"])
@pytest.mark.parametrize("kind", ["peer", "port", "target", "action", "conflict"])
def test_network_policies(kind: str, profile: str) -> None:
    chosen = list(getattr(cases, f"{kind}_cases")())
    counts = {name: check(manifests, profile) for name, manifests in chosen}
    assert len(counts) == len(chosen)
    assert len(set(counts.values())) > 2  # the cases differ in what they allow


def test_admin_policies() -> None:
    chosen = list(admin_cases.every_case())
    counts = {name: check(manifests, "spec") for name, manifests in chosen}
    assert len(counts) == len(chosen) > 200
    assert len(set(counts.values())) > 10


def test_the_matrix_is_as_wide_as_it_says() -> None:
    assert len(ENDS) == 9
    assert len(cases.every_case()) >= 230


# -- a few by hand, so that a fault of engine and oracle together is seen ----------------------------------------------


@pytest.mark.parametrize(
    ("name", "denied"),
    [
        ("peer-nil-one-ingress", {"x/b", "x/c", *(f"{n}/{p}" for n in "yz" for p in "abc")}),
        ("peer-nil-all-ingress", {f"{n}/{p}" for n in "yz" for p in "abc"}),
        ("peer-one-one-ingress", {"x/b", "x/c", "y/b", "y/c", *(f"z/{p}" for p in "abc")}),
        ("peer-not-in-not-in-ingress", {*(f"y/{p}" for p in "abc"), "z/a"}),
        ("peer-absent-nil-ingress", {f"{n}/{p}" for n in "xyz" for p in "abc"} - {"x/a"}),
        ("peers-empty-ingress", set()),
        ("block-everything-ingress", {f"{n}/{p}" for n in "xyz" for p in "abc"} - {"x/a"}),
    ],
)
def test_sources_that_do_not_reach_pod_a_of_x(name: str, denied: set[str]) -> None:
    policies = read_case(dict(cases.every_case())[name])
    found = Reachability.compile(policies, INVENTORY)
    target = "x/a[Pod]"
    refused = {end.removesuffix("[Pod]") for end in ENDS if end != target and not found.connections(end, target)}
    assert refused == denied
