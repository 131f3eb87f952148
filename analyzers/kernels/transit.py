"""Records of transit gateways: the two ends are in two networks, and packets may be lost on the way.

A pair of networks is a network of its own, named by both names with PAIR_BYTE between them: first the one of the
numerically lower address. So both directions of a connection have the same pair, whichever end serves, and each end's
network can be told from the pair and the two addresses. Equal addresses at both ends, which no transit gateway routes,
are told apart by the direction of the record alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from analyzers.kernels.jit import kernel
from analyzers.kernels.record import (
    P_DST_HI,
    P_DST_LO,
    P_INTERFACE,
    P_LOST,
    P_NETWORK,
    P_PEER_NETWORK,
    P_SRC_HI,
    P_SRC_LO,
    S_FIXED_OBSERVER,
    S_LOST,
)
from analyzers.kernels.tables import MASK32, U0, U1, U32

PAIR_BYTE = 31
"""ASCII's unit separator: no name that a person gives has it, and no field of a log should."""

PAIR_START = 64
"""Where the first pair's name begins in its text: interning reads up to 24 bytes before it."""


@kernel
def pair_names(parsed: Any, kept: Any, count: Any, names: Any, arena: Any, text: Any, begins: Any, ends: Any) -> None:
    """Write the names of all pairs of different networks into `text`; begins[i] == ends[i] where record i has none.

    parsed[P_NETWORK] and parsed[P_PEER_NETWORK] are numbers + 1 of the networks, 0: not told. The caller guarantees
    room in `text` (uint8) for PAIR_START bytes and, for each record, both names and one byte.
    """
    at = PAIR_START
    for i in range(count):
        begins[i] = np.uint64(at)
        one = parsed[P_NETWORK, i]
        other = parsed[P_PEER_NETWORK, i]
        if kept[i] == 1 and one != other:
            if swapped(parsed, i):
                one, other = other, one
            at = write_name(one, names, arena, text, at)
            text[at] = PAIR_BYTE
            at = write_name(other, names, arena, text, at + 1)
        ends[i] = np.uint64(at)


@kernel
def swapped(parsed: Any, i: Any) -> Any:
    """Whether the destination's address is the lower one."""
    if parsed[P_DST_HI, i] != parsed[P_SRC_HI, i]:
        return parsed[P_DST_HI, i] < parsed[P_SRC_HI, i]
    return parsed[P_DST_LO, i] < parsed[P_SRC_LO, i]


@kernel
def write_name(number: Any, names: Any, arena: Any, text: Any, at: Any) -> Any:
    """Copy an interned name (number + 1, 0: nothing) to text[at:]; returns the position behind it."""
    if number == U0:
        return at
    start = np.int64(names[number - U1, 3] & MASK32)
    length = np.int64(names[number - U1, 3] >> U32)
    for byte in range(length):
        text[at + byte] = arena[start + byte]
    return at + length


@kernel
def use_pairs(parsed: Any, kept: Any, count: Any, pairs: Any, sides: Any) -> None:
    """Put the interned pairs (number + 1, 0: none) into parsed[P_NETWORK], and what they consist of into `sides`."""
    for i in range(count):
        if pairs[i] == U0 or kept[i] != 1:
            continue
        one = parsed[P_NETWORK, i]
        other = parsed[P_PEER_NETWORK, i]
        if swapped(parsed, i):
            one, other = other, one
        sides[pairs[i] - U1] = (one << U32) | other
        parsed[P_NETWORK, i] = pairs[i]


@kernel
def count_lost(parsed: Any, kept: Any, count: Any, state: Any, lost: Any) -> None:
    """Add the records' lost packets to lost[observer] (uint64[observers, 4])."""
    state[S_LOST] += count
    for i in range(count):
        if kept[i] != 1:
            continue
        observer = parsed[P_INTERFACE, i] - U1 if parsed[P_INTERFACE, i] != U0 else np.uint64(state[S_FIXED_OBSERVER])
        for reason in range(4):
            lost[observer, reason] += parsed[P_LOST + reason, i]
