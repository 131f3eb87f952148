"""Small clusters for tests: short ways to write workloads, pods, edges and inventories."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from analyzers.flows import Direction, address_halves
from analyzers.inventory import Endpoint, Identity, Inventory, NamedPort, Service, ServicePort
from analyzers.servicemap import Edge, End, External
from policygen.manifests import parse_policies
from policygen.model import PolicySet
from policygen.synthesis.networkpolicies import Synthesis
from policygen.targets import target
from policygen.verify import Flow, FlowEnd, Verdict, evaluate

TCP, UDP, SCTP, ICMP = 6, 17, 132, 1
Labels = dict[str, str]


def workload(namespace: str, name: str, labels: Labels | None = None, kind: str = "Deployment") -> Identity:
    """A workload; `app: name` are its labels unless told."""
    chosen = {"app": name} if labels is None else labels
    return Identity(kind, namespace, name, labels=tuple(sorted(chosen.items())))


def pod(
    of: Identity,
    name: str = "",
    extra: Labels | None = None,
    *,
    drop: Iterable[str] = (),
    host: bool = False,
    address: str = "10.0.0.9",
    ports: tuple[NamedPort, ...] = (),
    until: int | None = None,
) -> Endpoint:
    """A pod with the labels of its template, without `drop`, with `extra`."""
    labels = {k: v for k, v in of.labels if k not in set(drop)} | (extra or {})
    return Endpoint(
        name or f"{of.name}-0",
        of.namespace,
        of,
        tuple(sorted(labels.items())),
        (address_halves(address),),
        host_network=host,
        ports=ports,
        until=until,
    )


def node(name: str, address: str) -> Endpoint:
    """A node."""
    return Endpoint(name, "", Identity("Node", "", name), (), (address_halves(address),))


def edge(client: End, server: End, port: int, protocol: int = TCP, records: int = 10) -> Edge:
    """A qualified edge: accepted, answered, oriented by its handshake."""
    return Edge(
        client, server, protocol, port, True, False, records, 40, 4000, 30, 3000, 1767225600, 1767312000, 3,
        (Direction.HANDSHAKE,),
    )  # fmt: skip


def inventory(*endpoints: Endpoint, also: Iterable[Identity] = (), **fields: object) -> Inventory:
    """What the endpoints imply, and `also` workloads that have no pod."""
    workloads = {e.workload for e in endpoints if e.workload.kind != "Node"} | set(also)
    namespaces = {w.namespace: {} for w in workloads if w.namespace}
    plain = Inventory(tuple(sorted(endpoints, key=repr)), tuple(sorted(workloads)), namespaces)
    return replace(plain, **fields)  # type: ignore[arg-type]


def dns_service(selector: Labels, target: int | str = 53, namespace: str = "kube-system") -> Service:
    """A DNS Service whose port 53 leads to `target`."""
    ports = (ServicePort("dns", "UDP", 53, target), ServicePort("dns-tcp", "TCP", 53, target))
    return Service(namespace, "kube-dns", tuple(sorted(selector.items())), ports=ports)


def written_and_read(policies: PolicySet) -> PolicySet:
    """The policies after the way through YAML. Fails when a reader has anything to say."""
    read = PolicySet()
    for path, text in target("kubernetes").render(policies).items():
        one = parse_policies(text, path)
        assert one.problems == ()
        assert [f"{p.namespace}/{p.name}.yaml" for p in one.policies] == [path]
        read = PolicySet((*read.policies, *one.policies))
    return read.sorted()


def judge(
    policies: PolicySet, source: Endpoint | str, destination: Endpoint | str, port: int, protocol: int
) -> Verdict:
    """The evaluator's verdict. Texts are addresses outside."""

    def end(of: Endpoint | str) -> FlowEnd:
        return FlowEnd(None, address_halves(of)) if isinstance(of, str) else FlowEnd(of)

    return evaluate(policies, {}, Flow(end(source), end(destination), protocol, port))


def policy_lines(synthesis: Synthesis) -> str:
    """All files in one text."""
    files = target("kubernetes").render(synthesis.policies)
    return "".join(f"# {path}\n{text}" for path, text in sorted(files.items()))


def external(address: str, private: bool = False) -> External:
    """An address outside of the inventory."""
    return External(address, private=private)


GOLDEN = Path(__file__).parent / "golden"
