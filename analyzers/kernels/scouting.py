"""Running ahead of the walk: the cache lines of records' headers are fetched before the walk comes to them.

A file of records is a chain in which each header tells where the next one is: one cache miss after the other. Scouts
start in several places ahead at once, at what looks like a record there, and follow their parts of the chain side by
side, so that their misses overlap. Nothing depends on what they find: a scout that was wrong fetched the wrong lines.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from analyzers.kernels.capture_state import (
    MAX_CAPTURED,
    S_BIG_ENDIAN,
    S_CHAINS,
    S_NEXT,
    S_PART,
    S_POSITION,
    S_RUNNING,
    S_SCOUTED,
    SCOUTS,
)
from analyzers.kernels.jit import inlined, kernel, prefetch
from analyzers.kernels.links import le32

REGION = 1 << 20
"""Bytes that are scouted at a time; what is fetched of them stays in the second-level cache until it is walked."""

_SEARCHED = 4096
_CACHE_LINE = 64
_HEADERS = 84  # bytes of a record to the TCP flags behind IPv6
_HOURS = 7200  # seconds that records of one region may lie apart to be taken for records


@inlined
def _pcap_record(buf: Any, at: Any, time: Any) -> Any:
    """Whether there seems to be a record of pcap: a time near `time`, and lengths that can be."""
    if abs(le32(buf, at) - time) > _HOURS:
        return False
    captured = le32(buf, at + 8)
    return captured <= le32(buf, at + 12) and captured <= MAX_CAPTURED


@inlined
def _packet_block(buf: Any, at: Any, limit: Any) -> Any:
    """Whether there seems to be an enhanced packet block: its type, and a length that it repeats."""
    if le32(buf, at) != 6:
        return False
    total = le32(buf, at + 4)
    return 32 <= total <= MAX_CAPTURED and at + total <= limit and le32(buf, at + total - 4) == total


@inlined
def _start(buf: Any, at: Any, limit: Any, pcapng: Any, time: Any) -> Any:
    """The first likely record from `at` on, or -1."""
    step = 4 if pcapng else 1
    for candidate in range(at, min(at + _SEARCHED, limit - 64), step):
        if pcapng:
            if _packet_block(buf, candidate, limit):
                return candidate
        elif _pcap_record(buf, candidate, time):
            following = candidate + 16 + le32(buf, candidate + 8)
            if following + 16 <= limit and _pcap_record(buf, following, time):
                return candidate
    return np.int64(-1)


@kernel
def send_scouts(buf: Any, pcapng: Any, state: Any) -> None:
    """Begin the next REGION of the window when the walk has come to the one before; `scout` goes on with it.

    Where the walk has caught up, the region's headers are fetched at once.
    """
    position = state[S_POSITION]
    base = max(position, state[S_SCOUTED])
    if position < state[S_NEXT] or base + REGION + 64 > len(buf) or state[S_BIG_ENDIAN] != 0:
        return
    while scout(buf, pcapng, state):
        pass
    part = (REGION // SCOUTS) & ~3
    time = le32(buf, position)
    chains = np.int64(0)
    while chains < SCOUTS:
        begin = base + chains * part
        at = begin if begin == position else _start(buf, begin + (-(begin - position) & 3), len(buf), pcapng, time)
        if at < 0:
            break
        state[S_CHAINS + chains] = at
        chains += 1
    state[S_NEXT] = base
    state[S_PART] = part
    state[S_RUNNING] = chains
    state[S_SCOUTED] = base + chains * part
    if base == position:
        while scout(buf, pcapng, state):
            pass


@inlined
def scout(buf: Any, pcapng: Any, state: Any) -> Any:
    """Every scout one record further; what is there was fetched the time before -> whether any is still on its way."""
    chains = state[S_RUNNING]
    if chains == 0:
        return False
    length_at, header = (4, 0) if pcapng else (8, 16)
    last = np.int64(len(buf) - 1)
    limit = state[S_SCOUTED] - chains * state[S_PART]
    running: Any = False
    for chain in range(chains):
        limit += state[S_PART]
        at = state[S_CHAINS + chain]
        if at + 64 <= min(limit, len(buf)):
            running = True
            at += max(le32(buf, at + length_at) + header, 12)
            prefetch(buf, min(at, last))
            prefetch(buf, min(at + _CACHE_LINE, last))
            prefetch(buf, min(at + _HEADERS, last))
            state[S_CHAINS + chain] = at
    if not running:
        state[S_RUNNING] = 0
    return running
