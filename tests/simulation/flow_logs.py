"""AWS VPC flow logs as the service writes them: packets in, records per interface, window and direction out.

Facts from the AWS documentation: flags are OR-ed over a window and a bare ACK counts as 0; the same connection is
logged by both interfaces and in both directions; start and end are the first and last packet of the window, up to a
minute late; `srcaddr` of an egress record and `dstaddr` of an ingress record are the interface's primary address.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

FIN, SYN, RST, ACK = 1, 2, 4, 16
SYN_ACK = SYN | ACK

CUSTOM_FIELDS = (
    *("version", "vpc-id", "interface-id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol", "tcp-flags"),
    *("flow-direction", "pkt-srcaddr", "pkt-dstaddr", "packets", "bytes", "start", "end", "action", "log-status"),
    *("type", "account-id", "subnet-id", "instance-id", "region", "az-id", "traffic-path"),
    *("pkt-src-aws-service", "pkt-dst-aws-service"),
)
"""A version 5 format: these fields, in any order (the header tells it)."""

DEFAULT_FIELDS = (
    *("version", "account-id", "interface-id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol", "packets"),
    *("bytes", "start", "end", "action", "log-status"),
)


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface (ENI) that flow logs are taken of."""

    id: str
    primary: str
    vpc: str = "vpc-0a1b2c3d4e5f60718"
    subnet: str = "subnet-0aaaabbbbccccdddd"
    instance: str = "-"
    account: str = "123456789010"


@dataclass(frozen=True, slots=True)
class Wire:
    """One direction of a connection as one interface sees it: the packet's own addresses and ports."""

    source: str
    source_port: int
    destination: str
    destination_port: int
    protocol: int  # IANA

    def reply(self) -> Wire:
        """The opposite direction."""
        return Wire(self.destination, self.destination_port, self.source, self.source_port, self.protocol)


@dataclass(slots=True)
class Record:
    """One row of a flow log. `wire` None: a NODATA or SKIPDATA row."""

    interface: Interface
    start: int
    end: int
    wire: Wire | None = None
    direction: str = "-"
    action: str = "-"
    status: str = "OK"
    packets: int = 0
    bytes: int = 0
    flags: int = 0


@dataclass
class Collector:
    """Aggregates packets to records the way the service does it; times outside [begin, finish) are not logged."""

    begin: int
    finish: int
    window: int = 60  # seconds
    lag: int = 0  # records of one interface and window are up to this many seconds late
    _records: dict[tuple[str, int, str, Wire, str], Record] = field(default_factory=dict)
    _silences: list[Record] = field(default_factory=list)

    def packets(
        self,
        interface: Interface,
        direction: str,
        time: int,
        wire: Wire,
        *,
        packets: int = 1,
        size: int = 60,
        tcp_bits: int = 0,
        action: str = "ACCEPT",
    ) -> None:
        """Packets of `size` bytes each, seen at `time` (s UTC). `tcp_bits` are those of the TCP header."""
        if not self.begin <= time < self.finish:
            return
        slot = (time - int(interface.id[-6:], 16)) // self.window  # every interface has windows of its own phase
        late = zlib.crc32(f"{interface.id}{slot}".encode()) % (self.lag + 1)
        flags = (tcp_bits & (FIN | SYN | RST)) | (ACK if tcp_bits & SYN_ACK == SYN_ACK else 0)
        key = (interface.id, slot, direction, wire, action)
        record = self._records.get(key)
        if record is None:
            record = Record(interface, time + late, time + late, wire, direction, action)
            self._records[key] = record
        record.start = min(record.start, time + late)
        record.end = max(record.end, time + late)
        record.packets += packets
        record.bytes += packets * size
        record.flags |= flags

    def silence(self, interface: Interface, start: int, status: str) -> None:
        """A NODATA or SKIPDATA row of one window."""
        self._silences.append(Record(interface, start, start + self.window - 1, status=status))

    def records(self) -> list[Record]:
        """All records, in the order in which they end."""
        return sorted(
            [*self._records.values(), *self._silences],
            key=lambda r: (r.end, r.interface.id, r.direction, r.action, r.status, str(r.wire), r.start),
        )


def line(record: Record, fields: Sequence[str]) -> str:
    """One record in the given field order."""
    interface, wire = record.interface, record.wire
    values = {
        "version": "2" if tuple(fields) == DEFAULT_FIELDS else "5",
        "account-id": interface.account,
        "interface-id": interface.id,
        "vpc-id": interface.vpc,
        "subnet-id": interface.subnet,
        "instance-id": interface.instance,
        "region": "eu-west-1",
        "az-id": "euw1-az1",
        "start": str(record.start),
        "end": str(record.end),
        "log-status": record.status,
    }
    if wire is not None:
        egress = record.direction == "egress"
        values |= {
            "srcaddr": interface.primary if egress else wire.source,
            "dstaddr": wire.destination if egress else interface.primary,
            "pkt-srcaddr": wire.source,
            "pkt-dstaddr": wire.destination,
            "srcport": str(wire.source_port),
            "dstport": str(wire.destination_port),
            "protocol": str(wire.protocol),
            "type": "IPv6" if ":" in wire.source else "IPv4",
            "packets": str(record.packets),
            "bytes": str(record.bytes),
            "tcp-flags": str(record.flags),
            "flow-direction": record.direction,
            "traffic-path": "1" if egress else "-",
            "action": record.action,
        }
    return " ".join(values.get(name, "-") for name in fields)


def gzip_bytes(text: str) -> bytes:
    """One gzip member without name and time, so that the same text gives the same bytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=buffer, mtime=0) as stream:
        stream.write(text.encode())
    return buffer.getvalue()


def text(records: Iterable[Record], fields: Sequence[str]) -> str:
    """A whole file. The default format has no header here, as in CloudWatch exports; a custom one has."""
    header = [] if tuple(fields) == DEFAULT_FIELDS else [" ".join(fields)]
    return "\n".join([*header, *(line(r, fields) for r in records)]) + "\n"


def write_files(
    records: Sequence[Record], fields: Sequence[str], folder: Path, rng: Random, slices: int = 3
) -> list[Path]:
    """Writes the records as several files by end time and interface, every other one gzipped, rows in random order."""
    folder.mkdir(parents=True, exist_ok=True)
    first = min(r.end for r in records)
    span = max(r.end for r in records) - first + 1
    parts: dict[tuple[int, int], list[Record]] = {}
    for record in records:
        part = ((record.end - first) * slices // span, zlib.crc32(record.interface.id.encode()) % 2)
        parts.setdefault(part, []).append(record)
    paths = []
    for number, (part, rows) in enumerate(sorted(parts.items())):
        rng.shuffle(rows)
        content = text(rows, fields)
        path = folder / f"flow-{part[0]}-{part[1]}.log{'.gz' if number % 2 else ''}"
        path.write_bytes(gzip_bytes(content) if number % 2 else content.encode())
        paths.append(path)
    return paths
