"""The slow, obvious twin of the text kernel: one record at a time, with the standard library only."""

from __future__ import annotations

import ipaddress
from collections import Counter, defaultdict
from dataclasses import dataclass, field

DEFAULT = [
    "version",
    "account-id",
    "interface-id",
    "srcaddr",
    "dstaddr",
    "srcport",
    "dstport",
    "protocol",
    "packets",
    "bytes",
    "start",
    "end",
    "action",
    "log-status",
]


@dataclass
class Sums:
    """What is added up for each key."""

    records: int = 0
    packets: int = 0
    bytes: int = 0
    reply_packets: int = 0
    reply_bytes: int = 0
    first: int = 1 << 62
    last: int = -1


@dataclass
class Twin:
    """Totals of a text: settled records by service key, the rest counted; skips by reason."""

    services: dict[tuple[object, ...], Sums] = field(default_factory=lambda: defaultdict(Sums))
    unsettled: int = 0
    skips: Counter[str] = field(default_factory=Counter)


def number(text: str, limit: int) -> int | None:
    """A decimal number up to `limit`, or None."""
    if not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) > limit:
        return None
    return int(text)


def address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address; an IPv4-mapped one is the IPv4 address (RFC 4291, 2.5.5.2). Raises ValueError."""
    parsed = ipaddress.ip_address(text)
    return getattr(parsed, "ipv4_mapped", None) or parsed


def read(text: str, service_ports: set[int], fields: list[str] | None = None) -> Twin:
    """Every line of `text` by the rules of the format, `service_ports` settling who serves where flags don't."""
    names = fields or DEFAULT
    twin = Twin()
    for line in text.split("\n"):
        parts = line.replace("\r", " ").replace("\t", " ").split(" ")
        parts = [p for p in parts if p]
        if not parts:
            continue
        if len(parts) != len(names):
            twin.skips["wrong number of fields"] += 1
            continue
        reason = _one(dict(zip(names, parts, strict=True)), service_ports, twin)
        if reason:
            twin.skips[reason] += 1
    return twin


def _one(row: dict[str, str], service_ports: set[int], twin: Twin) -> str | None:
    status = row.get("log-status", "OK")
    if status in ("NODATA", "SKIPDATA"):
        return status
    if status != "OK":
        return "an unknown log-status"
    ends = []
    for end in ("src", "dst"):
        text = row.get(f"pkt-{end}addr", "-")
        text = row.get(f"{end}addr", "-") if text == "-" else text
        ends.append(text)
    if "-" in ends:
        return "a record without addresses"
    try:
        src, dst = (address(e) for e in ends)
    except ValueError:
        return "an address that is none"
    ports = [number(row[p].replace("-", "0") if row[p] == "-" else row[p], 65535) for p in ("srcport", "dstport")]
    if None in ports:
        return "a port that is no number up to 65535"
    protocol = number(row["protocol"], 255)
    if protocol is None:
        return "a protocol that is no number up to 255"
    counters = [number("0" if row[c] == "-" else row[c], (1 << 63) - 1) for c in ("packets", "bytes")]
    if None in counters:
        return "packets or bytes that are no number below 2^63"
    times = []
    for name in ("start", "end"):
        value = number("0" if row[name] == "-" else row[name], (1 << 63) - 1)
        if value is not None and value >= 100_000_000_000:
            value //= 1000
        if value is None or value >= 1 << 32:
            return "a time that is no number of seconds or milliseconds"
        times.append(value)
    action = row.get("action", "-")
    if action not in ("ACCEPT", "REJECT", "-"):
        return "an action other than ACCEPT and REJECT"
    flags = None
    if row.get("tcp-flags", "-") != "-":
        flags = number(row["tcp-flags"], 255)
        if flags is None:
            return "TCP flags that are no number up to 255"
    sport, dport = int(ports[0] or 0), int(ports[1] or 0)
    forward: bool | None = None
    if protocol == 6 and flags is not None and flags & 0x12 in (2, 0x12):
        forward = flags & 0x12 == 2
    elif protocol in (6, 17, 132):
        if dport in service_ports and sport >= 32768:
            forward = True
        elif sport in service_ports and dport >= 32768:
            forward = False
    if forward is None:
        twin.unsettled += 1
        return None
    client, server, port = (src, dst, dport) if forward else (dst, src, sport)
    interface = row.get("interface-id", "-")
    key = (
row.get("vpc-id", "-").removeprefix("-"),
        str(client), str(server), port, protocol, {"-": 0, "ACCEPT": 1, "REJECT": 2}[action],
        "" if interface == "-" else interface,
    )  # fmt: skip
    sums = twin.services[key]
    sums.records += 1
    if forward:
        sums.packets += int(counters[0] or 0)
        sums.bytes += int(counters[1] or 0)
    else:
        sums.reply_packets += int(counters[0] or 0)
        sums.reply_bytes += int(counters[1] or 0)
    sums.first = min(sums.first, times[0])
    sums.last = max(sums.last, times[1])
    return None
