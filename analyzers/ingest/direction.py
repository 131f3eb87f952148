"""Who serves? Connections whose records did not say are settled together, once all of them are known.

In this order, each step only for what the ones before left open:
1. the handshake of the connection itself, in any of its records;
2. an (address, port) that served by handshake elsewhere, when the other end did not;
3. fan-in: the end that many distinct peers' ports met;
4. the port that the inventory declares at its address (one port at both ends, declared at both: peers, either serves);
5. well-known service ports;
otherwise unknown: counted, reported, never guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzers.flows import COLUMNS, Direction, Evidence, FlowTable
from analyzers.ingest.service_columns import ServiceColumns
from analyzers.ingest.worker_tables import WorkerTables
from analyzers.kernels import settling as k
from analyzers.kernels import tables as t
from analyzers.kernels.record import S_CONNECTIONS, S_SERVICES
from analyzers.ports import port_rank

FAN_IN = 3
"""So many distinct peers' ports make an end the server: two can be a client port picked twice, three hardly."""

FAN_IN_RATIO = 2
"""And so many times as many as met the other end."""

PROBE_PACKETS = 3
PROBE_BYTES = 60
"""A TCP connection of at most so many packets a side, none larger than a bare SYN: nothing was said, so nothing is
learned from it (a port scan from one source port would else look like a server that many ports met)."""

PORTED = (6, 17, 132)

Array = NDArray[Any]


def settle(tables: Sequence[WorkerTables], declared: frozenset[tuple[int, int, int, int]], threads: int) -> FlowTable:
    """The FlowTable of everything in the tables, none of which is to be used afterwards.

    `declared`: (hi, lo, port, protocol) that an inventory declares.
    """
    first, *others = tables
    for other in others[:-1]:
        first.absorb(other, threads)
    fresh = [rows for other in others[-1:] for rows in first.meet(other, threads)]
    mine = first.tables.services[: first.tables.state[S_SERVICES]]
    columns = ServiceColumns([mine, *fresh], first.tables.addresses)
    services = FlowTable(columns, tuple(first.network_names()), tuple(first.observer_names()))
    return settle_rows(services, first.tables.connections[: first.tables.state[S_CONNECTIONS]], declared)


def settle_rows(services: FlowTable, rows: Array, declared: frozenset[tuple[int, int, int, int]]) -> FlowTable:
    """`services` and the connection rows (uint64[n, CONNECTION_WORDS], keys may repeat), settled together."""
    if not len(rows):
        return services
    connections = settle_connections(rows, services, declared)
    joined = {c.name: np.concatenate([services[c.name], connections[c.name]]) for c in COLUMNS}
    return FlowTable(joined, services.networks, services.observers)


@dataclass
class Connections:
    """What connection rows say, per group: a 5-tuple in its network, whoever saw it, whatever the verdict."""

    rows: Array
    group: Array  # int64, per row
    first: Array  # a row of each group
    a: Array  # number of the end (network, address, port, protocol), per group
    b: Array
    a_port: Array
    b_port: Array
    protocol: Array
    evidence: Array  # bits as in the rows
    sums: Array  # uint64[groups, 4]: packets and bytes a to b, b to a, of what was not rejected
    reached: Array  # bits: a packet went to a, to b
    refs: Array  # per end: a row that has it * 2 + 1 where it is b

    @property
    def groups(self) -> int:
        return len(self.first)

    @property
    def ends(self) -> int:
        return len(self.refs)

    @property
    def end_keys(self) -> Array:
        """uint64[ends, 4]: hi, lo, port << 8 | protocol, network."""
        at, side = self.refs >> 1, (self.refs & 1).astype(bool)
        keys = np.empty((len(at), 4), np.uint64)
        word = self.rows[at, 4]
        keys[:, 0] = self.rows[at, np.where(side, 2, 0)]
        keys[:, 1] = self.rows[at, np.where(side, 3, 1)]
        keys[:, 2] = np.where(side, (word >> t.U32) & t.MASK16, word >> t.U48) << np.uint64(8)
        keys[:, 2] |= (word >> t.U24) & np.uint64(0xFF)
        keys[:, 3] = self.rows[at, 5] >> t.U48
        return keys


def _index_for(count: int) -> Array:
    """An empty index that stays at most half full with `count` entries."""
    return np.zeros(1 << max(4, (2 * count - 1).bit_length()), np.uint64)


def take_apart(rows: Array) -> Connections:
    """Number the connections and their ends, and sum what was seen of each."""
    n = len(rows)
    hashes = np.empty(2 * k.AT_ONCE, np.uint64)
    a_end, b_end, group = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    refs, first = np.empty(2 * n, np.int64), np.empty(n, np.int64)
    refs = refs[: k.number_ends(rows, n, _index_for(2 * n), refs, hashes, a_end, b_end)]
    first = first[: k.number_pairs(a_end, b_end, n, _index_for(n), hashes, first, group)].copy()
    evidence, reached = np.zeros(len(first), np.uint64), np.zeros(len(first), np.uint8)
    sums = np.zeros((len(first), 4), np.uint64)
    k.sum_groups(rows, group, evidence, sums, reached)
    ports = rows[first, 4]
    return Connections(
        rows=rows,
        group=group,
        first=first,
        a=a_end[first],
        b=b_end[first],
        a_port=(ports >> t.U48).astype(np.uint16),
        b_port=((ports >> t.U32) & t.MASK16).astype(np.uint16),
        protocol=((ports >> t.U24) & np.uint64(0xFF)).astype(np.uint8),
        evidence=evidence,
        sums=sums,
        reached=reached,
        refs=refs,
    )


def settle_connections(
    rows: Array, services: FlowTable, declared: frozenset[tuple[int, int, int, int]]
) -> dict[str, Array]:
    """FlowTable columns of connection rows; see the module for how each finds its direction."""
    seen = take_apart(rows)
    a, b = seen.a, seen.b
    server_is_b = np.zeros(seen.groups, np.int8)  # 1: b serves, -1: a serves, 0: open
    method = np.zeros(seen.groups, np.uint8)
    peers = np.zeros(seen.groups, bool)

    def decide(where: Array, b_serves: Array, how: Direction) -> None:
        open_ = (method == 0) & where
        server_is_b[open_] = np.where(b_serves[open_], 1, -1)
        method[open_] = how

    # 1. its own handshake
    to_b = (seen.evidence & (t.SYN_A | t.SYN_ACK_B | t.ASK_A)) != 0
    to_a = (seen.evidence & (t.SYN_B | t.SYN_ACK_A | t.ASK_B)) != 0
    decide(to_a ^ to_b, to_b, Direction.HANDSHAKE)

    # 2. ends that served by handshake
    ported = np.isin(seen.protocol, PORTED)
    talked = _talked(seen)
    listening = _listening_ends(seen, services)
    shaken = (method == Direction.HANDSHAKE) & ported & talked
    listening[np.where(server_is_b == 1, b, a)[shaken]] = True
    decide(ported & (listening[a] ^ listening[b]), listening[b], Direction.LISTENER)

    # 3. fan-in
    _fan_in(seen, ported & talked, method, server_is_b)

    # 4. declared ports
    if declared:
        known = np.array(
            [(hi, lo, port >> 8, port & 0xFF) in declared for hi, lo, port, _ in seen.end_keys.tolist()], bool
        )
        peers = (method == 0) & known[a] & known[b] & (seen.a_port == seen.b_port)
        decide(ported & peers, peers, Direction.DECLARED)
        decide(ported & (known[a] ^ known[b]), known[b], Direction.DECLARED)

    # 5. well-known ports
    rank = port_rank()
    rank_a, rank_b = rank[seen.a_port], rank[seen.b_port]
    decide(ported & (rank_a != rank_b), rank_b > rank_a, Direction.WELL_KNOWN)
    columns = _columns(seen, server_is_b >= 0, method, np.arange(len(rows)))
    mutual = np.flatnonzero((peers & ported)[seen.group])
    if len(mutual):  # each serves the other: the same records the other way round as well
        other = _columns(seen, np.zeros(seen.groups, bool), method, mutual)
        columns = {name: np.concatenate([values, other[name]]) for name, values in columns.items()}
    return columns


def _talked(seen: Connections) -> Array:
    """Per group: something was said both ways, and more than a bare handshake or refusal."""
    out, out_bytes, back, back_bytes = seen.sums.T
    limit = np.uint64(PROBE_BYTES)
    probe = (out <= PROBE_PACKETS) & (back <= PROBE_PACKETS)
    probe &= (out_bytes <= out * limit) & (back_bytes <= back * limit)
    said: Array = (out > 0) & (back > 0) & ~(probe & (seen.protocol == 6))
    return said


def _listening_ends(seen: Connections, services: FlowTable) -> Array:
    """Per end: whether service rows show that it answered a handshake."""
    answered = (services["direction"] == Direction.HANDSHAKE) & (
        ((services["evidence"] & Evidence.SYN_ACK) != 0) | (services["reply_packets"] > 0)
    )
    answered &= services["verdict"] != 2
    listening = np.zeros(seen.ends, bool)
    if not answered.any():
        return listening
    low = services["port"].astype(np.uint64) << np.uint64(8) | services["protocol"].astype(np.uint64)
    keys = np.stack([services["server_hi"], services["server_lo"], low, services["network"].astype(np.uint64)], axis=1)[
        answered
    ]
    _, numbers = _unique_rows(np.concatenate([seen.end_keys, keys]))
    served = np.zeros(int(numbers.max()) + 1, bool)
    served[numbers[seen.ends :]] = True
    return served[numbers[: seen.ends]]


def _unique_rows(keys: Array) -> tuple[Array, Array]:
    """np.unique(axis=0, return_inverse=True), by one lexsort instead of a sort of structured rows."""
    order = np.lexsort(keys.T[::-1])
    ordered = keys[order]
    fresh = np.ones(len(keys), bool)
    fresh[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    numbers = np.empty(len(keys), np.int64)
    numbers[order] = np.cumsum(fresh) - 1
    return ordered[fresh], numbers


def _fan_in(seen: Connections, candidates: Array, method: Array, server_is_b: Array) -> None:
    """Settle open groups by how many distinct peers' ports met each end.

    The busiest ends are settled first and their connections taken out, so that a client's port that was used again
    towards several servers is not mistaken for a server itself.
    """
    open_ = np.flatnonzero((method == 0) & candidates)
    level: float = float("inf")
    while len(open_):
        a, b = seen.a[open_], seen.b[open_]
        fan = np.bincount(a, minlength=seen.ends) + np.bincount(b, minlength=seen.ends)
        if level == float("inf"):
            level = float(fan.max(initial=0))
        level = max(level, FAN_IN)
        fan_a, fan_b = fan[a], fan[b]
        # who serves must have been spoken to
        reached = seen.reached[open_]
        b_serves = (fan_b >= level) & (fan_b >= FAN_IN_RATIO * fan_a) & ((reached & k.REACHED_B) != 0)
        a_serves = (fan_a >= level) & (fan_a >= FAN_IN_RATIO * fan_b) & ((reached & k.REACHED_A) != 0)
        server_is_b[open_[b_serves]] = 1
        server_is_b[open_[a_serves]] = -1
        decided = b_serves | a_serves
        method[open_[decided]] = Direction.FAN_IN
        if level <= FAN_IN and not decided.any():
            return
        open_ = open_[~decided]
        level /= 4


def _columns(seen: Connections, forward: Array, method: Array, at: Array) -> dict[str, Array]:
    """The connection rows at `at` as FlowTable columns, rows of one service key folded, sorted by it.

    `forward` (b serves) and `method` are per group; unknown ones stay as they are, a before b.
    """
    out = np.empty((len(at), k.FOLDED_WORDS), np.uint64)
    count = k.fold_connections(
        seen.rows, at, forward[seen.group], method[seen.group],
        _index_for(len(at)), np.empty(k.AT_ONCE, np.uint64), np.empty((k.AT_ONCE, k.FOLDED_WORDS), np.uint64), out,
    )  # fmt: skip
    rows = out[:count]
    rows = rows[_order(rows)]
    service, place, times = rows[:, k.F_SERVICE], rows[:, k.F_PLACE], rows[:, k.F_TIMES]
    byte = np.uint64(0xFF)
    return {
        "network": (place >> t.U48).astype(np.int32),
        "client_hi": rows[:, k.F_CLIENT_HI].copy(),
        "client_lo": rows[:, k.F_CLIENT_LO].copy(),
        "server_hi": rows[:, k.F_SERVER_HI].copy(),
        "server_lo": rows[:, k.F_SERVER_LO].copy(),
        "port": (service >> t.U32).astype(np.uint16),
        "protocol": ((service >> t.U16) & byte).astype(np.uint8),
        "verdict": ((service >> t.U8) & byte).astype(np.uint8),
        "observer": (place & t.MASK48).astype(np.int32),
        "direction": (service & byte).astype(np.uint8),
        "evidence": rows[:, k.F_EVIDENCE].astype(np.uint8),
        "records": rows[:, k.F_RECORDS].copy(),
        "packets": rows[:, k.F_PACKETS].copy(),
        "bytes": rows[:, k.F_BYTES].copy(),
        "reply_packets": rows[:, k.F_REPLY_PACKETS].copy(),
        "reply_bytes": rows[:, k.F_REPLY_BYTES].copy(),
        "first": (times >> t.U32).astype(np.int64),
        "last": (times & t.MASK32).astype(np.int64),
    }


def _order(rows: Array) -> Array:
    """The order of folded rows by their keys, packed into as few words as their ranges need: mostly one."""
    client, server = _ranks(rows[:, k.F_CLIENT_HI : k.F_SERVER_LO + 1])
    service, byte = rows[:, k.F_SERVICE], np.uint64(0xFF)
    columns = [client, server, service >> t.U32, service >> t.U16 & byte, service >> t.U8 & byte, service & byte]
    words: list[Array] = []
    room = 0
    for values in (*columns, rows[:, k.F_PLACE], rows[:, k.F_EPOCHS]):
        low = values.min(initial=np.iinfo(np.uint64).max)
        width = int(values.max(initial=0) - low).bit_length() if len(rows) else 0
        if width == 0:
            continue
        if width > room:
            words.append(values - low)
            room = 64
        else:
            words[-1] = words[-1] << np.uint64(width) | (values - low)
        room -= width
    if not words:
        return np.arange(len(rows))
    return np.argsort(words[0]) if len(words) == 1 else np.lexsort(words[::-1])


def _ranks(ends: Array) -> tuple[Array, Array]:
    """Of two addresses a row (uint64[n, 4]: hi, lo, hi, lo): the rank of each among all of them, uint64[n] twice."""
    n = len(ends)
    both = np.zeros((2 * n, t.ADDRESS_WORDS), np.uint64)
    both[:n, :2], both[n:, :2] = ends[:, :2], ends[:, 2:]
    distinct, numbers = np.empty_like(both), np.empty(2 * n, np.uint64)
    distinct = distinct[: t.intern_addresses(both, _index_for(2 * n), distinct, 0, numbers)]
    ranks = np.empty(len(distinct), np.uint64)
    ranks[np.lexsort((distinct[:, 1], distinct[:, 0]))] = np.arange(len(distinct), dtype=np.uint64)
    found = ranks[numbers]
    return found[:n], found[n:]
