"""The meaning of one security group rule in Terraform: its peer, its protocol, its ports."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from policygen.group_rules import ANY_PROTOCOL, PROTOCOLS_WITH_PORTS, normal_protocol
from policygen.hcl import Expression
from policygen.model import CidrPeer, GroupPeer, Peer, PortRange, Rule

PeerOf = Callable[[object], GroupPeer]


class Unreadable(ValueError):
    """A value that cannot be read or evaluated; the message says which."""


def written_rule(body: dict[str, object], group_peer: PeerOf) -> Rule:
    """The rule of an `aws_vpc_security_group_*_rule`. Raises Unreadable for what the provider would refuse, too."""
    given = {key: body[key] for key in _PEER_KEYS if body.get(key) is not None}
    if len(given) != 1:
        raise Unreadable(f"exactly one of {', '.join(_PEER_KEYS)} is needed and {len(given)} are given")
    ((key, value),) = given.items()
    if key == "prefix_list_id":
        raise Unreadable("what a prefix list holds is not known here")
    peer: Peer = group_peer(value) if key == "referenced_security_group_id" else _cidr(text_of(value), int(key[-1]))
    ports = _ports(text_of(body.get("ip_protocol")), body.get("from_port"), body.get("to_port"))
    return Rule((peer,), (ports,), _evidence(body))


_PEER_KEYS = ("cidr_ipv4", "cidr_ipv6", "prefix_list_id", "referenced_security_group_id")


def inline_rules(value: object, own_name: str, group_peer: PeerOf) -> tuple[list[Rule], list[tuple[int, str]]]:
    """The rules of inline `ingress` or `egress`, blocks or a list of objects; (index, reason) of those left out."""
    rules: list[Rule] = []
    errors: list[tuple[int, str]] = []
    if value is not None and not isinstance(value, list):
        return [], [(0, "it is an expression")]
    for index, block in enumerate(value or []):
        try:
            if not isinstance(block, dict):
                raise Unreadable("it is an expression")
            rules += _inline_rule(block, own_name, group_peer)
        except Unreadable as error:
            errors.append((index, str(error)))
    return rules, errors


def _inline_rule(block: dict[str, object], own_name: str, group_peer: PeerOf) -> list[Rule]:
    protocol = text_of(block.get("protocol"))
    any_protocol = normal_protocol_of(protocol) == ANY_PROTOCOL
    ports = _ports(protocol, *((None, None) if any_protocol else (block.get("from_port"), block.get("to_port"))))
    peers: list[Peer] = [_cidr(text_of(item), 4) for item in _items(block, "cidr_blocks")]
    peers += [_cidr(text_of(item), 6) for item in _items(block, "ipv6_cidr_blocks")]
    peers += [group_peer(item) for item in _items(block, "security_groups")]
    itself = block.get("self")
    if isinstance(itself, Expression):
        raise Unreadable("self is an expression")
    if itself is True or itself == "true":
        peers.append(GroupPeer(own_name))
    if _items(block, "prefix_list_ids"):
        raise Unreadable("what a prefix list holds is not known here")
    if not peers:
        raise Unreadable("it names no peer")
    return [Rule((peer,), (ports,), _evidence(block)) for peer in peers]


def _items(block: dict[str, object], key: str) -> list[object]:
    value = block.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise Unreadable(f"{key} is no list")
    return value


def text_of(value: object) -> str:
    """A plain string (numbers count), "" for none. Raises Unreadable for expressions and everything else."""
    if isinstance(value, Expression):
        raise Unreadable(f"{value.text[:80]} is an expression")
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise Unreadable(f"expected a string, found {str(value)[:80]!r}")


def normal_protocol_of(text: str) -> str:
    """As group_rules.normal_protocol, raising Unreadable."""
    try:
        return normal_protocol(text)
    except ValueError as error:
        raise Unreadable(str(error)) from None


def _cidr(text: str, version: int) -> CidrPeer:
    try:
        block = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise Unreadable(str(error)) from None
    if block.version != version:
        raise Unreadable(f"{text} is not IPv{version}")
    return CidrPeer(str(block))


def _ports(protocol_text: str, first_value: object, last_value: object) -> PortRange:
    protocol = normal_protocol_of(protocol_text)
    first, last = _number(first_value, "from_port"), _number(last_value, "to_port")
    if protocol in PROTOCOLS_WITH_PORTS:
        if first is None or last is None:
            raise Unreadable(f"{protocol} needs from_port and to_port")
        if not 0 <= first <= last <= 65535:
            raise Unreadable(f"{first} to {last} is no range of ports")
        if (first, last) == (0, 65535):
            return PortRange(protocol)
        return PortRange(protocol, first, None if first == last else last)
    if protocol in ("icmp", "icmpv6"):
        if first in (None, -1):
            return PortRange(protocol)
        code = -1 if last is None else last
        if not (0 <= (first or 0) <= 255 and -1 <= code <= 255):
            raise Unreadable(f"type {first} code {code} is no ICMP message")
        return PortRange(protocol, first, code)
    if protocol == ANY_PROTOCOL and (first, last) not in ((None, None), (-1, -1)):
        raise Unreadable("with protocol -1 from_port and to_port must be left out")
    return PortRange(protocol)


def _number(value: object, key: str) -> int | None:
    if value is None:
        return None
    text = text_of(value)
    if not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise Unreadable(f"{key}: {text!r} is no number")
    return int(text)


def _evidence(body: dict[str, object]) -> tuple[str, ...]:
    said = body.get("description")
    return (said,) if isinstance(said, str) and said else ()
