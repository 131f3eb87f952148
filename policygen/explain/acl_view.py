"""What network ACLs say about a connection and about its replies, entry by entry.

The verdict is the judge's (policygen.verify.acls); here it is put into words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analyzers.flows import address_text, protocol_name
from policygen.explain.near_miss import port_text
from policygen.explain.values import DirectionView, Question
from policygen.network_acls import AclEntry, NetworkAcl
from policygen.verify.acls import EPHEMERAL, AclTable
from policygen.verify.cloud_connections import spans
from policygen.verify.connections import ConnectionSet
from policygen.verify.evaluate import Direction, Flow
from policygen.verify.matching import FlowEnd, in_cidr

_CELLS = {1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 132: "SCTP"}
_PORTED = (6, 17, 132)

Cell = tuple[str, int]


def acl_views(question: Question, flow: Flow, texts: Sequence[str]) -> tuple[bool, list[DirectionView]]:
    """(whether the ACLs let the connection and its replies pass, one view for each subnet that was asked)."""
    table = AclTable(question.acls, question.inventory)
    passing, asked = table.passes(flow.source, flow.destination)
    if not asked:
        return True, []
    allowed = _cell(flow.protocol, flow.port) in passing
    views = [
        _view(acl, remote, direction, text, flow, allowed)
        for end, remote, direction, text in _sides(flow, texts)
        if (acl := _acl_of(table, end)) is not None
    ]
    return allowed, views


def _sides(flow: Flow, texts: Sequence[str]) -> Iterator[tuple[FlowEnd, FlowEnd, Direction, str]]:
    yield flow.source, flow.destination, "egress", texts[0]
    yield flow.destination, flow.source, "ingress", texts[1]


def _acl_of(table: AclTable, end: FlowEnd) -> NetworkAcl | None:
    subnet = table.subnet(end)
    if end.endpoint is None or not subnet:
        return None
    network = end.endpoint.network
    return next((acl for acl in table.acls if acl.network == network and subnet in acl.subnets), None)


def _view(acl: NetworkAcl, remote: FlowEnd, direction: Direction, text: str, flow: Flow, passes: bool) -> DirectionView:
    there, back = (acl.egress, acl.ingress) if direction == "egress" else (acl.ingress, acl.egress)
    words = ("outbound", "inbound") if direction == "egress" else ("inbound", "outbound")
    name, address = protocol_name(flow.protocol), ", ".join(address_text(*a) for a in remote.addresses)
    request = _deciding(there, remote, _cell(flow.protocol, flow.port))
    asked = f"{name} {flow.port}" if flow.port else name
    steps = [f"{direction}: {acl.id}, {words[0]} {asked} with {address}: {_entry(request)}"]
    change = "" if _lets(request) else f"in {acl.id}: an {words[0]} allow entry{_before(request)} for {address} {asked}"
    replies = True
    for cell, shown in _reply_cells(flow.protocol):
        entry = _deciding(back, remote, cell)
        replies &= _lets(entry)
        steps.append(f"{direction}: {acl.id}, {words[1]} replies, {shown} with {address}: {_entry(entry)}")
        if not _lets(entry) and not change:
            change = f"in {acl.id}: an {words[1]} allow entry{_before(entry)} for replies, {address} {shown}"
    allowed = passes or (_lets(request) and replies)
    return DirectionView(
        "network ACLs", direction, text, allowed, tuple(steps), change="" if allowed else change or f"open {acl.id}"
    )


def _reply_cells(protocol: int) -> list[tuple[Cell, str]]:
    """Replies go to whatever port the client took: both ends of the range that it takes one from are asked."""
    name = _CELLS.get(protocol, "IP")
    if protocol in _PORTED:
        return [((name, port), f"{name} {port}") for port in EPHEMERAL]
    return [(_cell(protocol, 0), protocol_name(protocol))]


def _cell(protocol: int, port: int) -> Cell:
    name = _CELLS.get(protocol)
    return ("IP", protocol) if name is None else (name, port)


def _deciding(entries: Sequence[AclEntry], remote: FlowEnd, cell: Cell) -> AclEntry | None:
    """The first entry that matches; None: the implicit denial at the end."""
    for entry in entries:
        inside = remote.addresses and all(in_cidr(entry.peer.cidr, address) for address in remote.addresses)
        if inside and cell in ConnectionSet.of(spans(entry.ports)):
            return entry
    return None


def _lets(entry: AclEntry | None) -> bool:
    return entry is not None and entry.allow


def _entry(entry: AclEntry | None) -> str:
    if entry is None:
        return "denied, no entry matches"
    word = "allowed" if entry.allow else "denied"
    return f"{word} by entry {entry.number} ({entry.peer.cidr}, {port_text(entry.ports)})"


def _before(entry: AclEntry | None) -> str:
    return "" if entry is None else f" with a number below {entry.number}"
