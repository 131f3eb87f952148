"""Flows in columns through compiled policies: arrays alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from analyzers.kernels.jit import kernel

DENIED, ALLOWED, ALWAYS, OTHER_PROTOCOL, UNKNOWN_ADDRESS = 0, 1, 2, 3, 4
"""What judge_flows says of a flow. The last two are for the caller to decide."""

ACCEPT, DENY, PASS = 0, 1, 2


@kernel
def unit_of(
    endpoint: Any, hi: Any, lo: Any, known_begin: Any, known_hi: Any, known_lo: Any, known_unit: Any,
    cell_hi: Any, cell_lo: Any, cell_unit: Any,
) -> Any:  # fmt: skip
    """The unit of an end: of an endpoint at one of its addresses, or of the cell that holds an outside address; -1: an
    address that the endpoint is not known by, or none."""
    if endpoint >= 0:
        for at in range(known_begin[endpoint], known_begin[endpoint + 1]):
            if known_hi[at] == hi and known_lo[at] == lo:
                return known_unit[at]
        return -1
    if hi == 0 and lo == 0:
        return -1
    low, high = 0, cell_hi.shape[0]
    while high - low > 1:
        middle = (low + high) >> 1
        if cell_hi[middle] < hi or (cell_hi[middle] == hi and cell_lo[middle] <= lo):
            low = middle
        else:
            high = middle
    return cell_unit[low]


@kernel
def judge_flows(
    first: Any, last: Any, source: Any, source_hi: Any, source_lo: Any, destination: Any, destination_hi: Any,
    destination_lo: Any, protocol: Any, port: Any, known_begin: Any, known_hi: Any, known_lo: Any, known_unit: Any,
    cell_hi: Any, cell_lo: Any, cell_unit: Any, selectable: Any, node: Any, lookup: Any, matrix: Any, rows: Any,
    said: Any, source_unit: Any, destination_unit: Any, port_cell: Any,
) -> Any:  # fmt: skip
    """Fill said, source_unit, destination_unit and port_cell for the flows first..last-1.

    source, destination: int32, into the endpoints, -1 outside. known_*: the addresses of endpoints, those of endpoint
    e from known_begin[e] on. cell_*: the cells of addresses, sorted. selectable, node: for each endpoint, whether
    policies can select it, and the number of its node (-1: none). lookup: int32[3 * 65536], see PortSpace.
    """
    for flow in range(first, last):
        one, other = source[flow], destination[flow]
        a = unit_of(
            one, source_hi[flow], source_lo[flow], known_begin, known_hi, known_lo, known_unit, cell_hi, cell_lo,
            cell_unit,
        )  # fmt: skip
        b = unit_of(
            other, destination_hi[flow], destination_lo[flow], known_begin, known_hi, known_lo, known_unit, cell_hi,
            cell_lo, cell_unit,
        )  # fmt: skip
        source_unit[flow] = a
        destination_unit[flow] = b
        if one >= 0 and other >= 0:
            if one == other and selectable[one]:
                said[flow] = ALWAYS
                continue
            if selectable[one] != selectable[other] and node[one] >= 0 and node[one] == node[other]:
                said[flow] = ALWAYS
                continue
        number = protocol[flow]
        index = 0 if number == 132 else 1 if number == 6 else 2 if number == 17 else -1
        if index < 0:
            said[flow] = OTHER_PROTOCOL
            port_cell[flow] = number
            continue
        if a < 0 or b < 0:
            said[flow] = UNKNOWN_ADDRESS
            continue
        cell = lookup[index * 65536 + np.int64(port[flow])]
        port_cell[flow] = cell
        bits = rows[matrix[a, b], cell >> 6]
        said[flow] = (bits >> np.uint64(cell & 63)) & np.uint64(1)
    return last


@kernel
def _tier_hit(
    begin: Any, end: Any, peer: Any, named: Any, cell: Any, entries: Any, covers: Any, spec_row: Any, port_rows: Any
) -> Any:
    """The entry that accepts the port cell in an ordered tier; -1: none matches; -2: it is passed on."""
    at = begin
    shift = np.uint64(cell & 63)
    word = cell >> 6
    while at < end:
        group = entries[at, 4]
        hit, passed = -1, False
        while at < end and entries[at, 4] == group:
            policy = entries[at, 3]
            decided = False
            while at < end and entries[at, 3] == policy:
                if not decided and covers[entries[at, 0], peer]:
                    row = spec_row[entries[at, 1], named]
                    if (port_rows[row, word] >> shift) & np.uint64(1):
                        decided = True
                        if entries[at, 2] == PASS:
                            passed = True
                        elif hit < 0:
                            hit = at
                at += 1
        if passed:
            return -2
        if hit >= 0:
            return hit
    return -1


@kernel
def count_hits(
    first: Any, last: Any, said: Any, by_peer: Any, subject_unit: Any, peer_unit: Any, port_cell: Any, records: Any,
    bounds: Any, isolated: Any, entries: Any, rule: Any, covers: Any, spec_row: Any, port_rows: Any, named: Any,
    flows_of_rule: Any, records_of_rule: Any, decided: Any,
) -> Any:  # fmt: skip
    """Add the allowed flows first..last-1 to the rules of one direction that allow them, and set decided[flow] to 1
    where there is one. by_peer: the peer is the destination, whose named ports count."""
    for flow in range(first, last):
        if said[flow] != ALLOWED:
            continue
        subject, peer, cell = subject_unit[flow], peer_unit[flow], port_cell[flow]
        begin, network = bounds[subject, 0], bounds[subject, 1]
        baseline, end = bounds[subject, 2], bounds[subject, 3]
        if begin == end:
            continue
        kind = named[peer] if by_peer else named[subject]
        hit = -1
        if begin < network:
            hit = _tier_hit(begin, network, peer, kind, cell, entries, covers, spec_row, port_rows)
        if hit < 0 and isolated[subject]:
            shift, word = np.uint64(cell & 63), cell >> 6
            for at in range(network, baseline):
                if covers[entries[at, 0], peer]:
                    row = spec_row[entries[at, 1], kind]
                    if (port_rows[row, word] >> shift) & np.uint64(1):
                        flows_of_rule[rule[at]] += 1
                        records_of_rule[rule[at]] += records[flow]
                        decided[flow] = 1
            continue
        if hit < 0:
            hit = _tier_hit(baseline, end, peer, kind, cell, entries, covers, spec_row, port_rows)
        if hit >= 0:
            flows_of_rule[rule[hit]] += 1
            records_of_rule[rule[hit]] += records[flow]
            decided[flow] = 1
    return last
