"""ServiceMap: identified ends, and what each was seen to need of the other, with the evidence."""

from __future__ import annotations

from dataclasses import dataclass, field

from analyzers.flows import Direction
from analyzers.inventory import Identity


@dataclass(frozen=True, slots=True, order=True)
class External:
    """An end that no inventory names: one address, as text, in the network whose observer saw it.

    `private`: the address is not globally routable (RFC 1918, RFC 4193, link-local, shared address space, ...).
    """

    address: str
    network: str = ""
    private: bool = False

    def __str__(self) -> str:
        return self.address


End = Identity | External


@dataclass(frozen=True, slots=True)
class Edge:
    """A client end met a server end on one protocol and port. Counters count a connection once, whoever logged it.

    `port` is what the server's own pod or interface sees: the target port, never the Service's.
    """

    client: End
    server: End
    protocol: int  # IANA
    port: int  # 0 for protocols without ports
    accepted: bool  # at least one observer accepted it, or saw it without knowing a verdict (captures)
    rejected: bool  # at least one observer rejected it
    records: int
    packets: int
    bytes: int
    reply_packets: int
    reply_bytes: int
    first: int  # s UTC
    last: int  # s UTC
    evidence: int  # analyzers.flows.Evidence bits
    directions: tuple[Direction, ...]  # every way in which its records were oriented, strongest first
    networks: tuple[str, ...] = ()
    observers: int = 1  # how many observers (ENIs, captures) saw it
    client_addresses: tuple[str, ...] = ()  # up to eight, sorted; for messages
    server_addresses: tuple[str, ...] = ()
    via: tuple[str, ...] = ()  # Services whose address was met instead of the pod's, as "namespace/name:port"


@dataclass(frozen=True, slots=True, order=True)
class Unresolved:
    """Flows that became no edge, folded by reason: `ambiguous address`, `direction unknown`, `unknown pod`, ..."""

    reason: str
    records: int
    samples: tuple[str, ...] = ()


@dataclass(frozen=True)
class ServiceMap:
    """Edges sorted by (client, server, protocol, port); identities that took part; what could not be placed."""

    edges: tuple[Edge, ...] = ()
    unresolved: tuple[Unresolved, ...] = ()
    notes: tuple[str, ...] = ()
    seen: frozenset[Identity] = field(default_factory=frozenset)  # every workload that appears in any flow
