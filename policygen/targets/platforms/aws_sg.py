"""Security groups as Terraform: one file a VPC, one resource a rule.

Every rule is an `aws_vpc_security_group_ingress_rule` or `_egress_rule`, never inline: the two styles overwrite each
other. A group that Terraform creates has no egress rule of its own, so what is not written is not allowed. Names of
resources follow what they are for, so a rule that comes or goes leaves the others alone.
"""

from __future__ import annotations

import ipaddress
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TypeVar

from policygen.group_rules import PROTOCOLS_WITH_PORTS, describe_ports, normal_protocol, split
from policygen.model import CidrPeer, GroupPeer, Peer, PodPeer, Policy, PolicySet, PortRange
from policygen.targets import Inexpressible

_Key = TypeVar("_Key")

TEXT_LIMIT = 255  # EC2 API: names, descriptions of groups and of rules
_FORBIDDEN_TEXT = re.compile(r"[^a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]")  # EC2 API: what a description may not hold

_HEADER = """\
# Security groups of {network}, written by flowctl: one group per workload, each with only the rules that were needed.
#
# Applying this file changes no traffic until interfaces carry the groups. The map below says which instances and
# interfaces should carry which group, and which tags their future members have. Groups add up: an interface is only
# as tight as the loosest group it carries, so the new group takes the place of the old ones.
"""


def render(policies: PolicySet) -> dict[str, str]:
    """Relative path -> Terraform text, `aws-sg/<vpc-id>.tf` for each VPC.

    Raises Inexpressible for what security groups do not have: pod selectors, exceptions in a CIDR, named ports, empty
    peers or ports, a direction that is not isolated, references to groups that are not in the same VPC's set.
    """
    if refused := _problems(policies):
        raise Inexpressible(tuple(refused))
    by_network: dict[str, list[Policy]] = defaultdict(list)
    for policy in policies.sorted().policies:
        by_network[policy.namespace].append(policy)
    networks = _labels((network, _identifier(network)) for network in by_network)
    groups = _labels(
        (_GroupKey(p.namespace, p.name), f"{networks[p.namespace]}_{_part(p.name.removeprefix('flowctl-'))}")
        for p in policies.policies
    )
    rules = [rule for members in by_network.values() for p in members for rule in _rules(p)]
    rule_labels = _labels((rule, rule.label(groups, networks)) for rule in rules)
    blocks: dict[_GroupKey, list[str]] = defaultdict(list)
    for rule in rules:
        blocks[rule.group].append(rule.text(rule_labels[rule], groups))
    files = _labels((network, re.sub(r"[^A-Za-z0-9._-]", "_", network).lstrip(".") or "vpc") for network in by_network)
    texts = {}
    for network, members in sorted(by_network.items()):
        parts = [_HEADER.format(network=_plain(network)), _members(networks[network], members, groups)]
        for policy in members:
            key = _GroupKey(network, policy.name)
            parts += [_group(policy, groups[key]), *blocks[key]]
        texts[f"aws-sg/{files[network]}.tf"] = "\n".join(parts)
    return texts


@dataclass(frozen=True, slots=True, order=True)
class _GroupKey:
    network: str
    name: str


@dataclass(frozen=True, slots=True)
class _RuleResource:
    """One rule resource: a single peer and a single port range of one group."""

    group: _GroupKey
    kind: str  # ingress or egress
    peer: GroupPeer | CidrPeer
    ports: PortRange
    description: str = field(compare=False, repr=False)

    def label(self, groups: Mapping[_GroupKey, str], networks: Mapping[str, str]) -> str:
        """What it would like to be called: the group, what for, and with whom."""
        if isinstance(self.peer, GroupPeer):
            own = groups.get(_GroupKey(self.group.network, self.peer.name), self.peer.name)
            peer = own.removeprefix(f"{networks[self.group.network]}_")
        else:
            block = ipaddress.ip_network(self.peer.cidr)
            peer = str(block.network_address if block.prefixlen == block.max_prefixlen else block)
        preposition = "from" if self.kind == "ingress" else "to"
        return "_".join([groups[self.group], _part(describe_ports(self.ports).lower()), preposition, _part(peer)])

    def text(self, label: str, groups: Mapping[_GroupKey, str]) -> str:
        """The resource block."""
        attributes = {"security_group_id": f"aws_security_group.{groups[self.group]}.id"}
        if self.description:
            attributes["description"] = quoted(self.description)
        if isinstance(self.peer, CidrPeer):
            block = ipaddress.ip_network(self.peer.cidr)
            attributes[f"cidr_ipv{block.version}"] = quoted(str(block))
        else:
            own = groups.get(_GroupKey(self.group.network, self.peer.name))
            reference = quoted(self.peer.name) if own is None else f"aws_security_group.{own}.id"
            attributes["referenced_security_group_id"] = reference
        attributes |= _port_attributes(self.ports)
        width = max(map(len, attributes))
        lines = [f"  {key:{width}} = {value}" for key, value in attributes.items()]
        opening = f'resource "aws_vpc_security_group_{self.kind}_rule" {quoted(label)} {{'
        return "\n".join([opening, *lines, "}", ""])


def _members(network: str, policies: Iterable[Policy], labels: Mapping[_GroupKey, str]) -> str:
    lines = ["locals {", f"  flowctl_members_{network} = {{"]
    for policy in policies:
        lines += [f"    {quoted(policy.name)} = {{"]
        lines += [f"      security_group_id = aws_security_group.{labels[_GroupKey(policy.namespace, policy.name)]}.id"]
        lines += _listing("members", "[", "]", (f"{quoted(member)}," for member in sorted(policy.members)))
        tags = sorted(policy.subject.labels)
        width = max((len(quoted(key)) for key, _ in tags), default=0)
        lines += _listing("tags", "{", "}", (f"{quoted(key):{width}} = {quoted(value)}" for key, value in tags))
        lines += ["    }"]
    return "\n".join([*lines, "  }", "}", ""])


def _listing(name: str, opening: str, closing: str, entries: Iterable[str]) -> list[str]:
    inside = [f"        {entry}" for entry in entries]
    return (
        [f"      {name} = {opening}", *inside, f"      {closing}"] if inside else [f"      {name} = {opening}{closing}"]
    )


def _group(policy: Policy, label: str) -> str:
    tags = {**dict(policy.labels), "managed-by": "flowctl"}
    width = max(len(quoted(key)) for key in tags)
    lines = [f'resource "aws_security_group" {quoted(label)} {{']
    lines += [f"  name        = {quoted(policy.name)}"]
    lines += [f"  description = {quoted(description(f'{policy.name}: what this workload needs, kept by flowctl'))}"]
    lines += [f"  vpc_id      = {quoted(policy.namespace)}", "", "  tags = {"]
    lines += [f"    {quoted(key):{width}} = {quoted(value)}" for key, value in sorted(tags.items())]
    return "\n".join([*lines, "  }", "}", ""])


def _rules(policy: Policy) -> list[_RuleResource]:
    resources: list[_RuleResource] = []
    for kind, rules in (("ingress", policy.ingress or ()), ("egress", policy.egress or ())):
        for rule in split(rules):
            ((peer,), (ports,)) = rule.peers or (), rule.ports or ()
            more = f" (and {len(rule.evidence) - 1} more)" if len(rule.evidence) > 1 else ""
            said = description(rule.evidence[0], more) if rule.evidence else ""
            if not isinstance(peer, PodPeer):
                resources.append(_RuleResource(_GroupKey(policy.namespace, policy.name), kind, peer, ports, said))
    return resources


def _port_attributes(ports: PortRange) -> dict[str, str]:
    """ip_protocol, from_port and to_port. Protocols without ports, and every protocol, must leave the ports out."""
    if ports.protocol in PROTOCOLS_WITH_PORTS:
        first, last = (0, 65535) if ports.port is None else (ports.port, ports.port if ports.end is None else ports.end)
        return {"ip_protocol": quoted(ports.protocol.lower()), "from_port": str(first), "to_port": str(last)}
    if ports.protocol in ("icmp", "icmpv6"):
        kind, code = (-1, -1) if ports.port is None else (ports.port, -1 if ports.end is None else ports.end)
        return {"ip_protocol": quoted(ports.protocol), "from_port": str(kind), "to_port": str(code)}
    return {"ip_protocol": quoted(ports.protocol)}


# -- what cannot be written ------------------------------------------------------------------------------------------


def _problems(policies: PolicySet) -> list[str]:
    """One line for each thing that security groups do not have."""
    groups = {_GroupKey(p.namespace, p.name) for p in policies.policies}
    found = []
    if len(groups) < len(policies.policies):
        found.append("two groups have the same VPC and name")
    for policy in policies.sorted().policies:
        where = f"{policy.namespace}/{policy.name}"
        found += [f"{where}: {reason}" for reason in _group_problems(policy)]
        for kind, rules in (("ingress", policy.ingress or ()), ("egress", policy.egress or ())):
            for index, rule in enumerate(rules):
                reasons = [] if rule.peers is None else [_peer_problem(p, policy, groups) for p in rule.peers]
                reasons += [] if rule.ports is None else [_ports_problem(one) for one in rule.ports]
                if rule.peers == () or rule.ports == ():
                    reasons.append("no peers or no ports are left, which would mean everybody")
                found += [f"{where} {kind} rule {index}: {reason}" for reason in reasons if reason]
    return found


def _group_problems(policy: Policy) -> list[str]:
    found = []
    if not policy.namespace:
        found.append("a security group belongs to a VPC and none is given")
    if policy.ingress is None or policy.egress is None:
        found.append("a security group always isolates both directions")
    if policy.subject.expressions:
        found.append("members are told by tags that are equal; expressions cannot be kept")
    if not policy.name or len(policy.name) > TEXT_LIMIT or _FORBIDDEN_TEXT.search(policy.name):
        found.append(f"the name is empty, over {TEXT_LIMIT} characters or has characters AWS refuses")
    if policy.name.lower().startswith("sg-"):
        found.append("names of security groups must not start with sg-")
    return found


def _peer_problem(peer: Peer, policy: Policy, groups: Set[_GroupKey]) -> str:
    if isinstance(peer, PodPeer):
        return "security groups select no pods"
    if isinstance(peer, CidrPeer):
        return f"security groups know no exceptions, {peer.cidr} has some" if peer.excepts else ""
    known = _GroupKey(policy.namespace, peer.name) in groups or re.fullmatch(r"sg-[0-9a-f]+", peer.name)
    return "" if known else f"{peer.name!r} is not among the groups of {policy.namespace}"


def _ports_problem(ports: PortRange) -> str:
    if isinstance(ports.port, str):
        return f"security groups know no named ports, {ports.port!r} is one"
    try:
        if normal_protocol(ports.protocol) != ports.protocol:
            return f"protocol {ports.protocol} has another name here: {normal_protocol(ports.protocol)}"
    except ValueError as error:
        return str(error)
    if ports.port is not None and ports.protocol not in (*PROTOCOLS_WITH_PORTS, "icmp", "icmpv6"):
        return f"security groups let every port of protocol {ports.protocol} through, not only {ports.port}"
    return ""


# -- text ------------------------------------------------------------------------------------------------------------


def quoted(text: str) -> str:
    """`text` as an HCL string that means exactly it: no interpolation, no directive, no line break."""
    out = []
    for position, character in enumerate(text):
        following = text[position + 1 : position + 2]
        if character in "$%" and following == "{":
            # spelled out, not doubled: how "$$${" reads differs between parsers
            out.append(f"\\u{ord(character):04x}")
        elif character in '"\\':
            out.append(f"\\{character}")
        elif character in "\n\r\t":
            out.append({"\n": "\\n", "\r": "\\r", "\t": "\\t"}[character])
        elif 0xD800 <= ord(character) <= 0xDFFF:
            out.append("\ufffd")  # half a character: no UTF-8 file can hold it
        elif not character.isprintable():
            code = ord(character)
            out.append(f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}")
        else:
            out.append(character)
    return f'"{"".join(out)}"'


def description(text: str, ending: str = "") -> str:
    """`text` in the charset and length of descriptions; `ending` is never cut off."""
    room = TEXT_LIMIT - len(ending)
    clean = _FORBIDDEN_TEXT.sub("_", text)
    return (clean if len(clean) <= room else f"{clean[: room - 3]}...") + ending


def _plain(text: str) -> str:
    return _FORBIDDEN_TEXT.sub("_", text)


def _part(text: str) -> str:
    """`text` as a part of an HCL identifier."""
    return re.sub(r"[^A-Za-z0-9_]", "_", text)


def _identifier(text: str) -> str:
    """`text` as an HCL identifier: they do not begin with a digit."""
    return _part(text) if text[:1].isalpha() and text.isascii() else f"vpc_{_part(text)}"


def _labels(wanted: Iterable[tuple[_Key, str]]) -> dict[_Key, str]:
    """A unique identifier for each key: the wanted one, with a digest of the key where several want the same."""
    keys: dict[str, list[_Key]] = defaultdict(list)
    for key, label in wanted:
        keys[label].append(key)
    return {
        key: label if len(rivals) == 1 else f"{label}_{sha256(repr(key).encode()).hexdigest()[:8]}"
        for label, rivals in keys.items()
        for key in rivals
    }
