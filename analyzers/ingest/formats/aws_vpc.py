"""AWS VPC and Transit Gateway flow logs as text: the default format without a header, or any header, any field order.

Unknown columns are kept aside: whatever the kernel does not use costs nothing and is never fatal.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from analyzers.ingest.log_formats import DEFAULT_FIELDS, EVENT_TIME, KNOWN_FIELDS, LogFormats, normalise
from analyzers.kernels import log_line

NAME = "aws-vpc"

LOST_REASONS = ("no-route", "blackhole", "mtu-exceeded", "ttl-expired")
"""Why a transit gateway lost packets: ends of field names, in the order of the kernel's counters."""

NEEDED = ("srcport", "dstport", "protocol")
STATUSES = ("OK", "NODATA", "SKIPDATA")
UNUSABLE_COUNT = 255
"""Fields of the lines below an unusable header: more than any record has, so that each is passed over, counted."""

_EVENT_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z\Z")


@dataclass(frozen=True)
class Layout:
    """Which field of a line is which logical column.

    `columns`: int64[analyzers.kernels.log_line.COLUMN_COUNT], -1 for what the format lacks.
    """

    fields: tuple[str, ...]
    columns: NDArray[np.int64]
    notes: tuple[str, ...]

    @property
    def has_flags(self) -> bool:
        """Whether records carry TCP flags."""
        return bool(self.columns[log_line.C_FLAGS] >= 0)

    @property
    def lacks_packet_addresses(self) -> bool:
        """Whether records may tell interfaces' addresses in the place of the packets' own ones."""
        return not {"pkt-srcaddr", "pkt-dstaddr"} <= set(self.fields) and "tgw-attachment-id" not in self.fields


class UnusableHeader(ValueError):
    """A header of a flow log from which no flow can be made; the message names what is missing."""


@lru_cache(maxsize=256)
def layout(fields: tuple[str, ...]) -> Layout:
    """Columns of a format. Raises UnusableHeader when addresses, ports or the protocol are missing."""
    place = {name: at for at, name in reversed(list(enumerate(fields)))}
    missing = [
        f"{end}addr (or pkt-{end}addr)" for end in ("src", "dst") if not {f"{end}addr", f"pkt-{end}addr"} & set(place)
    ]
    missing += [name for name in NEEDED if name not in place]
    if missing:
        raise UnusableHeader(f"the format lacks {', '.join(missing)}: no flow can be made of its records")
    columns = np.full(log_line.COLUMN_COUNT, -1, np.int64)
    plain = {
        log_line.C_SPORT: "srcport", log_line.C_DPORT: "dstport", log_line.C_PROTOCOL: "protocol",
        log_line.C_PACKETS: "packets", log_line.C_BYTES: "bytes", log_line.C_START: "start", log_line.C_END: "end",
        log_line.C_ACTION: "action", log_line.C_STATUS: "log-status", log_line.C_FLAGS: "tcp-flags",
        log_line.C_INTERFACE: "interface-id", log_line.C_NETWORK: "vpc-id",
    }  # fmt: skip
    for column, name in plain.items():
        columns[column] = place.get(name, -1)
    if "interface-id" not in place:  # a transit gateway's attachment, or what has no interface (regional NAT gateways)
        columns[log_line.C_INTERFACE] = place.get("tgw-attachment-id", place.get("resource-id", -1))
    if "vpc-id" not in place and {"tgw-src-vpc-id", "tgw-dst-vpc-id"} <= set(place):
        columns[log_line.C_NETWORK] = place["tgw-src-vpc-id"]
        columns[log_line.C_PEER_NETWORK] = place["tgw-dst-vpc-id"]
        for number, reason in enumerate(LOST_REASONS):
            columns[log_line.C_LOST + number] = place.get(f"packets-lost-{reason}", -1)
    # pkt-* are the addresses of the packet itself; srcaddr and dstaddr may be an interface's primary address instead
    for column, stand_in, end in (
        (log_line.C_SRC, log_line.C_SRC_PLAIN, "src"),
        (log_line.C_DST, log_line.C_DST_PLAIN, "dst"),
    ):
        columns[column] = place.get(f"pkt-{end}addr", place.get(f"{end}addr", -1))
        columns[stand_in] = place.get(f"{end}addr", -1)
    notes = []
    if "start" not in place or "end" not in place:
        notes.append("records without start or end: identity cannot be resolved with time")
    if "action" not in place and "tgw-attachment-id" not in place:  # transit gateways have no verdict to tell
        notes.append("records without action: what was rejected looks like what was accepted")
    return Layout(fields, columns, tuple(notes))


def nothing_usable() -> Layout:
    """The layout below a header that cannot be used: no line fits it."""
    return Layout(("",) * UNUSABLE_COUNT, layout(DEFAULT_FIELDS).columns, ())


@lru_cache(maxsize=256)
def header(line: str) -> tuple[str, ...] | None:
    """Field names of a header line, or None when the line is none (at least three known names, none a number)."""
    names = tuple(normalise(part) for part in line.split())
    known = sum(name in KNOWN_FIELDS for name in names)
    return names if known >= 3 and not any(name.isdigit() for name in names) else None


def recognise(head: bytes, formats: LogFormats | None = None) -> tuple[str, ...] | None:
    """Field names of the text that begins with `head`; None: no such log.

    From its header; else from `formats`, or the default ones, when its lines look like records of those; with
    EVENT_TIME before them where each line begins with the time at which CloudWatch Logs took it.
    """
    known = formats or LogFormats()
    for raw in head[: 1 << 16].split(b"\n", 50)[:50]:
        line = raw.decode("utf-8", "replace")
        fields = header(line)
        if fields is not None:
            return fields
        parts = line.split()
        prefix: tuple[str, ...] = ()
        if parts and _EVENT_TIME.match(parts[0]):
            prefix = (EVENT_TIME,)
            parts = parts[1:]
        found = known.of_line(len(parts))
        if found is not None and _plausible(dict(zip(found, parts, strict=True))):
            return (*prefix, *found)
    return None


def _plausible(record: Mapping[str, str]) -> bool:
    """Whether a line of a format without header looks like a record of it."""
    status = record.get("log-status")
    if status is not None and status not in STATUSES:
        return False
    numbers = [record[name] for name in ("version", "protocol", "srcport", "dstport", "start") if name in record]
    return bool(numbers) and all(number.isdigit() or number == "-" for number in numbers)


def unnamed_fields(head: bytes) -> int:
    """How many fields the first line has, when it looks like a record of a format that nobody told; else 0."""
    first = next((line.split() for line in head.decode("utf-8", "replace").splitlines() if line.strip()), [])
    if first and _EVENT_TIME.match(first[0]):
        first = first[1:]
    addresses = sum(_is_address(part) for part in first)
    return len(first) if len(first) >= 4 and (addresses >= 2 or any(s in first for s in STATUSES)) else 0


def _is_address(part: str) -> bool:
    try:
        ipaddress.ip_address(part)
    except ValueError:
        return False
    return True
