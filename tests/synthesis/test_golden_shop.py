"""A small shop, byte for byte. `FLOWCTL_UPDATE_GOLDEN=1 pytest tests/synthesis` writes the files anew."""

from __future__ import annotations

import os

from analyzers.inventory import NamedPort
from policygen.synthesis.networkpolicies import Synthesis, synthesize
from policygen.targets import target

from .clusters import GOLDEN, ICMP, UDP, dns_service, edge, external, inventory, node, pod, workload

HASH = {"pod-template-hash": "5d4f8c7b9"}
RUN = {"controller-uid": "0d9c", "job-name": "report-29", "batch.kubernetes.io/job-name": "report-29"}
RECOMMENDED = {"app.kubernetes.io/name": "cart", "app.kubernetes.io/version": "1.4", "helm.sh/chart": "cart-3"}

WEB = workload("shop", "web", {"app": "web", "expose": "yes"})
CANARY = workload("shop", "web-canary", {"app": "web", "expose": "yes", "track": "canary"})
CART = workload("shop", "cart", RECOMMENDED)
REDIS = workload("shop", "redis", {"app": "redis", "country": "no"}, "StatefulSet")
REPORT = workload("shop", "report", {"app": "report"}, "CronJob")
IDLE = workload("shop", "idle")
PROMETHEUS = workload("monitoring", "prometheus", kind="StatefulSet")
DNS = workload("kube-system", "coredns", {"k8s-app": "kube-dns"})
NODE = node("n1", "10.1.0.1")

ENDPOINTS = (
    pod(WEB, "web-5d4f8c7b9-a", HASH),
    pod(CANARY, "web-canary-1", HASH),
    pod(CART, "cart-1", HASH),
    pod(REDIS, "redis-0", {"statefulset.kubernetes.io/pod-name": "redis-0"}),
    pod(REPORT, "report-29-x", RUN, until=1767300000),
    pod(IDLE),
    pod(PROMETHEUS),
    pod(DNS, ports=(NamedPort("dns", "UDP", 8053),)),
    NODE,
)
EDGES = (
    *(edge(external(f"198.18.0.{n}"), WEB, 8080, records=n) for n in range(1, 21)),
    edge(WEB, CART, 50051, records=1204),
    edge(CANARY, CART, 50051),
    edge(CART, REDIS, 6379),
    edge(REPORT, REDIS, 6379),
    edge(REPORT, external("203.0.113.9"), 443),
    edge(CART, external("10.200.0.7", private=True), 514, UDP),
    *(edge(PROMETHEUS, one, 9090) for one in (WEB, CART, REDIS)),
    edge(NODE.workload, CART, 50051),
    *(edge(one, DNS, 8053, UDP) for one in (WEB, CART)),
    edge(WEB, CART, 0, ICMP),
)


def shop() -> Synthesis:
    services = (dns_service({"k8s-app": "kube-dns"}, "dns"),)
    return synthesize(inventory(*ENDPOINTS, services=services), EDGES, frozenset())


def test_the_files_and_the_notes_are_the_golden_ones() -> None:
    synthesis = shop()
    texts = dict(target("kubernetes").render(synthesis.policies))
    told = [f"{n.kind} | {n.subject} | {n.records} | {n.detail}" for n in synthesis.notes]
    texts["notes.txt"] = "\n".join([*told, *(f"unseen | {w}" for w in synthesis.unseen)]) + "\n"
    if os.environ.get("FLOWCTL_UPDATE_GOLDEN"):
        for path, text in texts.items():
            (GOLDEN / path).parent.mkdir(parents=True, exist_ok=True)
            (GOLDEN / path).write_text(text, encoding="utf-8", newline="")
    expected = {p.relative_to(GOLDEN).as_posix(): p.read_bytes().decode() for p in GOLDEN.rglob("*") if p.is_file()}
    assert len(expected) == 8
    assert texts == expected


def test_no_volatile_label_and_no_release_is_in_any_file() -> None:
    text = "".join(target("kubernetes").render(shop().policies).values())
    for word in ("pod-template-hash", "controller-uid", "job-name", "pod-name", "version", "chart", "5d4f8c7b9"):
        assert word not in text
