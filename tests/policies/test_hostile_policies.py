"""Manifests and descriptions that went wrong in any place: nothing raises, and the sound policy beside is judged."""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowctl.linting import FindingPlaces, run_checks
from flowctl.policy_sources import load_policies
from policygen.explain.ends import UnknownEnd, find_end
from policygen.explain.explanation import explain
from policygen.explain.values import Question

Json = dict[str, Any]

DOCUMENTS: list[Json] = [
    {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"a": "b"}},
        "spec": {
            "podSelector": {"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "x", "operator": "Exists"}]},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}], "ports": [{}]}],
            "egress": [{"to": [{"namespaceSelector": {}}], "ports": [{"port": 80, "endPort": 90, "protocol": "UDP"}]}],
        },
    },
    {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": "admin"},
        "spec": {
            "tier": "Admin",
            "priority": 5,
            "subject": {"pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": {"a": "b"}}}},
            "ingress": [{"action": "Deny", "from": [{"namespaces": {}}]}],
            "egress": [{"action": "Accept", "to": [{"networks": ["10.0.0.0/8"]}],
                        "protocols": [{"tcp": {"destinationPort": {"number": 80}}}]}],
        },
    },
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web", "x": "y"}},
        "spec": {"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {"podIP": "10.0.0.5", "phase": "Running"},
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "front", "namespace": "shop"},
        "spec": {"selector": {"app": "web"}, "clusterIP": "10.9.0.1", "ports": [{"port": 80, "targetPort": "http"}]},
    },
    {
        "SecurityGroups": [
            {"GroupId": "sg-1", "VpcId": "vpc-1", "IpPermissions": [
                {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, "UserIdGroupPairs": [{"GroupId": "sg-1"}]}]}
        ],
        "NetworkInterfaces": [
            {"NetworkInterfaceId": "eni-1", "VpcId": "vpc-1", "PrivateIpAddress": "10.7.0.1",
             "Groups": [{"GroupId": "sg-1"}]}
        ],
        "PrefixLists": [{"PrefixListId": "pl-1", "Cidrs": ["10.0.0.0/8"]}],
    },
]  # fmt: skip
SOUND: Json = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "sound", "namespace": "other"},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]},
}

wrong = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 70000), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(("", "x", "\u202e\x1b[31m", "::/0", "10.0.0.0/33", "Egress", "-1", "a" * 300, "None")),
    st.just([]), st.just({}), st.just([[]]), st.just([None]), st.just({"a": {"b": []}}), st.just(["x", 1]),
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


@st.composite
def damaged(draw: st.DrawFn) -> Json:
    document = copy.deepcopy(draw(st.sampled_from(DOCUMENTS)))
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(places(document)[1:]))
        parent: Any = document
        for key in way:
            parent = parent[key] if isinstance(parent, list) and key < len(parent) else (
                parent.get(key) if isinstance(parent, dict) else None)  # fmt: skip
        if isinstance(parent, dict) or (isinstance(parent, list) and last < len(parent)):
            parent[last] = copy.deepcopy(draw(wrong))
    return document


@given(st.lists(damaged(), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_nothing_raises_and_the_rest_is_judged(documents: list[Json]) -> None:
    with tempfile.TemporaryDirectory() as name:
        for number, document in enumerate((*documents, SOUND)):
            Path(name, f"{number}.json").write_text(json.dumps(document))
        loaded = load_policies([name])
        report = run_checks(loaded, "spec")
    assert any(policy.name == "sound" for policy in loaded.network.policies)
    assert any(one.check == "world-open" and one.finding.policy == "other/sound" for one in report.findings)
    lines = FindingPlaces(loaded)
    for one in report.findings:
        assert str(lines.of(one.finding)) is not None
        assert one.finding.message and one.finding.proof
    for problem in (*loaded.left_out, *loaded.remarks):
        assert problem.where and problem.reason
    try:
        ends = [find_end(given, loaded.inventory) for given in ("10.0.0.5", "10.7.0.1")]
        explain(Question(ends[0], ends[1], 6, 80, loaded.network, loaded.groups, loaded.inventory))
    except UnknownEnd:
        raise AssertionError("an address is always somebody") from None
