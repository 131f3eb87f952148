"""What a rule that does not match fails on, condition by condition, and the smallest change that would mend it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from analyzers.flows import address_text, protocol_name
from policygen.lint.wording import failing, instead, selector_text
from policygen.model import (
    AdminPeer,
    AdminRule,
    CidrPeer,
    DomainPeer,
    GroupPeer,
    NodePeer,
    Peer,
    PodPeer,
    PortRange,
    Rule,
    Selector,
)
from policygen.verify.matching import (
    PROTOCOLS,
    FlowEnd,
    Surroundings,
    in_cidr,
    is_on_node,
    namespace_labels,
    peer_covers,
    pod_of,
    port_covers,
    selector_matches,
)


@dataclass(frozen=True, slots=True)
class Miss:
    """One condition that fails: `part` is namespace, pod, address, peer, protocol or port."""

    part: str
    text: str
    change: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What a rule is compared with: the peer at the other end, the destination, protocol (IANA) and port."""

    peer: FlowEnd
    destination: FlowEnd
    protocol: int
    port: int
    around: Surroundings
    domain: str = ""  # the peer's name, where it is known by name alone
    groups: frozenset[str] = frozenset()  # the security groups of the peer

    @property
    def wanted(self) -> str:
        """`TCP 5432`."""
        name = protocol_name(self.protocol)
        return f"{name} {self.port}" if self.port else name


def rule_misses(rule: Rule | AdminRule, namespace: str, asked: Asked, *, admin: bool = False) -> tuple[Miss, ...]:
    """What of `rule` fails, by its best peer and its best port; nothing when it matches."""
    return (*_peer_misses(rule.peers, namespace, asked, admin), *_port_misses(rule.ports, asked))


# -- peers -----------------------------------------------------------------------------------------------------------


def _peer_misses(
    peers: Sequence[Peer | AdminPeer] | None, namespace: str, asked: Asked, admin: bool
) -> tuple[Miss, ...]:
    if peers is None:
        return ()
    candidates = [_one_peer(peer, namespace, asked, admin) for peer in peers]
    return min(candidates, key=_weight, default=(Miss("peer", "it has no peer", "add one"),))


def _weight(misses: Sequence[Miss]) -> tuple[int, int]:
    return sum(3 if miss.part == "peer" else 1 for miss in misses), sum(len(miss.text) for miss in misses)


def _one_peer(peer: Peer | AdminPeer, namespace: str, asked: Asked, admin: bool) -> tuple[Miss, ...]:
    if isinstance(peer, DomainPeer):
        return () if is_below(asked.domain, peer.name) else (_other_name(peer, asked),)
    if isinstance(peer, GroupPeer):
        return () if peer.name in asked.groups else (_other_group(peer, asked),)
    if peer_covers(peer, namespace, asked.peer, asked.around, admin=admin):
        return ()
    if isinstance(peer, CidrPeer):
        return (_block(peer, asked, admin),)
    if isinstance(peer, NodePeer):
        return (Miss("peer", f"it is for nodes with {selector_text(peer.nodes)}", "add a peer for this end"),)
    return _pods(peer, namespace, asked)


def _pods(peer: PodPeer, namespace: str, asked: Asked) -> tuple[Miss, ...]:
    pod = pod_of(asked.peer, asked.around.profile)
    if pod is None:
        what = "an address outside" if asked.peer.endpoint is None else "known to policies by its address only"
        return (Miss("peer", f"it selects pods, and the other end is {what}", "add an ipBlock peer"),)
    found: list[Miss] = []
    spaces = Selector((("kubernetes.io/metadata.name", namespace),)) if peer.namespaces is None else peer.namespaces
    labels = namespace_labels(asked.around.namespaces, pod.namespace)
    if not selector_matches(spaces, labels):
        if peer.namespaces is None:
            text = f"without a namespaceSelector it means pods of {namespace}; the other end is in {pod.namespace}"
            change = f"add namespaceSelector kubernetes.io/metadata.name={pod.namespace}"
        else:
            text = f"namespaceSelector {selector_text(spaces)}: namespace {pod.namespace} has {instead(spaces, labels)}"
            change = f"let the namespaceSelector choose {pod.namespace}, or label the namespace so"
        found.append(Miss("namespace", text, change))
    for condition in failing(peer.pods or Selector(), dict(pod.labels)):
        wanted = selector_text(condition)
        text = f"podSelector {wanted}: {pod.namespace}/{pod.name} has {instead(condition, dict(pod.labels))}"
        found.append(Miss("pod", text, f"let the podSelector choose it (its labels: {labels_text(pod.labels)})"))
    return tuple(found)


def labels_text(labels: Sequence[tuple[str, str]]) -> str:
    """`app=web, tier=front`."""
    return ", ".join(f"{key}={value}" for key, value in labels) or "none"


def _block(peer: CidrPeer, asked: Asked, admin: bool) -> Miss:
    addresses = asked.peer.addresses
    cidr = peer.cidr + (f" except {', '.join(peer.excepts)}" if peer.excepts else "")
    unseen = "" if admin else _unseen_by_blocks(asked)
    if unseen:
        profile = asked.around.profile.name
        text = f"{cidr} is an ipBlock, and with profile {profile} those do not match {unseen}"
        return Miss(
            "peer", text, "add a peer that selects it by labels" if unseen == "pods" else "no peer can choose it"
        )
    if not addresses:
        return Miss("address", f"{cidr}: the address of the other end is not known", "name the end by its address")
    for address in addresses:
        if not in_cidr(peer.cidr, address):
            return Miss("address", f"{address_text(*address)} is not in {peer.cidr}", f"add {_host(address)}")
    address, part = next((a, part) for a in addresses for part in peer.excepts if in_cidr(part, a))
    return Miss("address", f"{address_text(*address)} is in the exception {part}", "narrow the exception")


def _unseen_by_blocks(asked: Asked) -> str:
    """`pods` or `nodes` where the profile lets no ipBlock match such an end."""
    profile, endpoint = asked.around.profile, asked.peer.endpoint
    if pod_of(asked.peer, profile) is not None:
        return "" if profile.blocks_match_pods else "pods"
    return "nodes" if endpoint is not None and is_on_node(endpoint) and not profile.blocks_match_nodes else ""


def _host(address: tuple[int, int]) -> str:
    text = address_text(*address)
    return f"{text}/{128 if ':' in text else 32}"


def is_below(name: str, pattern: str) -> bool:
    """Whether a domain name is meant by a DomainPeer: equal, or below what `*.` stands before."""
    name, pattern = name.rstrip(".").lower(), pattern.rstrip(".").lower()
    return bool(name) and (name == pattern or (pattern.startswith("*.") and name.endswith(pattern[1:])))


def _other_name(peer: DomainPeer, asked: Asked) -> Miss:
    said = asked.domain or "an address, which tells no name"
    return Miss("peer", f"it is for the domain name {peer.name}; the other end is {said}", "add the name")


def _other_group(peer: GroupPeer, asked: Asked) -> Miss:
    carried = ", ".join(sorted(asked.groups)) or "none of these groups"
    return Miss("peer", f"it is for members of {peer.name}; the other end carries {carried}", "add a rule for it")


# -- ports -----------------------------------------------------------------------------------------------------------


def _port_misses(ports: Sequence[PortRange] | None, asked: Asked) -> tuple[Miss, ...]:
    if ports is None or any(covers(one, asked) for one in ports):
        return ()
    name = protocol_name(asked.protocol)
    same = [one for one in ports if _protocol_of(one) in (name, "-1")]
    shown = ", ".join(port_text(one) for one in ports)
    if not same:
        numbers = any(covers(_as_protocol(one, name), asked) for one in ports)
        change = f"write protocol: {name}" if numbers else f"add {asked.wanted} to its ports"
        return (Miss("protocol", f"its ports are {shown}; asked is {asked.wanted}", change),)
    texts = [_named(one, asked) for one in same if isinstance(one.port, str)]
    known = f" ({'; '.join(texts)})" if texts else ""
    return (Miss("port", f"its ports are {shown}{known}; asked is {asked.wanted}", f"add {asked.wanted} to its ports"),)


def covers(port: PortRange, asked: Asked) -> bool:
    """Whether one entry of ports covers what is asked."""
    if asked.protocol in PROTOCOLS or port.protocol in PROTOCOLS.values():
        return port_covers(port, asked.destination, asked.protocol, asked.port, asked.around.profile) or (
            port.protocol == "-1" and port.port is None
        )
    return port.protocol == "-1" or _protocol_of(port) == protocol_name(asked.protocol)


def _protocol_of(port: PortRange) -> str:
    if port.protocol.isdigit():
        return protocol_name(int(port.protocol))
    return {"icmp": "ICMP", "icmpv6": "ICMPv6"}.get(port.protocol, port.protocol)


def _as_protocol(port: PortRange, name: str) -> PortRange:
    return replace(port, protocol=name)


def _named(port: PortRange, asked: Asked) -> str:
    pod = pod_of(asked.destination, asked.around.profile)
    if pod is None:
        return f"{port.port!r} is a name, which only pods have"
    numbers = [f"{d.protocol} {d.number}" for d in pod.ports if d.name == port.port]
    return (
        f"{port.port!r} is {' and '.join(numbers)} at {pod.name}"
        if numbers
        else f"{pod.name} names no port {port.port!r}"
    )


def port_text(port: PortRange) -> str:
    """`TCP 80-90`, `every TCP port`, `every protocol`, `'http'`."""
    protocol = _protocol_of(port)
    if port.port is None:
        return "every protocol" if protocol == "-1" else f"every {protocol} port"
    number = repr(port.port) if isinstance(port.port, str) else str(port.port)
    span = f"{number}-{port.end}" if port.end not in (None, port.port) else number
    return span if protocol == "-1" else f"{protocol} {span}"
