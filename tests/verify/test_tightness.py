"""The share of what is allowed that was ever used, counted by hand."""

from __future__ import annotations

from analyzers.flows import address_halves
from analyzers.inventory import Endpoint, Identity, Inventory
from policygen.manifests import parse_policies
from policygen.verify.connections import ConnectionSet
from policygen.verify.matching import FlowEnd
from policygen.verify.reachability import Reachability
from policygen.verify.replay import ReplayFlow
from policygen.verify.tightness import Tightness, tightness

POLICIES = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}]
    ports: [{port: 5432}, {port: 9100}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from: [{ipBlock: {cidr: 192.0.2.0/24}}, {ipBlock: {cidr: 198.51.100.0/24}}]
    ports: [{port: 443}]
  egress:
  - to: [{podSelector: {matchLabels: {app: db}}}]
"""


def pod(name: str, address: str) -> Endpoint:
    labels = (("app", name),)
    return Endpoint(
        f"{name}-1", "shop", Identity("Deployment", "shop", name, "", labels), labels, (address_halves(address),)
    )


WEB, DB = pod("web", "10.0.0.1"), pod("db", "10.0.0.2")
INVENTORY = Inventory(endpoints=(WEB, DB), workloads=(WEB.workload, DB.workload), namespaces={"shop": {}})


def flow(source: Endpoint | str, destination: Endpoint | str, port: int, protocol: int = 6) -> ReplayFlow:
    ends = [
        FlowEnd(None, address_halves(end)) if isinstance(end, str) else FlowEnd(end, end.addresses[0])
        for end in (source, destination)
    ]
    return ReplayFlow(ends[0], ends[1], protocol, port)


def counted(*flows: ReplayFlow) -> Tightness:
    return tightness(Reachability.compile(parse_policies(POLICIES, "here"), INVENTORY), flows)


def test_nothing_used() -> None:
    # web => db on 5432 and on 9100, and two outside ranges => web on 443
    found = counted()
    assert (found.allowed, found.used, found.pairs, found.used_pairs) == (4, 0, 3, 0)
    assert found.share == 0
    assert str(found.loosest[0]) == "shop/web[Deployment] => shop/db[Deployment] : TCP 5432,9100"
    assert found.loosest[0].unused == 2


def test_a_cell_counts_once_however_often_it_was_used() -> None:
    found = counted(*[flow(WEB, DB, 5432)] * 3, flow("192.0.2.7", WEB, 443), flow("192.0.2.9", WEB, 443))
    assert (found.allowed, found.used, found.pairs, found.used_pairs) == (4, 2, 3, 2)
    assert found.share == 0.5


def test_what_is_not_allowed_uses_nothing() -> None:
    found = counted(flow(DB, WEB, 443), flow(WEB, DB, 22), flow(WEB, DB, 5432, 17), flow("203.0.113.1", WEB, 443))
    assert (found.used, found.used_pairs) == (0, 0)


def test_flows_without_a_pair_do_no_harm() -> None:
    found = counted(flow(WEB, WEB, 443), flow("192.0.2.1", "192.0.2.2", 443), flow(WEB, DB, 0, 1))
    assert found.used == 0


def test_without_policies_everything_is_one_wide_cell_a_protocol() -> None:
    found = tightness(Reachability.compile(parse_policies("", "none"), INVENTORY), [flow(WEB, DB, 1)])
    assert found.allowed == 6 * 3  # two ways between the pods and with everything outside, three protocols each
    assert found.used == 1
    assert found.loosest[0].connections == ConnectionSet.everything()


def test_nothing_allowed_has_no_share() -> None:
    deny = "\n---\n".join(part.split("  ingress:")[0] for part in POLICIES.split("---\n"))
    found = tightness(Reachability.compile(parse_policies(deny, "deny"), INVENTORY), [flow(WEB, DB, 5432)])
    assert (found.allowed, found.share, found.loosest) == (0, None, ())
