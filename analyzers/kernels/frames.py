"""One captured frame to one row of a packet batch: link header, IP, transport ports; nothing beyond the captured bytes.

Each layer is a small function `(buf, at, end, ...) -> status, where the next layer starts, what it is`, so that a
tunnel header is one more layer between two of them. Every read is preceded by a comparison with `end`; every loop has
a bound. Sources: RFC 791, 8200, 4302, 9293, 768, 9260, 792, 4443.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analyzers.kernels.capture_state import note
from analyzers.kernels.frame_status import EXTENSION_DEPTH, FRAGMENT, MALFORMED, MAPPED_ADDRESS, OK, TRUNCATED
from analyzers.kernels.jit import inlined, kernel
from analyzers.kernels.links import ANY_IP, be16, be32, be64, link_layer


class PacketBatch(NamedTuple):
    """Columns of a batch of packets, all uint64 of one length; kernels take it as it is (hence a named tuple).

    A column is valid up to the number that `CaptureReader.next_batch` returned.
    """

    src_hi: NDArray[np.uint64]  # upper half of the 128-bit address; 0 for IPv4
    src_lo: NDArray[np.uint64]  # lower half; IPv4 is mapped: 0xFFFF00000000 | address
    dst_hi: NDArray[np.uint64]
    dst_lo: NDArray[np.uint64]
    meta: NDArray[np.uint64]  # source port << 48 | destination port << 32 | IANA protocol << 24 | flags << 16
    size: NDArray[np.uint64]  # bytes: the IP total length, header included
    time: NDArray[np.uint64]  # whole seconds UTC

    @staticmethod
    def allocate(capacity: int) -> PacketBatch:
        """A batch for at most `capacity` packets. Raises ValueError when it is not positive."""
        if capacity < 1:
            raise ValueError(f"a packet batch holds at least one packet, not {capacity}")
        return PacketBatch(*(np.zeros(capacity, np.uint64) for _ in range(7)))


ASK = 1
"""ICMP flag bit: an echo request or another query."""
ANSWER = 2
"""ICMP flag bit: an echo reply or the answer to another query."""
ERROR = 4
"""ICMP flag bit: an error message or a redirect, about somebody else's packet."""
SCTP_INIT = 1
SCTP_INIT_ACK = 2


def _icmp_flags(ask: tuple[int, ...], answer: tuple[int, ...], error: Iterable[int]) -> NDArray[np.uint8]:
    flags = np.zeros(256, np.uint8)
    flags[list(ask)] = ASK
    flags[list(answer)] = ANSWER
    flags[list(error)] = ERROR
    return flags


# By message type. ICMP: echo, router solicitation, time stamp, information, mask, extended echo (RFC 792, 950, 1256,
# 8335); a redirect counts as an error message, as in RFC 1122.
_ICMP = _icmp_flags((8, 10, 13, 15, 17, 42), (0, 9, 14, 16, 18, 43), (3, 4, 5, 11, 12))
# ICMPv6: errors are below 128 (RFC 4443), and 137 is a redirect; echo, listener query and report, router and neighbour
# solicitation, node information, inverse discovery, home agent, mobile prefix, extended echo (IANA's registry).
_ICMPV6 = _icmp_flags(
    (128, 130, 133, 135, 139, 141, 144, 146, 160),
    (129, 131, 134, 136, 140, 142, 143, 145, 147, 161),
    (*range(128), 137),
)

MAX_EXTENSIONS = 16
ICMP, TCP, UDP, ICMPV6, NO_NEXT_HEADER, SCTP = 1, 6, 17, 58, 59, 132
_MAPPED = np.uint64(0xFFFF_0000_0000)


@inlined
def transport_layer(buf: Any, at: Any, end: Any, stated_end: Any, protocol: Any) -> Any:
    """-> status, ports and flags as in PacketBatch.meta.

    `end` is where the captured bytes of this packet end, `stated_end` where the IP length says that it ends.
    Ports need their four bytes; flags are 0 when the capture was cut before them.
    """
    flags = np.uint64(0)
    if protocol not in (TCP, UDP, SCTP):
        if protocol == ICMP and at < end:
            flags = np.uint64(_ICMP[buf[at]])
        if protocol == ICMPV6 and at < end:
            flags = np.uint64(_ICMPV6[buf[at]])
        return OK, flags << np.uint64(16)
    if at + 4 > end:
        return MALFORMED if at + 4 > stated_end else TRUNCATED, np.uint64(0)
    if protocol == TCP and at + 14 <= end:
        flags = np.uint64(buf[at + 13])
    if protocol == SCTP and at + 13 <= end and 1 <= buf[at + 12] <= 2:
        flags = np.uint64(buf[at + 12])  # SCTP_INIT, SCTP_INIT_ACK are the types of these chunks
    return OK, (np.uint64(be32(buf, at)) << np.uint64(32)) | (flags << np.uint64(16))


@inlined
def _ipv6_extensions(buf: Any, at: Any, end: Any, stated_end: Any, following: Any) -> Any:
    """Walk IPv6 extension headers. -> status, start of what they carry, its protocol."""
    for _ in range(MAX_EXTENSIONS + 1):  # once more than headers, to see what the last one carries
        rare = following in (135, 139, 140)  # mobility, HIP, shim6
        if not rare and following not in (0, 43, 44, 51, 60):  # hop by hop, routing, fragment, AH, destination
            return OK, at, following
        if at + 8 > stated_end:
            return MALFORMED, at, following
        if at + 8 > end:
            return TRUNCATED, at, following
        if following == 44:
            if be16(buf, at + 2) & 0xFFF8:
                return FRAGMENT, at, following
            length = np.int64(8)
        elif following == 51:
            length = (np.int64(buf[at + 1]) + 2) * 4
        else:
            length = (np.int64(buf[at + 1]) + 1) * 8
        if rare and buf[at] == NO_NEXT_HEADER:  # nothing behind it: it is the message itself
            return OK, at, following
        following = np.int64(buf[at])
        at += length
        if at > stated_end:
            return MALFORMED, at, following
    return EXTENSION_DEPTH, at, following


@inlined
def _ipv4_header(buf: Any, at: Any, end: Any, room: Any, packets: Any, row: Any) -> Any:
    """Read IPv4 at `at`; addresses go into the row. -> status, start of the payload, its protocol, IP length."""
    if at + 20 > end:
        return TRUNCATED, at, 0, 0
    header = np.int64(buf[at] & 15) * 4
    size = be16(buf, at + 2)
    if size == 0:  # segmentation offload: the length was still to be filled in, the wire length knows better
        size = room
    if buf[at] >> 4 != 4 or header < 20 or size < header:
        return MALFORMED, at, 0, 0
    if be16(buf, at + 6) & 0x1FFF:
        return FRAGMENT, at, 0, 0
    packets.src_hi[row] = 0
    packets.src_lo[row] = _MAPPED | np.uint64(be32(buf, at + 12))
    packets.dst_hi[row] = 0
    packets.dst_lo[row] = _MAPPED | np.uint64(be32(buf, at + 16))
    return OK, at + header, np.int64(buf[at + 9]), size


@inlined
def _mapped(hi: Any, lo: Any) -> Any:
    return hi == np.uint64(0) and lo >> np.uint64(32) == np.uint64(0xFFFF)


@inlined
def _ipv6_header(buf: Any, at: Any, end: Any, room: Any, packets: Any, row: Any) -> Any:
    """Read IPv6 and its extension headers at `at`; addresses go into the row. -> as `_ipv4_header`."""
    if at + 40 > end:
        return TRUNCATED, at, 0, 0
    if buf[at] >> 4 != 6:
        return MALFORMED, at, 0, 0
    size = be16(buf, at + 4) + 40
    if size == 40 and buf[at + 6] != NO_NEXT_HEADER:  # a jumbogram, or segmentation offload
        size = max(size, room)
    packets.src_hi[row] = be64(buf, at + 8)
    packets.src_lo[row] = be64(buf, at + 16)
    packets.dst_hi[row] = be64(buf, at + 24)
    packets.dst_lo[row] = be64(buf, at + 32)
    # Not for the wire (RFC 4038, 4.2, on its risks); here it would be taken for the IPv4 host of that address
    if _mapped(packets.src_hi[row], packets.src_lo[row]) or _mapped(packets.dst_hi[row], packets.dst_lo[row]):
        return MAPPED_ADDRESS, at, 0, 0
    stated_end = at + size
    status, upper, protocol = _ipv6_extensions(buf, at + 40, min(end, stated_end), stated_end, np.int64(buf[at + 6]))
    return status, upper, protocol, size


@inlined
def decode_frame(buf: Any, start: Any, end: Any, wire: Any, linktype: Any, packets: Any, row: Any) -> Any:
    """Decode the frame in buf[start:end] into `row` of `packets` (all columns but `time`) -> FrameStatus.

    buf: uint8[n] with end <= n (the caller's promise). `wire`: bytes of the frame before the snap length cut it.
    The row is garbage unless the status is OK. A packet whose ports are captured is OK however little else is.
    """
    status, at, version = link_layer(buf, start, end, linktype)
    if status != OK:
        return status
    if version == ANY_IP:
        if at >= end:
            return TRUNCATED
        version = np.int64(buf[at] >> 4)
    room = max(end - start, wire) - (at - start)
    if version == 4:
        status, upper, protocol, size = _ipv4_header(buf, at, end, room, packets, row)
    elif version == 6:
        status, upper, protocol, size = _ipv6_header(buf, at, end, room, packets, row)
    else:
        return MALFORMED
    if status != OK:
        return status
    status, meta = transport_layer(buf, upper, min(end, at + size), at + size, protocol)
    packets.size[row] = size
    packets.meta[row] = meta | np.uint64(protocol << 24)
    return status


@kernel
def decode_frames(buf: Any, records: Any, count: Any, packets: Any, tally: Any) -> Any:
    """Decode the first `count` records into `packets` from row 0 on, without gaps -> rows filled.

    buf: uint8[n]; `records`: RecordBatch whose frames lie in buf (the walkers' promise), not more of them than
    `packets` has rows; `tally`: Tally, which gets every record that is not plainly OK.
    """
    filled = np.int64(0)  # a plain 0 is a literal, for which decode_frame would be compiled once more
    for i in range(count):
        linktype = records.linktype[i]
        status = decode_frame(buf, records.start[i], records.end[i], records.wire[i], linktype, packets, filled)
        if status == OK:
            packets.time[filled] = records.time[i]
            filled += 1
        else:
            note(tally, status, linktype, records.offset[i])
    return filled
