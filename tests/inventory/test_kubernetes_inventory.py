"""What `kubectl get -o json` says becomes endpoints, workloads and services."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzers.inventory.model import Identity, NamedPort, ServicePort
from inventory.samples import (
    START_S,
    at,
    by_name,
    finished,
    halves,
    listed,
    load,
    metadata,
    node,
    pod,
    service,
    texts,
    workload,
)

WEB = {"app": "web"}


def owners(tmp_path: Path, *objects: dict) -> dict[str, str]:
    """Pod name -> Kind/name of its workload."""
    found = by_name(load(tmp_path, listed(*objects)))
    return {name: f"{e.workload.kind}/{e.workload.name}" for name, e in found.items() if e.namespace}


def test_deployment_through_its_replica_set(tmp_path: Path) -> None:
    hashed = {**WEB, "pod-template-hash": "5d9f8c7b6"}
    inventory = load(
        tmp_path,
        listed(
            workload("Deployment", "web", WEB),
            workload("ReplicaSet", "web-5d9f8c7b6", hashed, owner="Deployment/web"),
            pod("web-5d9f8c7b6-abcde", "10.1.0.5", owner="ReplicaSet/web-5d9f8c7b6", labels=hashed),
        ),
    )
    web = Identity("Deployment", "shop", "web", "", (("app", "web"),))
    found = by_name(inventory)["web-5d9f8c7b6-abcde"]
    assert found.workload == web
    assert dict(found.labels) == hashed  # the endpoint's own, volatile ones included
    assert [w for w in inventory.workloads if w.namespace] == [web]


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        # ReplicaSet object missing: the name minus the hash that the pod carries
        ([pod("p", "10.1.0.5", "ReplicaSet/web-abc", {"pod-template-hash": "abc"})], "Deployment/web"),
        ([pod("p", "10.1.0.5", "ReplicaSet/web-abc", {"pod-template-hash": "xyz"})], "ReplicaSet/web-abc"),
        ([pod("p", "10.1.0.5", "ReplicaSet/web-abc")], "ReplicaSet/web-abc"),
        # a ReplicaSet that nobody controls is the workload
        ([workload("ReplicaSet", "web-abc", WEB), pod("p", "", "ReplicaSet/web-abc", WEB)], "ReplicaSet/web-abc"),
        # controllers we know nothing of keep their kind
        (
            [workload("ReplicaSet", "web-abc", WEB, "Rollout/web"), pod("p", "", "ReplicaSet/web-abc", WEB)],
            "Rollout/web",
        ),
        ([pod("p", "", "Rollout/web")], "Rollout/web"),
        # Job objects tell their CronJob; names only when there is such a CronJob
        ([workload("Job", "tidy-29", {}, "CronJob/tidy"), pod("p", "", "Job/tidy-29")], "CronJob/tidy"),
        ([workload("CronJob", "tidy"), pod("p", "", "Job/tidy-29453880")], "CronJob/tidy"),
        ([workload("CronJob", "tidy"), workload("Job", "tidy-29"), pod("p", "", "Job/tidy-29")], "CronJob/tidy"),
        ([pod("p", "", "Job/tidy-29453880")], "Job/tidy-29453880"),
        ([workload("CronJob", "tidy"), pod("p", "", "Job/tidy-manual")], "Job/tidy-manual"),
        ([pod("p", "", "StatefulSet/db")], "StatefulSet/db"),
        ([pod("p", "", "DaemonSet/agent")], "DaemonSet/agent"),
        ([pod("p")], "Pod/p"),
        ([pod("p-node-1", "", "Node/node-1")], "Pod/p"),
    ],
)
def test_folding(tmp_path: Path, objects: list[dict], expected: str) -> None:
    assert list(owners(tmp_path, *objects).values()) == [expected]


def test_labels_without_a_template_are_what_all_pods_have(tmp_path: Path) -> None:
    inventory = load(
        tmp_path,
        listed(
            pod("db-0", owner="StatefulSet/db", labels={"app": "db", "statefulset.kubernetes.io/pod-name": "db-0"}),
            pod("db-1", owner="StatefulSet/db", labels={"app": "db", "statefulset.kubernetes.io/pod-name": "db-1"}),
        ),
    )
    assert [w.labels for w in inventory.workloads if w.name == "db"] == [(("app", "db"),)]


def test_manifests_alone_give_workloads_without_endpoints(tmp_path: Path) -> None:
    text = """\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: "no"}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: tidy, namespace: shop}
spec: {jobTemplate: {spec: {template: {metadata: {labels: {app: tidy}}, spec: {containers: [{name: c}]}}}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec: {template: {metadata: {labels: {app: agent}}, spec: {hostNetwork: true, containers: [{name: c}]}}}
---
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web, namespace: shop}
spec: {template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c}]}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
"""
    inventory = load(tmp_path, text)
    agent = Identity("DaemonSet", "default", "agent", "", (("app", "agent"),))
    assert inventory.workloads == (
        agent,
        Identity("CronJob", "shop", "tidy", "", (("app", "tidy"),)),
        Identity("Rollout", "shop", "web", "", (("app", "web"),)),
    )
    assert inventory.endpoints == ()
    assert inventory.host_network_workloads == (agent,)
    assert inventory.namespaces == {"default": {}, "shop": {"team": "no"}}
    assert [n.reason.split()[0] for n in inventory.notes] == ["ConfigMap"]


@pytest.mark.parametrize(
    ("status", "meta", "until"),
    [
        ({}, {}, None),
        (finished(500), {}, 500),
        (finished(500, "Failed"), {"deletionTimestamp": at(900)}, 500),
        ({}, {"deletionTimestamp": at(900)}, 900),
        ({"phase": "Succeeded"}, {"deletionTimestamp": at(900)}, 900),
        (
            {
                "phase": "Succeeded",
                "conditions": [
                    {"type": "Ready", "reason": "PodCompleted", "lastTransitionTime": at(700)},
                    {"type": "PodScheduled", "lastTransitionTime": at(800)},
                ],
            },
            {},
            700,
        ),
        (finished(0), {}, 1),  # started and ended in one second
    ],
)
def test_when_a_pod_gives_its_address_back(tmp_path: Path, status: dict, meta: dict, until: int | None) -> None:
    found = by_name(load(tmp_path, listed(pod("p", "10.1.0.5", status=status, **meta))))["p"]
    assert (found.since, found.until) == (START_S, None if until is None else START_S + until)
    assert texts(found) == ["10.1.0.5"]


def test_a_pod_that_ended_nobody_knows_when_holds_nothing(tmp_path: Path) -> None:
    inventory = load(tmp_path, listed(pod("p", "10.1.0.5", status={"phase": "Failed"})))
    assert by_name(inventory)["p"].addresses == ()
    assert any("unknown time" in n.reason and "Pod shop/p" in n.where for n in inventory.notes)


def test_start_falls_back_on_creation(tmp_path: Path) -> None:
    given = pod("p", "10.1.0.5", creationTimestamp=at(30), status={"startTime": None})
    assert by_name(load(tmp_path, listed(given)))["p"].since == START_S + 30


def test_a_namesake_ends_its_predecessor(tmp_path: Path) -> None:
    """Two snapshots: db-0 was made anew in between, so the first one's address is free since then."""
    old = pod("db-0", "10.1.0.5", "StatefulSet/db", uid="one")
    new = pod("db-0", "10.1.0.6", "StatefulSet/db", uid="two", creationTimestamp=at(600), status={"startTime": at(601)})
    inventory = load(tmp_path, listed(old), listed(new))
    assert [(texts(e), e.since, e.until) for e in inventory.endpoints if e.namespace] == [
        (["10.1.0.5"], START_S, START_S + 600),
        (["10.1.0.6"], START_S + 601, None),
    ]


@pytest.mark.parametrize(("old", "new"), [("99", "1000"), ("998", "999")])
def test_newest_copy_wins(tmp_path: Path, old: str, new: str) -> None:
    older = pod("p", "10.1.0.5", resourceVersion=old)
    newer = pod("p", "10.1.0.5", resourceVersion=new, status=finished(500))
    for number, order in enumerate(([older, newer], [newer, older])):
        found = by_name(load(tmp_path / str(number), *order))
        assert found["p"].until == START_S + 500


def test_the_manifest_of_a_living_pod_is_not_another_pod(tmp_path: Path) -> None:
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "shop"}}
    inventory = load(tmp_path, manifest, listed(pod("p", "10.1.0.5")))
    assert [texts(e) for e in inventory.endpoints if e.namespace] == [["10.1.0.5"]]


def test_ports_of_containers_and_sidecars(tmp_path: Path) -> None:
    spec = {
        "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 70000}]}],
        "initContainers": [
            {"name": "proxy", "restartPolicy": "Always", "ports": [{"containerPort": 15090, "protocol": "UDP"}]},
            {"name": "migrate", "ports": [{"containerPort": 1}]},
        ],
    }
    inventory = load(tmp_path, listed(pod("p", "10.1.0.5", spec=spec)))
    assert by_name(inventory)["p"].ports == (NamedPort("", "UDP", 15090), NamedPort("http", "TCP", 8080))
    assert any("containerPort" in n.where and "outside" in n.reason for n in inventory.notes)


def test_host_network_nodes_and_ranges(tmp_path: Path) -> None:
    agent = pod("agent-x", "10.0.0.1", "DaemonSet/agent", spec={"hostNetwork": True})
    lost = pod("agent-y", "10.0.0.2", "DaemonSet/agent", spec={"hostNetwork": True, "nodeName": "node-2"})
    lost["status"]["hostIP"] = "10.0.0.2"
    given = listed(node("node-1", "10.0.0.1", podCIDR="10.1.0.0/24", podCIDRs=["10.1.0.0/24"]), agent, lost)
    found = by_name(load(tmp_path, given))
    assert (found["agent-x"].host_network, texts(found["agent-x"])) == (True, ["10.0.0.1"])
    assert not found["agent-x"].policy_subject
    assert (found["node-1"].workload.kind, found["node-1"].namespace) == ("Node", "")
    assert texts(found["node-2"]) == ["10.0.0.2"]  # no object, but its pod tells
    assert load(tmp_path, given).pod_cidrs == (("", "10.1.0.0/24"),)


def test_services(tmp_path: Path) -> None:
    ports = [
        {"name": "web", "port": 80, "targetPort": "http", "nodePort": 30080},
        {"name": "plain", "port": 81},
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 5353},
    ]
    web = service("web", "10.96.0.1", ports, type="LoadBalancer", externalIPs=["192.0.2.7"])
    web["status"] = {"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}, {"hostname": "lb.example"}]}}
    headless = service("db", "None", [{"port": 5432}])
    elsewhere = service("by-hand", "10.96.0.9", [{"port": 1}], selector=None)
    found = {s.name: s for s in load(tmp_path, listed(web, headless, elsewhere)).services}
    assert found["web"].cluster_addresses == halves("10.96.0.1")
    assert found["web"].external_addresses == halves("192.0.2.7", "203.0.113.9")
    assert found["web"].ports == (
        ServicePort("dns", "UDP", 53, 5353),
        ServicePort("plain", "TCP", 81, 81),
        ServicePort("web", "TCP", 80, "http", 30080),
    )
    assert found["db"].cluster_addresses == ()
    assert found["by-hand"].selector is None


def test_typed_lists_and_bare_lists(tmp_path: Path) -> None:
    given = pod("p", "10.1.0.5")
    bare = {key: value for key, value in given.items() if key not in ("kind", "apiVersion")}
    typed = {"apiVersion": "v1", "kind": "PodList", "items": [bare]}
    expected = load(tmp_path / "list", listed(given)).endpoints
    strip = [(e.name, e.addresses, e.workload) for e in expected]
    for number, form in enumerate((typed, [given], given, listed(listed(given)))):
        found = load(tmp_path / str(number), form)
        assert [(e.name, e.addresses, e.workload) for e in found.endpoints] == strip
        assert found.notes == ()


def test_objects_that_say_nothing_are_counted_once_for_each_kind(tmp_path: Path) -> None:
    secrets = [{"apiVersion": "v1", "kind": "Secret", "metadata": metadata(f"s{i}")} for i in range(7)]
    slices = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata("e"), "endpoints": []}
    inventory = load(tmp_path, listed(*secrets, slices))
    assert [(n.reason.split()[0], n.detail) for n in inventory.notes] == [
        ("EndpointSlice", "1 of them"),
        ("Secret", "7 of them"),
    ]


def test_two_clusters_with_the_same_names_stay_two(tmp_path: Path) -> None:
    for name in ("a", "b"):
        load(tmp_path / name, listed(workload("Deployment", "web", WEB), pod("web-1", "10.1.0.5")))
    from analyzers.inventory.load import load_inventory

    inventory = load_inventory([f"east={tmp_path / 'a'}", f"west={tmp_path / 'b'}"])
    assert [(e.network, e.name) for e in inventory.endpoints if e.namespace] == [("east", "web-1"), ("west", "web-1")]
    assert {w.network for w in inventory.workloads} == {"east", "west"}
