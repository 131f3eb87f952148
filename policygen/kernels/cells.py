"""Deciding all cells of a direction, joining two directions, and interning sets of ports: on arrays alone.

A set of ports is a row of uint64 words. Equal sets have one number: `rows[number]` is the set, `slots` an
open-addressed table of numbers + 1, a power of two long and never more than half full. Number 0 is the empty set.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from analyzers.kernels.jit import kernel

ACCEPT, DENY, PASS = 0, 1, 2
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
SHIFT = np.uint64(29)
ONE = np.uint64(1)
ZERO = np.uint64(0)


@kernel
def intern(bits: Any, rows: Any, slots: Any, used: Any) -> Any:
    """The number of the set `bits`, a new one if need be; -1 when `rows` is full. `used[0]` counts the rows."""
    words = bits.shape[0]
    value = ZERO
    for word in range(words):
        value = (value ^ bits[word]) * MULTIPLIER
        value ^= value >> SHIFT
    mask = np.uint64(slots.shape[0] - 1)
    place = value & mask
    while True:
        number = slots[place] - 1
        if number < 0:
            if used[0] >= rows.shape[0] or 2 * used[0] >= slots.shape[0]:
                return -1
            number = used[0]
            used[0] += 1
            for word in range(words):
                rows[number, word] = bits[word]
            slots[place] = number + 1
            return number
        same = True
        for word in range(words):
            if rows[number, word] != bits[word]:
                same = False
                break
        if same:
            return number
        place = (place + ONE) & mask


@kernel
def _apply_tier(
    begin: Any, end: Any, peer: Any, named: Any, entries: Any, covers: Any, spec_row: Any, port_rows: Any,
    left: Any, accepted: Any, work: Any,
) -> Any:  # fmt: skip
    """Ordered rules on the ports in `left`: accepted ones join `accepted`; `left` keeps those that no rule decided or
    that were passed on. Policies of one priority decide side by side; deny wins over pass, pass over accept.

    work: uint64[5, words]. entries: int32[n, 5] of (covering set, port entry, action, policy, priority group).
    """
    words = left.shape[0]
    undecided, mine, deny, passed, accept = work[0], work[1], work[2], work[3], work[4]
    for word in range(words):
        undecided[word] = left[word]
    at = begin
    while at < end:
        group = entries[at, 4]
        for word in range(words):
            deny[word] = ZERO
            passed[word] = ZERO
            accept[word] = ZERO
        while at < end and entries[at, 4] == group:
            policy = entries[at, 3]
            for word in range(words):
                mine[word] = undecided[word]
            while at < end and entries[at, 3] == policy:
                if covers[entries[at, 0], peer]:
                    row = spec_row[entries[at, 1], named]
                    action = entries[at, 2]
                    for word in range(words):
                        hit = mine[word] & port_rows[row, word]
                        mine[word] &= ~hit
                        if action == ACCEPT:
                            accept[word] |= hit
                        elif action == DENY:
                            deny[word] |= hit
                        else:
                            passed[word] |= hit
                at += 1
        for word in range(words):
            passed[word] &= ~deny[word]
            accepted[word] |= accept[word] & ~deny[word] & ~passed[word]
            decided = deny[word] | passed[word] | accept[word]
            undecided[word] &= ~decided
            left[word] &= ~(decided & ~passed[word])
    return 0


@kernel
def _decide(
    subject: Any, peer: Any, named: Any, bounds: Any, isolated: Any, entries: Any, covers: Any, spec_row: Any,
    port_rows: Any, full: Any, bits: Any, left: Any, work: Any,
) -> Any:  # fmt: skip
    """The ports that `subject` and `peer` may use, into `bits`: Admin tier, then NetworkPolicies or Baseline tier."""
    words = full.shape[0]
    for word in range(words):
        bits[word] = ZERO
        left[word] = full[word]
    admin, network, baseline, end = bounds[subject, 0], bounds[subject, 1], bounds[subject, 2], bounds[subject, 3]
    _apply_tier(admin, network, peer, named, entries, covers, spec_row, port_rows, left, bits, work)
    if isolated[subject]:
        for at in range(network, baseline):
            if covers[entries[at, 0], peer]:
                row = spec_row[entries[at, 1], named]
                for word in range(words):
                    bits[word] |= port_rows[row, word] & left[word]
    else:
        _apply_tier(baseline, end, peer, named, entries, covers, spec_row, port_rows, left, bits, work)
        for word in range(words):
            bits[word] |= left[word]
    return 0


@kernel
def direction_cells(
    first: Any, by_peer: Any, bounds: Any, isolated: Any, entries: Any, covers: Any, spec_row: Any, port_rows: Any,
    named: Any, full: Any, full_number: Any, rows: Any, slots: Any, used: Any, masks: Any, memo_keys: Any,
    memo_values: Any, bits: Any, left: Any, work: Any, out: Any,
) -> Any:  # fmt: skip
    """out[subject, peer] from row `first` on: the number of the set of ports. Returns the first row that is not done:
    less than all when `rows` is full, and then the caller makes room and calls again.

    bounds: int64[subjects, 4], where each subject's Admin, NetworkPolicy and Baseline entries begin, and the end.
    covers: uint8[covering sets, peers]. spec_row: int32[port entries, kinds of named ports] into port_rows.
    named: int32[units], each unit's kind; the peer's counts when `by_peer`, else the subject's: the destination's.
    masks: uint64[peers]; memo_keys, memo_values: 256 each, scratch.
    """
    subjects, peers = out.shape
    slot: Any = 0
    for subject in range(first, subjects):
        begin, end = bounds[subject, 0], bounds[subject, 3]
        if begin == end and not isolated[subject]:
            for peer in range(peers):
                out[subject, peer] = full_number
            continue
        short = end - begin <= 56
        own = named[subject]
        if short:
            for peer in range(peers):
                masks[peer] = np.uint64(named[peer] & 255) << np.uint64(56) if by_peer else ZERO
            for at in range(begin, end):
                cover = entries[at, 0]
                shift = np.uint64(at - begin)
                for peer in range(peers):
                    masks[peer] |= np.uint64(covers[cover, peer]) << shift
            for slot in range(256):
                memo_values[slot] = -1
        for peer in range(peers):
            kind = named[peer] if by_peer else own
            if short and kind < 256:
                slot = np.int64((masks[peer] * MULTIPLIER) >> np.uint64(56))
                if memo_values[slot] >= 0 and memo_keys[slot] == masks[peer]:
                    out[subject, peer] = memo_values[slot]
                    continue
            _decide(subject, peer, kind, bounds, isolated, entries, covers, spec_row, port_rows, full, bits, left, work)
            number = intern(bits, rows, slots, used)
            if number < 0:
                return subject
            out[subject, peer] = number
            if short and kind < 256:
                memo_keys[slot] = masks[peer]
                memo_values[slot] = number
    return subjects


@kernel
def join_cells(
    first: Any, egress: Any, ingress: Any, rows: Any, slots: Any, used: Any, memo_keys: Any, memo_values: Any,
    bits: Any, out: Any,
) -> Any:  # fmt: skip
    """out[s, d]: the number of egress[s, d] and ingress[s, d] together. Both and the result number sets of `rows`.

    memo_keys: int64[power of two], memo_values: int32, -1 where empty. Returns the first row that is not done, like
    direction_cells.
    """
    sources, destinations = out.shape
    words = bits.shape[0]
    mask = np.uint64(memo_keys.shape[0] - 1)
    for source in range(first, sources):
        for destination in range(destinations):
            one, other = egress[source, destination], ingress[source, destination]
            if one == other:
                out[source, destination] = one
                continue
            if one == 0 or other == 0:
                out[source, destination] = 0
                continue
            key = np.int64(one) << np.int64(32) | np.int64(other)
            slot = (np.uint64(key) * MULTIPLIER >> np.uint64(32)) & mask
            if memo_values[slot] >= 0 and memo_keys[slot] == key:
                out[source, destination] = memo_values[slot]
                continue
            for word in range(words):
                bits[word] = rows[one, word] & rows[other, word]
            number = intern(bits, rows, slots, used)
            if number < 0:
                return source
            memo_keys[slot] = key
            memo_values[slot] = number
            out[source, destination] = number
    return sources


@kernel
def reindex(rows: Any, used: Any, slots: Any) -> Any:
    """Fill the empty table `slots` with the first `used` rows."""
    words = rows.shape[1]
    mask = np.uint64(slots.shape[0] - 1)
    for number in range(used):
        value = ZERO
        for word in range(words):
            value = (value ^ rows[number, word]) * MULTIPLIER
            value ^= value >> SHIFT
        place = value & mask
        while slots[place]:
            place = (place + ONE) & mask
        slots[place] = number + 1
    return 0
