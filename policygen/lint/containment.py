"""Whether one selector, peer or rule covers another in every cluster there can be. Never wrong when it says yes.

It may say no where the answer is yes: unions are looked through for addresses and ports, not for selectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from policygen.model import (
    AdminPeer,
    AdminRule,
    CidrPeer,
    Peer,
    PodPeer,
    Policy,
    PortRange,
    Rule,
    Selector,
)
from policygen.verify.matching import cidr_range

NAMESPACE_NAME = "kubernetes.io/metadata.name"
_LAST_PORT = 65535
_PROTOCOLS = ("TCP", "UDP", "SCTP")

Spans = list[tuple[int, int]]
AnyPeer = Peer | AdminPeer


@dataclass(slots=True)
class _Key:
    """What a selector says about one label key."""

    present: bool | None = None
    allowed: frozenset[str] | None = None  # None: any value
    excluded: frozenset[str] = frozenset()
    impossible: bool = False

    def must(self, present: bool) -> None:
        self.impossible |= self.present is (not present)
        self.present = present

    def one_of(self, values: Iterable[str]) -> None:
        self.must(True)
        self.allowed = frozenset(values) if self.allowed is None else self.allowed & frozenset(values)

    @property
    def values(self) -> frozenset[str] | None:
        return None if self.allowed is None else self.allowed - self.excluded


@lru_cache(maxsize=1 << 16)
def _keys(selector: Selector) -> Mapping[str, _Key]:
    keys: dict[str, _Key] = {}
    for name, value in selector.labels:
        keys.setdefault(name, _Key()).one_of((value,))
    for requirement in selector.expressions:
        key = keys.setdefault(requirement.key, _Key())
        match requirement.operator:
            case "In":
                key.one_of(requirement.values)
            case "NotIn":
                key.excluded |= frozenset(requirement.values)
            case "Exists":
                key.must(True)
            case _:
                key.must(False)
    return keys


def satisfiable(selector: Selector) -> bool:
    """Whether any labels at all can satisfy the selector."""
    return not any(key.impossible or key.values == frozenset() for key in _keys(selector).values())


def selector_within(inner: Selector, outer: Selector) -> bool:
    """Whether all that `inner` selects is selected by `outer`."""
    if not satisfiable(inner):
        return True
    keys = _keys(inner)
    for name, wanted in _keys(outer).items():
        have = keys.get(name, _Key())
        if wanted.impossible:
            return False
        if wanted.present is False and have.present is not False:
            return False
        if wanted.present and have.present is not True:
            return False
        if wanted.allowed is not None and (have.values is None or not have.values <= wanted.allowed):
            return False
        if wanted.excluded and have.present is not False:
            clear = have.excluded >= wanted.excluded if have.values is None else not have.values & wanted.excluded
            if not clear:
                return False
    return True


class Subjects:
    """Policies of one namespace, asked for those that apply to all that another applies to."""

    def __init__(self, policies: Iterable[Policy]) -> None:
        self._order: dict[int, int] = {}
        self._by_label: dict[tuple[str, str], list[Policy]] = {}  # by the first label that a subject asks for
        self._others: list[Policy] = []
        for place, policy in enumerate(policies):
            self._order[id(policy)] = place
            labels = policy.subject.labels
            (self._by_label.setdefault(labels[0], []) if labels else self._others).append(policy)

    def covering(self, inner: Selector) -> list[Policy]:
        """The policies whose subject `inner` lies within, in their order."""
        if not satisfiable(inner):
            return sorted((p for one in (*self._by_label.values(), self._others) for p in one), key=self._place)
        values = ((name, value) for name, key in _keys(inner).items() for value in key.values or ())
        candidates = [policy for pair in values for policy in self._by_label.get(pair, ())]
        found = [policy for policy in (*candidates, *self._others) if selector_within(inner, policy.subject)]
        return sorted(found, key=self._place)

    def _place(self, policy: Policy) -> int:
        return self._order[id(policy)]


def selects_only(selector: Selector, names: Iterable[str]) -> bool:
    """Whether a namespaceSelector can choose no namespace but those of `names`."""
    key = _keys(selector).get(NAMESPACE_NAME)
    return key is not None and key.values is not None and key.values <= frozenset(names)


def absolute(peer: PodPeer, namespace: str) -> PodPeer:
    """The peer with its own namespace written out."""
    spaces = Selector(((NAMESPACE_NAME, namespace),)) if peer.namespaces is None else peer.namespaces
    return PodPeer(spaces, peer.pods or Selector())


def pod_peer_within(inner: PodPeer, outer: PodPeer) -> bool:
    """For peers with their namespaces written out."""
    assert inner.namespaces is not None and outer.namespaces is not None
    return selector_within(inner.namespaces, outer.namespaces) and selector_within(
        inner.pods or Selector(), outer.pods or Selector()
    )


def peers_within(inner: Sequence[AnyPeer] | None, outer: Sequence[AnyPeer] | None, namespace: str) -> bool:
    """Whether all ends that `inner` covers are covered by `outer`; None covers everything. Both are peers of policies
    in `namespace`, which is not looked at for those of admin policies."""
    if outer is None:
        return True
    if inner is None:
        return False
    return all(_peer_within(peer, outer, namespace) for peer in inner)


def _peer_within(peer: AnyPeer, outer: Sequence[AnyPeer], namespace: str) -> bool:
    if peer in outer:
        return True
    if isinstance(peer, PodPeer):
        own = absolute(peer, namespace)
        return any(pod_peer_within(own, absolute(one, namespace)) for one in outer if isinstance(one, PodPeer))
    if isinstance(peer, CidrPeer):
        version = cidr_range(peer.cidr)[0]
        covered = [
            span
            for one in outer
            if isinstance(one, CidrPeer) and cidr_range(one.cidr)[0] == version
            for span in block_spans(one)
        ]
        return not _minus(block_spans(peer), covered)
    return False  # groups, nodes and domain names: only themselves


def block_spans(block: CidrPeer) -> Spans:
    """The addresses of a block, as numbers, without its exceptions."""
    _, first, last = cidr_range(block.cidr)
    return _minus([(first, last)], [cidr_range(part)[1:] for part in block.excepts])


def ports_within(inner: Sequence[PortRange] | None, outer: Sequence[PortRange] | None) -> bool:
    """Whether all ports that `inner` covers are covered by `outer`; None covers all of every protocol."""
    if outer is None:
        return True
    if inner is None:
        return False
    return all(_port_within(one, outer) for one in inner)


def _port_within(port: PortRange, outer: Sequence[PortRange]) -> bool:
    same = [one for one in outer if one.protocol in (port.protocol, "-1")]
    if isinstance(port.port, str):
        if port.protocol == "-1" and all(PortRange(p) in outer for p in _PROTOCOLS):
            return True
        return any(one.port is None or one.port == port.port for one in same)
    if any(one.port is None for one in same):
        return True
    if port.protocol not in _PROTOCOLS:
        return port in same
    return not _minus([_numbers(port)], [_numbers(one) for one in same if not isinstance(one.port, str)])


def _numbers(port: PortRange) -> tuple[int, int]:
    if not isinstance(port.port, int):
        return 0, _LAST_PORT
    return port.port, port.port if port.end is None else port.end


def rule_within(inner: Rule | AdminRule, outer: Rule | AdminRule, namespace: str = "") -> bool:
    """Whether all traffic that `inner` matches is matched by `outer`."""
    return peers_within(inner.peers, outer.peers, namespace) and ports_within(inner.ports, outer.ports)


def _minus(spans: Spans, taken: Sequence[tuple[int, int]]) -> Spans:
    """What of `spans` no span of `taken` covers; both ends belong to a span."""
    left = list(spans)
    for begin, end in taken:
        rest: Spans = []
        for first, last in left:
            if end < first or begin > last:
                rest.append((first, last))
                continue
            if first < begin:
                rest.append((first, begin - 1))
            if last > end:
                rest.append((end + 1, last))
        left = rest
    return left
