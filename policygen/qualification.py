"""Which edges may become rules. Seen is not the same as wanted: what may not is set aside with its reason."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from analyzers.flows import Direction, Evidence
from analyzers.servicemap import Edge, End, External

TCP, UDP, SCTP = 6, 17, 132
BARE_BYTES = 60
"""A SYN with its usual options is 60 bytes long, an ACK or RST 40 to 52: above that, something was said."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When evidence is believed; the defaults are meant for logs of hours to weeks."""

    one_way_records: int = 3  # UDP without replies, between known workloads
    scan_targets: int = 16  # distinct (server, port) that did not answer a source
    scan_share: float = 0.5  # and that share of all it tried
    internet_sources: int = 16  # more distinct public sources than this make a port internet-facing


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An edge that was seen and is not learned, for a person to decide."""

    edge: Edge
    reason: str


@dataclass(frozen=True)
class Qualification:
    """`edges` may become rules; `quarantined` may not; `places` tells which edges of the map the former are."""

    edges: tuple[Edge, ...] = ()
    places: tuple[int, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()
    scanners: tuple[End, ...] = field(default=())


def qualify(edges: Sequence[Edge], thresholds: Thresholds | None = None) -> Qualification:
    """Sort the edges of a map into evidence and quarantine. The order of the edges has no influence."""
    limits = thresholds or Thresholds()
    failures = [_failure(edge, limits) for edge in edges]
    scanners = _scanners(edges, failures, limits)
    lonely = _lonely_servers(edges, failures)
    good: list[Edge] = []
    places: list[int] = []
    aside: list[Quarantined] = []
    for place, (edge, failure) in enumerate(zip(edges, failures, strict=True)):
        reason = failure
        if reason is None and edge.client in scanners and (isinstance(edge.client, External) or not _said(edge)):
            reason = "the source scans: many of the ports it tried did not answer"
        if reason is None and (edge.server, edge.protocol, edge.port) in lonely and isinstance(edge.client, External):
            reason = "one-off from a single external source"
        if reason is None:
            good.append(edge)
            places.append(place)
        else:
            aside.append(Quarantined(edge, reason))
    return Qualification(tuple(good), tuple(places), tuple(aside), tuple(sorted(scanners, key=str)))


def _said(edge: Edge) -> bool:
    """Whether both sides sent more than bare control packets."""
    return edge.bytes > BARE_BYTES * edge.packets and edge.reply_bytes > BARE_BYTES * edge.reply_packets


def _quiet(edge: Edge) -> bool:
    """Whether neither side sent more than bare control packets."""
    return edge.bytes <= BARE_BYTES * edge.packets and edge.reply_bytes <= BARE_BYTES * edge.reply_packets


def _failure(edge: Edge, limits: Thresholds) -> str | None:
    """Why the edge on its own is no evidence; None when it is."""
    if not edge.accepted:
        return "rejected by the network"
    if edge.protocol == TCP:
        answered = bool(edge.evidence & (Evidence.SYN_ACK | Evidence.CLIENT_FIN))
        if not answered and not edge.reply_packets and _quiet(edge):
            return "unanswered: connection attempts without a reply"
        opened = bool(edge.evidence & Evidence.SYN) or edge.packets < edge.records
        if not answered and edge.reply_packets and _quiet(edge) and opened:
            return "refused: every attempt was answered by a bare reset"
    elif edge.protocol == UDP:
        one_way = not edge.reply_packets
        if one_way and isinstance(edge.client, External):
            return "UDP from outside without a reply: the source may be forged"
        if one_way and edge.records < limits.one_way_records:
            return "UDP without a reply, seen only once or twice"
    elif edge.protocol == SCTP and not edge.reply_packets:
        return "unanswered: connection attempts without a reply"
    return None


def _scanners(edges: Sequence[Edge], failures: Sequence[str | None], limits: Thresholds) -> set[End]:
    """Sources most of whose many targets did not answer."""
    failed: dict[End, int] = defaultdict(int)
    tried: dict[End, int] = defaultdict(int)
    for edge, failure in zip(edges, failures, strict=True):
        if edge.protocol in (TCP, UDP, SCTP):
            tried[edge.client] += 1
            failed[edge.client] += failure is not None
    return {
        source
        for source, count in failed.items()
        if count >= limits.scan_targets and count >= limits.scan_share * tried[source]
    }


def _lonely_servers(edges: Sequence[Edge], failures: Sequence[str | None]) -> set[tuple[End, int, int]]:
    """(server, protocol, port) that a single external source met in a single flow-log record and its reply."""
    clients: dict[tuple[End, int, int], list[Edge]] = defaultdict(list)
    for edge, failure in zip(edges, failures, strict=True):
        if failure is None:
            clients[edge.server, edge.protocol, edge.port].append(edge)
    return {
        target
        for target, met in clients.items()
        if len(met) == 1
        and isinstance(met[0].client, External)
        and not isinstance(met[0].server, External)
        and met[0].records <= 2
        and Direction.DECLARED not in met[0].directions
    }
