"""FlowTable: who met whom, in columns; not yet identified.

A row is one service key (network, client, server, server port, protocol, verdict) as one observer (an ENI, a capture)
saw it. Rows are mergeable sums, minima, maxima and OR-ed bits, so the order of the input leaves no trace.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Verdict(IntEnum):
    """What the observer did with the traffic. Captures and Transit Gateways know no verdict."""

    UNKNOWN = 0
    ACCEPT = 1
    REJECT = 2


class Direction(IntEnum):
    """How it was decided which end serves; the strongest evidence of an edge is the smallest number above zero."""

    UNKNOWN = 0
    HANDSHAKE = 1  # a SYN without ACK, a SYN-ACK, an SCTP INIT, an ICMP echo request
    LISTENER = 2  # the same (address, port) was seen serving by handshake in another record
    FAN_IN = 3  # many distinct peers' ports meet this (address, port)
    DECLARED = 4  # the inventory declares the port at this address
    WELL_KNOWN = 5  # one port is a well-known service port, the other is not


class Evidence(IntFlag):
    """Facts about a row, OR-ed over its records."""

    SYN = 1  # the client opened: SYN without ACK
    SYN_ACK = 2  # the server answered
    CLIENT_FIN = 4  # the client closed an open connection
    PORTS = 8  # at least one record was oriented by its ports alone


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the FlowTable: declared once, used by every reader, writer and store."""

    name: str
    dtype: str
    unit: str
    meaning: str


COLUMNS: tuple[Column, ...] = (
    Column("network", "int32", "index", "into FlowTable.networks: of both addresses, or a pair (end_networks)"),
    Column("client_hi", "uint64", "bits", "upper half of the client's 128-bit address"),
    Column("client_lo", "uint64", "bits", "lower half; IPv4 is mapped (::ffff:a.b.c.d)"),
    Column("server_hi", "uint64", "bits", "upper half of the server's 128-bit address"),
    Column("server_lo", "uint64", "bits", "lower half; IPv4 is mapped"),
    Column("port", "uint16", "port", "the server's port; 0 for protocols without ports"),
    Column("protocol", "uint8", "IANA", "6 TCP, 17 UDP, 132 SCTP, 1 ICMP, 58 ICMPv6, ..."),
    Column("verdict", "uint8", "Verdict", "what the observer did with it"),
    Column("observer", "int32", "index", "into FlowTable.observers: the ENI or capture that saw it"),
    Column("direction", "uint8", "Direction", "how client and server were told apart; UNKNOWN: they were not"),
    Column("evidence", "uint8", "Evidence", "bits, OR-ed over the records"),
    Column("records", "uint64", "count", "log records (packets, in captures) that are in this row"),
    Column("packets", "uint64", "count", "client to server"),
    Column("bytes", "uint64", "bytes", "client to server"),
    Column("reply_packets", "uint64", "count", "server to client"),
    Column("reply_bytes", "uint64", "bytes", "server to client"),
    Column("first", "int64", "s UTC", "earliest start of a record"),
    Column("last", "int64", "s UTC", "latest end of a record"),
)

PAIR = "\x1f"
"""Between the names of two networks, in the name of a pair of them; see FlowTable.end_networks."""

IPV4_MAPPED = 0xFFFF_0000_0000
"""The lower half of an IPv4-mapped address is this plus the 32-bit address; its upper half is 0 (RFC 4291, 2.5.5.2)."""


@dataclass(frozen=True)
class FlowTable:
    """Columns of equal length n, see COLUMNS; `networks` and `observers` name what the indices mean.

    Within one (network, client, server, port, protocol, verdict) every observer has its own row; to count a
    connection once, take the maximum over observers of each counter, never the sum.
    No row spans a moment at which one of its addresses changed its owner (as told by Inventory.cuts), unless a
    single record did.
    """

    columns: Mapping[str, NDArray[Any]]
    networks: tuple[str, ...] = ("",)
    observers: tuple[str, ...] = ("",)

    def __len__(self) -> int:
        return len(self.columns["port"])

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]

    def take(self, index: NDArray[Any]) -> FlowTable:
        """The rows at `index` (integers or a boolean mask), in that order."""
        return FlowTable({k: v[index] for k, v in self.columns.items()}, self.networks, self.observers)

    def end_networks(self, side: str) -> tuple[tuple[str, ...], NDArray[np.int32]]:
        """(names, int32[n] indices into them): the network of the "client" or the "server" of each row.

        It is the row's own network, unless that is a pair, two names with PAIR between them, of a connection from one
        to the other: then the first is that of the numerically lower address (see analyzers.kernels.transit).
        """
        network = self.columns["network"]
        if not any(PAIR in name for name in self.networks):
            return self.networks, network
        halves = [name.split(PAIR, 1) if PAIR in name else [name, name] for name in self.networks]
        names = tuple(sorted({half for pair in halves for half in pair}))
        place = {name: number for number, name in enumerate(names)}
        lower = np.array([place[pair[0]] for pair in halves], np.int32)[network]
        higher = np.array([place[pair[1]] for pair in halves], np.int32)[network]
        client = self.columns["client_hi"], self.columns["client_lo"]
        server = self.columns["server_hi"], self.columns["server_lo"]
        below = (client[0] < server[0]) | ((client[0] == server[0]) & (client[1] <= server[1]))
        return names, np.where(below == (side == "client"), lower, higher).astype(np.int32)

    @staticmethod
    def empty() -> FlowTable:
        """A table without rows."""
        return FlowTable({c.name: np.zeros(0, c.dtype) for c in COLUMNS})


def address_halves(address: str) -> tuple[int, int]:
    """Text to the two 64-bit halves used in FlowTable. Raises ValueError when it is no IPv4 or IPv6 address."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv4Address):
        return 0, IPV4_MAPPED | int(parsed)
    return int(parsed) >> 64, int(parsed) & 0xFFFF_FFFF_FFFF_FFFF


def address_text(hi: int, lo: int) -> str:
    """The two halves back to text; IPv4-mapped addresses come out as IPv4."""
    hi, lo = int(hi), int(lo)
    if hi:  # the system's library writes these alike, and many times as fast
        return socket.inet_ntop(socket.AF_INET6, (hi << 64 | lo).to_bytes(16, "big"))
    if lo >> 32 == 0xFFFF:
        return f"{lo >> 24 & 255}.{lo >> 16 & 255}.{lo >> 8 & 255}.{lo & 255}"
    return str(ipaddress.IPv6Address(lo))


def address_object(hi: int, lo: int) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The two halves as an ipaddress object; IPv4-mapped addresses come out as IPv4."""
    if hi == 0 and lo >> 32 == 0xFFFF:
        return ipaddress.IPv4Address(lo & 0xFFFF_FFFF)
    return ipaddress.IPv6Address(hi << 64 | lo)


PROTOCOL_NAMES = {1: "ICMP", 6: "TCP", 17: "UDP", 47: "GRE", 50: "ESP", 51: "AH", 58: "ICMPv6", 132: "SCTP"}
"""IANA protocol numbers that have a name here; others print as their number."""


def protocol_name(number: int) -> str:
    """`TCP` for 6; the number itself, as text, where it has no name here."""
    return PROTOCOL_NAMES.get(int(number), str(int(number)))


@dataclass(frozen=True, slots=True)
class Skip:
    """One reason for which input was passed over, with how often and a few places."""

    source: str
    reason: str
    count: int
    samples: tuple[str, ...] = ()  # "offset 1234: the text", at most three, the first ones in the file


@dataclass(frozen=True, slots=True, order=True)
class WindowFact:
    """What one interface's flow log did not record in a time, an hour or several alike hours in a row."""

    interface: str
    flow_log: str  # "" where the names of the sources do not tell it
    start: int  # s UTC
    end: int
    nodata: int = 0  # NODATA records: windows in which nothing passed
    skipdata: int = 0  # SKIPDATA records: each stands for flows that were lost
    skipped_minutes: int = 0  # minutes that they cover
    gap_minutes: int = 0  # minutes in which whole aggregation intervals have no record at all


@dataclass(frozen=True, slots=True, order=True)
class Carried:
    """Packets of a capture that were found inside a tunnel: `one` and `other` are its ends, in no direction."""

    source: str
    tunnel: str
    one: str  # an outer address; "" where the tunnel lies under IP (MPLS, PPPoE), or there were too many pairs to tell
    other: str
    packets: int


@dataclass(frozen=True)
class IngestReport:
    """What was read and what was passed over. Pure value; same input in any order gives the same report."""

    sources: int = 0
    bytes_read: int = 0
    records: int = 0  # rows or packets that are in the FlowTable
    skips: tuple[Skip, ...] = ()
    coverage: tuple[Skip, ...] = ()  # NODATA and SKIPDATA: facts about what was not seen, not errors
    notes: tuple[str, ...] = ()  # what the user should know: duplicate sources, a format that cannot name pods, ...
    formats: dict[str, int] = field(default_factory=dict)  # format name -> sources
    first: int | None = None
    last: int | None = None
    windows: Sequence[WindowFact] = ()  # by interface and time; hours of which there is nothing to say are left out
    carried: tuple[Carried, ...] = ()  # tunnels whose inner flows are the flows
    lost_packets: dict[str, dict[str, int]] = field(default_factory=dict)  # attachment -> reason -> packets
    plain_sources: int = 0  # flow logs that tell interfaces' addresses only: no pkt-srcaddr and pkt-dstaddr

    @property
    def skipped(self) -> int:
        """How many records or packets were passed over, for any reason."""
        return sum(s.count for s in self.skips)
