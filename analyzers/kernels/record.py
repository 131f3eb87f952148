"""The parsed record, before it is known who serves, and the counters of a worker: positions in their arrays."""

from __future__ import annotations

import numpy as np

# Columns of parsed records (uint64[PARSED_WORDS, >= BLOCK_ROWS]): a row of the array for each, a column for each record
P_SRC_HI, P_SRC_LO, P_DST_HI, P_DST_LO, P_SPORT, P_DPORT, P_PROTOCOL, P_PACKETS, P_BYTES, P_FIRST, P_LAST = range(11)
P_VERDICT, P_FLAGS, P_INTERFACE, P_INTERFACE_END, P_NETWORK, P_NETWORK_END = range(11, 17)
P_PEER_NETWORK, P_PEER_NETWORK_END, P_LOST = range(17, 20)
PARSED_WORDS = 23
# P_PEER_NETWORK, the destination's network, and P_LOST, four counters of lost packets, are set only by formats that
# have them, those of transit gateways.
# P_INTERFACE and P_NETWORK are spans of the buffer while parsing, number + 1 of the interned name (0: none) after it.

# Columns of oriented records (uint64[ORIENTED_WORDS, >= BLOCK_ROWS]), made from the parsed ones
(
    O_OBSERVER,  # number of the interface
    O_NETWORK,  # number of the network
    O_META,  # word 1 of a service row (analyzers.kernels.tables)
    O_FORWARD,  # all bits where the source is the client, none where it serves
    O_CLIENT_SERVER,  # word 0 of a service row
    O_SLICE,  # begin of its time slice
    O_HASH,  # of its key
    O_STATE,  # R_ bits
    O_ORDER,  # numbers of the settled records, one behind the other
    O_OTHERS,  # and of those whose direction is open
    O_SLOT,  # of the settled records: the index slot of each
    ORIENTED_WORDS,
) = range(12)

R_SETTLED, R_OPEN, R_UNUSUAL = np.uint64(1), np.uint64(2), np.uint64(4)
"""It is known who serves; it is not; an address needs a number of its own (IPv6, or an owner that changes)."""

NO_FLAGS = np.uint64(0x8000)
"""In P_FLAGS: the record does not tell its TCP flags."""

# Positions in the `state` array (int64[S_COUNT])
(
    S_SERVICES,
    S_CONNECTIONS,
    S_ADDRESSES,
    S_OBSERVERS,
    S_NETWORKS,
    S_RECORDS,
    S_FIRST,
    S_LAST,
    S_FIXED_NETWORK,
    S_FIXED_OBSERVER,
    S_SPAN,
    S_OUTSIDE,
    S_WINDOWS,
    S_SLOT_SECONDS,
    S_LOST,
    S_COUNT,
) = range(16)
# S_LOST: records that may tell of packets lost by transit gateways
# S_OUTSIDE: records that end outside of the window (Facts.window)
# S_SPAN: seconds of a time slice, or analyzers.kernels.tables.ALL_TIME
