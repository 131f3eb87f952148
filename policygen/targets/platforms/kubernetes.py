"""networking.k8s.io/v1 NetworkPolicies as YAML, one file each, ready for kubectl and for git.

Every string that comes from the cluster or from a user is in double quotes, so that no reader of YAML 1.1 or 1.2 takes
a label for a boolean, a number or a date. What is written is decoded again by the API server's rules before it is
handed out: an object that would be refused, or would mean something else, is an error here.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import yaml

from policygen.api_kinds.network_policy import decode
from policygen.model import CidrPeer, GroupPeer, Peer, PodPeer, Policy, PolicySet, PortRange, Rule, Selector
from policygen.targets import Inexpressible

MAX_BYTES = 1024 * 1024
"""Objects above this are refused; etcd takes requests of at most 1.5 MiB, everything around the object included."""

_LONGEST_FILE_NAME = 255  # bytes, on most file systems
_COMMENT_LENGTH = 300
_COMMENTS = 20  # lines of evidence above one rule
_PLAIN_KEY = re.compile(r"[A-Za-z][A-Za-z0-9./_-]*\Z")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})
_VOCABULARY = frozenset({"networking.k8s.io/v1", "NetworkPolicy", "Ingress", "Egress", "TCP", "UDP", "SCTP"}) | {
    *("In", "NotIn", "Exists", "DoesNotExist")
}

Json = dict[str, Any]


def render(policies: PolicySet) -> dict[str, str]:
    """`namespace/name.yaml` -> text, for every policy. Raises Inexpressible, naming every object that cannot be."""
    files: dict[str, str] = {}
    problems: list[str] = []
    for policy in policies.sorted().policies:
        path = _path(policy)
        found = tuple(_problems(policy))
        if not found:
            document = _document(policy)
            found = tuple(_refusals(policy, document))
        if path in files:
            found += ("another policy has the same namespace and name",)
        if found:
            problems.extend(f"{policy.namespace}/{policy.name}: {problem}" for problem in found)
        else:
            files[path] = _text(policy, document)
    if problems:
        raise Inexpressible(tuple(problems))
    return files


def _path(policy: Policy) -> str:
    """The file of a policy. Names that are too long for a file are cut and told apart by a digest."""
    name = policy.name
    if len(name) + len(".yaml") > _LONGEST_FILE_NAME:
        name = f"{name[:230]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return f"{policy.namespace}/{name}.yaml"


# -- what cannot be said ---------------------------------------------------------------------------------------------


def _problems(policy: Policy) -> Iterator[str]:
    """What has no meaning in a NetworkPolicy, or turns into another one when written."""
    if policy.ingress is None and policy.egress is None:
        yield "it isolates no direction; without policyTypes the server would isolate ingress"
    if policy.members:
        yield "it has members: security groups are no NetworkPolicies"
    for where, rules in (("ingress", policy.ingress), ("egress", policy.egress)):
        for index, rule in enumerate(rules or ()):
            if rule.peers == ():
                yield f"{where} rule {index} has an empty list of peers, which would mean everybody; drop the rule"
            if rule.ports == ():
                yield f"{where} rule {index} has an empty list of ports, which would mean all ports; drop the rule"
            if any(isinstance(peer, GroupPeer) for peer in rule.peers or ()):
                yield f"{where} rule {index} names a security group; NetworkPolicies know pods and address blocks"


def _refusals(policy: Policy, document: Json) -> Iterator[str]:
    """Why the API server would refuse the object, or how it would read it otherwise than it is meant."""
    decoded = decode(document, "")
    yield from (f"{finding.path}: {finding.reason}" for finding in decoded.refusals)
    if isinstance(decoded.policy, Policy) and decoded.policy.meaning() != _canonical(policy).meaning():
        yield "it would be read back with another meaning; addresses have to be canonical, label keys unique"
    size = len(json.dumps(document, separators=(",", ":")).encode())
    if size > MAX_BYTES:
        yield f"{size:,} bytes are more than the {MAX_BYTES:,} that fit; declare a CIDR for the many addresses"


def _canonical(policy: Policy) -> Policy:
    """The policy with the labels of its selectors in order, as a reader gives them back."""

    def selector(one: Selector) -> Selector:
        return replace(one, labels=tuple(sorted(one.labels)))

    def peer(one: Peer) -> Peer:
        if not isinstance(one, PodPeer):
            return one
        return PodPeer(one.namespaces and selector(one.namespaces), one.pods and selector(one.pods))

    def rules(some: tuple[Rule, ...] | None) -> tuple[Rule, ...] | None:
        if some is None:
            return None
        return tuple(replace(r, peers=None if r.peers is None else tuple(map(peer, r.peers))) for r in some)

    return replace(policy, subject=selector(policy.subject), ingress=rules(policy.ingress), egress=rules(policy.egress))


# -- the object ------------------------------------------------------------------------------------------------------


def _document(policy: Policy) -> Json:
    """The object as plain data, fields in the order in which people expect them."""
    metadata: Json = {"name": policy.name, "namespace": policy.namespace}
    if policy.labels:
        metadata["labels"] = dict(sorted(policy.labels))
    if policy.annotations:
        metadata["annotations"] = {key: _one_line(text) for key, text in sorted(policy.annotations)}
    types = [n for n, rules in (("Ingress", policy.ingress), ("Egress", policy.egress)) if rules is not None]
    spec: Json = {"podSelector": _selector(policy.subject), "policyTypes": types}
    if policy.ingress is not None:
        spec["ingress"] = [_rule(rule, "from") for rule in policy.ingress]
    if policy.egress is not None:
        spec["egress"] = [_rule(rule, "to") for rule in policy.egress]
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def _rule(rule: Rule, peers_field: str) -> Json:
    body: Json = {}
    if rule.peers is not None:
        body[peers_field] = [_peer(peer) for peer in rule.peers]
    if rule.ports is not None:
        body["ports"] = [_port(port) for port in rule.ports]
    return body


def _peer(peer: Peer) -> Json:
    if isinstance(peer, CidrPeer):
        return {"ipBlock": {"cidr": peer.cidr} | ({"except": list(peer.excepts)} if peer.excepts else {})}
    body: Json = {}
    if isinstance(peer, PodPeer) and peer.namespaces is not None:
        body["namespaceSelector"] = _selector(peer.namespaces)
    if isinstance(peer, PodPeer) and peer.pods is not None:
        body["podSelector"] = _selector(peer.pods)
    return body


def _port(port: PortRange) -> Json:
    body: Json = {"protocol": port.protocol}
    if port.port is not None:
        body["port"] = port.port
    if port.end is not None:
        body["endPort"] = port.end
    return body


def _selector(selector: Selector) -> Json:
    body: Json = {}
    if selector.labels:
        body["matchLabels"] = dict(sorted(selector.labels))
    if selector.expressions:
        body["matchExpressions"] = [
            {"key": one.key, "operator": one.operator} | ({"values": list(one.values)} if one.values else {})
            for one in selector.expressions
        ]
    return body


# -- the text --------------------------------------------------------------------------------------------------------


class _Quoted(str):
    """Text that is written in double quotes."""

    __slots__ = ()


class _Dumper(yaml.CSafeDumper):
    """Repeats what occurs twice instead of pointing at it: people read these files."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # the base class names it
        return True


def _represent_quoted(dumper: yaml.representer.BaseRepresenter, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style='"')


_Dumper.add_representer(_Quoted, _represent_quoted)


def _quoted(value: object) -> object:
    """The same data, with every string in quotes; keys and words of the API not, which no reader can mistake."""
    if isinstance(value, dict):
        return {_key(key): _quoted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_quoted(item) for item in value]
    return _Quoted(value) if isinstance(value, str) and value not in _VOCABULARY else value


def _key(key: str) -> str:
    return key if _PLAIN_KEY.match(key) and key.lower() not in _WORDS else _Quoted(key)


def _text(policy: Policy, document: Json) -> str:
    """The YAML, with the evidence of each rule as comments above it."""
    text = yaml.dump(
        _quoted(document), Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=1 << 30, indent=2
    )
    evidence = {
        "  ingress:": [rule.evidence for rule in policy.ingress or ()],
        "  egress:": [rule.evidence for rule in policy.egress or ()],
    }
    lines: list[str] = []
    waiting: Iterator[tuple[str, ...]] = iter(())
    for line in text.splitlines():
        if line.startswith("  ") and line[2] not in " -":
            waiting = iter(evidence.get(line, ()))
        elif line.startswith("  - "):  # the rules of a direction, and nothing else below spec, begin like this
            reasons = next(waiting, ())
            lines.extend(f"  # {_one_line(reason)}" for reason in reasons[:_COMMENTS])
            if len(reasons) > _COMMENTS:
                lines.append(f"  # and {len(reasons) - _COMMENTS:,} more")
        lines.append(line)
    return "\n".join(lines) + "\n"


def _one_line(text: str) -> str:
    """Without anything that a terminal or a YAML reader acts upon: controls, line ends, direction marks."""
    clean = "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") else c for c in text)
    clean = " ".join(clean.split())
    return clean if len(clean) <= _COMMENT_LENGTH else f"{clean[: _COMMENT_LENGTH - 3]}..."
