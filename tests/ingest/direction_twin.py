"""The slow twin of analyzers.ingest.direction: the same steps in plain numpy, sorting instead of hashing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzers.flows import Direction, Evidence, FlowTable
from analyzers.ingest.direction import FAN_IN, FAN_IN_RATIO, PORTED, PROBE_BYTES, PROBE_PACKETS
from analyzers.kernels import tables as t
from analyzers.ports import port_rank

Array = NDArray[Any]


@dataclass
class Connections:
    """Connection rows taken apart; `group` numbers the 5-tuple, whoever saw it, whatever the verdict."""

    rows: Array
    a_port: Array
    b_port: Array
    protocol: Array
    network: Array
    group: Array
    groups: int
    a: Array  # number of the end (network, address, port, protocol), per row
    b: Array
    ends: int
    end_keys: Array  # uint64[ends, 4]: hi, lo, port << 8 | protocol, network


def take_apart(rows: Array) -> Connections:
    """Number the connections and their ends."""
    a_port = (rows[:, 4] >> t.U48).astype(np.uint16)
    b_port = ((rows[:, 4] >> t.U32) & t.MASK16).astype(np.uint16)
    protocol = ((rows[:, 4] >> t.U24) & np.uint64(0xFF)).astype(np.uint8)
    network = rows[:, 5] >> t.U48
    low = protocol.astype(np.uint64)
    a_keys = np.stack([rows[:, 0], rows[:, 1], (a_port.astype(np.uint64) << np.uint64(8)) | low, network], axis=1)
    b_keys = np.stack([rows[:, 2], rows[:, 3], (b_port.astype(np.uint64) << np.uint64(8)) | low, network], axis=1)
    end_keys, numbers = _unique_rows(np.concatenate([a_keys, b_keys]))
    a, b = numbers[: len(rows)], numbers[len(rows) :]
    pairs, group = np.unique(a.astype(np.uint64) << t.U32 | b.astype(np.uint64), return_inverse=True)
    return Connections(
        rows, a_port, b_port, protocol, network, group.reshape(-1), len(pairs), a, b, len(end_keys), end_keys
    )


def _unique_rows(keys: Array) -> tuple[Array, Array]:
    """np.unique(axis=0, return_inverse=True), by one lexsort instead of a sort of structured rows."""
    order = np.lexsort(keys.T[::-1])
    ordered = keys[order]
    fresh = np.ones(len(keys), bool)
    fresh[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    numbers = np.empty(len(keys), np.int64)
    numbers[order] = np.cumsum(fresh) - 1
    return ordered[fresh], numbers


def settle_connections(
    rows: Array, services: FlowTable, declared: frozenset[tuple[int, int, int, int]]
) -> dict[str, Array]:
    """FlowTable columns of connection rows; see the module for how each finds its direction."""
    seen = take_apart(rows)
    first_row = np.zeros(seen.groups, np.intp)
    first_row[seen.group] = np.arange(len(rows))
    a, b = seen.a[first_row], seen.b[first_row]
    protocol = seen.protocol[first_row]
    server_is_b = np.zeros(seen.groups, np.int8)  # 1: b serves, -1: a serves, 0: open
    method = np.zeros(seen.groups, np.uint8)
    peers = np.zeros(seen.groups, bool)

    def decide(where: Array, b_serves: Array, how: Direction) -> None:
        open_ = (method == 0) & where
        server_is_b[open_] = np.where(b_serves[open_], 1, -1)
        method[open_] = how

    # 1. its own handshake
    evidence = np.zeros(seen.groups, np.uint64)
    np.bitwise_or.at(evidence, seen.group, rows[:, 7] >> t.U48)
    to_b = (evidence & (t.SYN_A | t.SYN_ACK_B | t.ASK_A)) != 0
    to_a = (evidence & (t.SYN_B | t.SYN_ACK_A | t.ASK_B)) != 0
    decide(to_a ^ to_b, to_b, Direction.HANDSHAKE)

    # 2. ends that served by handshake
    ported = np.isin(protocol, PORTED)
    talked = _talked(seen)
    listening = _listening_ends(seen, services)
    shaken = (method == Direction.HANDSHAKE) & ported & talked
    listening[np.where(server_is_b == 1, b, a)[shaken]] = True
    decide(ported & (listening[a] ^ listening[b]), listening[b], Direction.LISTENER)

    # 3. fan-in
    _fan_in(seen, a, b, ported, talked, method, server_is_b)

    # 4. declared ports
    if declared:
        known = np.array(
            [(int(k[0]), int(k[1]), int(k[2]) >> 8, int(k[2]) & 0xFF) in declared for k in seen.end_keys], bool
        )
        peers = (method == 0) & known[a] & known[b] & (seen.a_port[first_row] == seen.b_port[first_row])
        decide(ported & peers, peers, Direction.DECLARED)
        decide(ported & (known[a] ^ known[b]), known[b], Direction.DECLARED)

    # 5. well-known ports
    rank = port_rank()
    rank_a, rank_b = rank[seen.a_port[first_row]], rank[seen.b_port[first_row]]
    decide(ported & (rank_a != rank_b), rank_b > rank_a, Direction.WELL_KNOWN)
    columns = _columns(seen, server_is_b[seen.group] >= 0, method[seen.group], np.arange(len(rows)))
    mutual = np.flatnonzero((peers & ported)[seen.group])
    if len(mutual):  # each serves the other: the same records the other way round as well
        other = _columns(seen, np.zeros(len(rows), bool), method[seen.group], mutual)
        columns = {name: np.concatenate([values, other[name]]) for name, values in columns.items()}
    return columns


def _talked(seen: Connections) -> Array:
    """Per group: something was said both ways, and more than a bare handshake or refusal."""
    rows = seen.rows
    sums = np.zeros((seen.groups, 4), np.uint64)
    accepted = ((rows[:, 4] >> t.U22) & np.uint64(3)) != 2
    for i in range(4):
        np.add.at(sums[:, i], seen.group[accepted], rows[accepted, 8 + i])
    out, out_bytes, back, back_bytes = sums.T
    limit = np.uint64(PROBE_BYTES)
    probe = (out <= PROBE_PACKETS) & (back <= PROBE_PACKETS)
    probe &= (out_bytes <= out * limit) & (back_bytes <= back * limit)
    tcp = np.zeros(seen.groups, bool)
    tcp[seen.group] = seen.protocol == 6
    return (out > 0) & (back > 0) & ~(probe & tcp)


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


def _fan_in(
    seen: Connections, a: Array, b: Array, ported: Array, talked: Array, method: Array, server_is_b: Array
) -> None:
    """Settle open groups by how many distinct peers' ports met each end.

    The busiest ends are settled first and their connections taken out, so that a client's port that was used again
    towards several servers is not mistaken for a server itself.
    """
    reached_a, reached_b = _reached(seen)
    level: float = float("inf")
    while True:
        open_ = (method == 0) & ported & talked
        fan = np.bincount(a[open_], minlength=seen.ends) + np.bincount(b[open_], minlength=seen.ends)
        if level == float("inf"):
            level = float(fan.max(initial=0))
        level = max(level, FAN_IN)
        fan_a, fan_b = fan[a], fan[b]
        # who serves must have been spoken to
        b_serves = open_ & (fan_b >= level) & (fan_b >= FAN_IN_RATIO * fan_a) & reached_b
        a_serves = open_ & (fan_a >= level) & (fan_a >= FAN_IN_RATIO * fan_b) & reached_a
        server_is_b[b_serves] = 1
        server_is_b[a_serves] = -1
        decided = b_serves | a_serves
        method[decided] = Direction.FAN_IN
        if level <= FAN_IN and not decided.any():
            return
        level /= 4


def _reached(seen: Connections) -> tuple[Array, Array]:
    """Per group: whether packets went to a, and to b."""
    to_b = np.zeros(seen.groups, bool)
    to_a = np.zeros(seen.groups, bool)
    to_b[seen.group[seen.rows[:, 8] > 0]] = True
    to_a[seen.group[seen.rows[:, 10] > 0]] = True
    return to_a, to_b


def _columns(seen: Connections, forward: Array, method: Array, at: Array) -> dict[str, Array]:
    """The connection rows at `at` as FlowTable columns, rows of one service key folded.

    `forward` (b serves) and `method` are per row of `seen`; unknown ones stay as they are, a before b.
    """
    rows, forward, method = seen.rows[at], forward[at], method[at]
    protocol = seen.protocol[at]
    unknown = method == Direction.UNKNOWN
    bits = rows[:, 7] >> t.U48
    evidence = np.zeros(len(rows), np.uint64)
    for forward_bit, backward_bit, meaning in (
        (t.SYN_A, t.SYN_B, Evidence.SYN),
        (t.SYN_ACK_B, t.SYN_ACK_A, Evidence.SYN_ACK),
        (t.FIN_A, t.FIN_B, Evidence.CLIENT_FIN),
    ):
        evidence[np.where(forward, (bits & forward_bit) != 0, (bits & backward_bit) != 0)] |= np.uint64(meaning)
    ported = np.isin(protocol, PORTED)
    port = np.where(forward, seen.b_port[at], seen.a_port[at])
    port[unknown | ~ported] = 0

    def pick(ahead: int, back: int) -> Array:
        return np.where(forward, rows[:, ahead], rows[:, back])

    columns: dict[str, Array] = {
        "network": seen.network[at].astype(np.int32),
        "client_hi": pick(0, 2),
        "client_lo": pick(1, 3),
        "server_hi": pick(2, 0),
        "server_lo": pick(3, 1),
        "port": port.astype(np.uint16),
        "protocol": protocol,
        "verdict": ((rows[:, 4] >> t.U22) & np.uint64(3)).astype(np.uint8),
        "observer": (rows[:, 5] & t.MASK48).astype(np.int32),
        "direction": method,
        "evidence": evidence.astype(np.uint8),
        "records": rows[:, 7] & t.MASK48,
        "packets": pick(8, 10),
        "bytes": pick(9, 11),
        "reply_packets": pick(10, 8),
        "reply_bytes": pick(11, 9),
        "first": (rows[:, 12] >> t.U32).astype(np.int64),
        "last": (rows[:, 12] & t.MASK32).astype(np.int64),
    }
    return _fold(columns, rows[:, 6])


SUMS = ("records", "packets", "bytes", "reply_packets", "reply_bytes")


def _fold(columns: dict[str, Array], epochs: Array) -> dict[str, Array]:
    """One row for each key, observer, way of deciding and stretch of ownership."""
    keys = np.stack(
        [
            columns["client_hi"], columns["client_lo"], columns["server_hi"], columns["server_lo"],
            columns["port"].astype(np.uint64) << np.uint64(32)
            | columns["protocol"].astype(np.uint64) << np.uint64(16)
            | columns["verdict"].astype(np.uint64) << np.uint64(8)
            | columns["direction"].astype(np.uint64),
            columns["network"].astype(np.uint64) << t.U48 | columns["observer"].astype(np.uint64),
            epochs,
        ],
        axis=1,
    )  # fmt: skip
    unique, number = _unique_rows(keys)
    count = len(unique)
    place = np.zeros(count, np.intp)
    place[number] = np.arange(len(number))
    folded = {name: values[place] for name, values in columns.items()}
    for name in SUMS:
        total = np.zeros(count, np.uint64)
        np.add.at(total, number, columns[name])
        folded[name] = total
    bits = np.zeros(count, np.uint8)
    np.bitwise_or.at(bits, number, columns["evidence"])
    folded["evidence"] = bits
    first = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(first, number, columns["first"])
    last = np.full(count, -1)
    np.maximum.at(last, number, columns["last"])
    folded["first"], folded["last"] = first, last
    return folded
