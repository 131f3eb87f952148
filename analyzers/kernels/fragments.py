"""IP fragments: the first one of a packet has the ports, the later ones get them from here.

A table of fixed size, where a newer packet takes the place of an older one. A later fragment whose first was not
seen, or too long ago, is told to the caller, who counts it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analyzers.kernels.jit import inlined
from analyzers.kernels.tables import MIX1, MIX3, mix

FRAGMENT_SLOTS = 1 << 12
FRAGMENT_SECONDS = 30
"""A receiver gives up on the rest of a packet after so long (Linux: ipfrag_time), and its number may come again."""

_OPEN_META = np.uint64(0xFFFF_FFFF_FFFF_FFFF)  # no packet's: its lowest 16 bits are zero


class Fragments(NamedTuple):
    """What the first fragments said. Rows of `seen`: key (source, destination, number | protocol), then what it was."""

    seen: NDArray[np.uint64]  # [FRAGMENT_SLOTS, 11]: s_hi s_lo d_hi d_lo id | src_hi src_lo dst_hi dst_lo meta time
    begun: NDArray[np.int64]  # [MAX_TUNNELS + 2]: how many first fragments the present packet is, and their slots

    @staticmethod
    def empty(levels: int) -> Fragments:
        """Nothing seen, for packets of at most `levels` IP headers inside one another."""
        return Fragments(np.zeros((FRAGMENT_SLOTS, 11), np.uint64), np.zeros(levels + 1, np.int64))


@inlined
def fragment_number(identification: Any, protocol: Any) -> Any:
    """What tells the packets between two addresses apart, as uint64; never 0, which is a row never used."""
    return np.uint64((identification << 16) | 0x100 | protocol)


@inlined
def _slot(packets: Any, row: Any, number: Any) -> Any:
    value = mix(packets.src_lo[row] * MIX1 ^ packets.dst_lo[row]) ^ mix(number * MIX3 ^ packets.src_hi[row])
    return np.int64(mix(value) & np.uint64(FRAGMENT_SLOTS - 1))


@inlined
def begin_fragments(fragments: Any, packets: Any, row: Any, number: Any) -> None:
    """The packet whose addresses are in `row` is a first fragment; `finish_fragments` tells what is in it.

    number: uint64, not 0: see `fragment_number`. `row` is read only.
    """
    slot = _slot(packets, row, number)
    entry = fragments.seen[slot]
    entry[0] = packets.src_hi[row]
    entry[1] = packets.src_lo[row]
    entry[2] = packets.dst_hi[row]
    entry[3] = packets.dst_lo[row]
    entry[4] = number
    entry[9] = _OPEN_META
    level = fragments.begun[0] + 1
    fragments.begun[0] = level
    fragments.begun[level] = slot


@inlined
def finish_fragments(fragments: Any, packets: Any, row: Any, time: Any) -> None:
    """Whatever was begun for this packet is what now stands in `row`."""
    for level in range(1, fragments.begun[0] + 1):
        entry = fragments.seen[fragments.begun[level]]
        entry[5] = packets.src_hi[row]
        entry[6] = packets.src_lo[row]
        entry[7] = packets.dst_hi[row]
        entry[8] = packets.dst_lo[row]
        entry[9] = packets.meta[row]
        entry[10] = np.uint64(time)
    fragments.begun[0] = 0


@inlined
def later_fragment(fragments: Any, packets: Any, row: Any, number: Any, time: Any) -> Any:
    """Give `row`, which has the fragment's addresses, what the first fragment was -> whether that is known."""
    entry = fragments.seen[_slot(packets, row, number)]
    if entry[4] != number or entry[0] != packets.src_hi[row] or entry[1] != packets.src_lo[row]:
        return False
    if entry[2] != packets.dst_hi[row] or entry[3] != packets.dst_lo[row] or entry[9] == _OPEN_META:
        return False
    seen = np.int64(entry[10])
    if time < seen or time - seen > FRAGMENT_SECONDS:
        return False
    packets.src_hi[row] = entry[5]
    packets.src_lo[row] = entry[6]
    packets.dst_hi[row] = entry[7]
    packets.dst_lo[row] = entry[8]
    packets.meta[row] = entry[9]
    return True
