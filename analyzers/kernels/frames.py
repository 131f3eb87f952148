"""One captured frame to one row of a packet batch: link headers, tunnels, IP, ports; nothing beyond the captured bytes.

Nearly all frames are Ethernet, IP without options, TCP or UDP: `_plain_frame` reads those, and must say what the whole
decoder would. In that one each layer is a step `(buf, at, end, kind) -> status, where the next layer starts, its kind`,
taken in a loop until there is a packet that carries no other. Every read is preceded by a comparison with `end`;
every loop has a bound. Sources: RFC 791, 8200, 4302, 9293, 768, 9260, 792, 4443.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analyzers.kernels.capture_state import note
from analyzers.kernels.fragments import (
    Fragments,
    begin_fragments,
    finish_fragments,
    fragment_number,
    later_fragment,
)
from analyzers.kernels.frame_status import (
    EXTENSION_DEPTH,
    FRAGMENT,
    MALFORMED,
    MAPPED_ADDRESS,
    OK,
    TAG_DEPTH,
    TRUNCATED,
    TUNNEL_DEPTH,
)
from analyzers.kernels.jit import inlined, kernel
from analyzers.kernels.links import (
    ETHERNET,
    K_IP,
    K_IPV4,
    K_IPV6,
    K_MPLS,
    K_MPLS_UPSTREAM,
    K_PPPOE,
    MAX_TAGS,
    be16,
    be32,
    be64,
    first_layer,
    is_tag,
    le16,
    next_layer,
)
from analyzers.kernels.tunnels import (
    MAX_TUNNELS,
    MPLS_LABELS,
    NONE,
    PPPOE_SESSION,
    Carriers,
    carried,
    in_ip,
    in_udp,
    is_tunnel_port,
)


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


class Memory(NamedTuple):
    """What decoding keeps from packet to packet."""

    carriers: Carriers
    fragments: Fragments

    @staticmethod
    def empty() -> Memory:
        """Nothing seen yet."""
        return Memory(Carriers.empty(), Fragments.empty(MAX_TUNNELS + 1))


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
MAX_LAYERS = 32
ICMP, TCP, UDP, ICMPV6, NO_NEXT_HEADER, SCTP = 1, 6, 17, 58, 59, 132
_MAPPED = np.uint64(0xFFFF_0000_0000)
_NOT_FRAGMENTED = np.int64(-1)


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
    """Walk IPv6 extension headers. -> status, start of what they carry, its protocol, fragment word, fragment number.

    The fragment word is that of the fragment header (offset and more-fragments bit), or _NOT_FRAGMENTED. A later
    fragment ends the walk at its header.
    """
    word, number = _NOT_FRAGMENTED, np.int64(0)
    for _ in range(MAX_EXTENSIONS + 1):  # once more than headers, to see what the last one carries
        rare = following in (135, 139, 140)  # mobility, HIP, shim6
        if not rare and following not in (0, 43, 44, 51, 60):  # hop by hop, routing, fragment, AH, destination
            return OK, at, following, word, number
        if at + 8 > stated_end:
            return MALFORMED, at, following, word, number
        if at + 8 > end:
            return TRUNCATED, at, following, word, number
        if following == 44:
            word, number = be16(buf, at + 2) & 0xFFF9, be32(buf, at + 4)
            if word & 0xFFF8:
                return OK, at, np.int64(buf[at]), word, number
            length = np.int64(8)
        elif following == 51:
            length = (np.int64(buf[at + 1]) + 2) * 4
        else:
            length = (np.int64(buf[at + 1]) + 1) * 8
        if rare and buf[at] == NO_NEXT_HEADER:  # nothing behind it: it is the message itself
            return OK, at, following, word, number
        following = np.int64(buf[at])
        at += length
        if at > stated_end:
            return MALFORMED, at, following, word, number
    return EXTENSION_DEPTH, at, following, word, number


@inlined
def _ipv4_header(buf: Any, at: Any, end: Any, room: Any, packets: Any, row: Any) -> Any:
    """Read IPv4 at `at`; addresses go into the row.

    -> status, start of the payload, its protocol, IP length, fragment word and number as in `_ipv6_extensions`
    (offset and bit at the places that they have there).
    """
    if at + 20 > end:
        return TRUNCATED, at, np.int64(0), np.int64(0), _NOT_FRAGMENTED, np.int64(0)
    header = np.int64(buf[at] & 15) * 4
    size = be16(buf, at + 2)
    if size == 0:  # segmentation offload: the length was still to be filled in, the wire length knows better
        size = room
    if buf[at] >> 4 != 4 or header < 20 or size < header:
        return MALFORMED, at, np.int64(0), np.int64(0), _NOT_FRAGMENTED, np.int64(0)
    packets.src_hi[row] = 0
    packets.src_lo[row] = _MAPPED | np.uint64(be32(buf, at + 12))
    packets.dst_hi[row] = 0
    packets.dst_lo[row] = _MAPPED | np.uint64(be32(buf, at + 16))
    field = be16(buf, at + 6)
    word = _NOT_FRAGMENTED
    if field & 0x3FFF:
        word = ((field & 0x1FFF) << 3) | ((field >> 13) & 1)
    return OK, at + header, np.int64(buf[at + 9]), size, word, be16(buf, at + 4)


@inlined
def _mapped(hi: Any, lo: Any) -> Any:
    return hi == np.uint64(0) and lo >> np.uint64(32) == np.uint64(0xFFFF)


@inlined
def _ipv6_header(buf: Any, at: Any, end: Any, room: Any, packets: Any, row: Any) -> Any:
    """Read IPv6 and its extension headers at `at`; addresses go into the row. -> as `_ipv4_header`."""
    if at + 40 > end:
        return TRUNCATED, at, np.int64(0), np.int64(0), _NOT_FRAGMENTED, np.int64(0)
    if buf[at] >> 4 != 6:
        return MALFORMED, at, np.int64(0), np.int64(0), _NOT_FRAGMENTED, np.int64(0)
    size = be16(buf, at + 4) + 40
    if size == 40 and buf[at + 6] != NO_NEXT_HEADER:  # a jumbogram, or segmentation offload
        size = max(size, room)
    packets.src_hi[row] = be64(buf, at + 8)
    packets.src_lo[row] = be64(buf, at + 16)
    packets.dst_hi[row] = be64(buf, at + 24)
    packets.dst_lo[row] = be64(buf, at + 32)
    # Not for the wire (RFC 4038, 4.2, on its risks); here it would be taken for the IPv4 host of that address
    if _mapped(packets.src_hi[row], packets.src_lo[row]) or _mapped(packets.dst_hi[row], packets.dst_lo[row]):
        return MAPPED_ADDRESS, at, np.int64(0), np.int64(0), _NOT_FRAGMENTED, np.int64(0)
    stated_end = at + size
    status, upper, protocol, word, number = _ipv6_extensions(
        buf, at + 40, min(end, stated_end), stated_end, np.int64(buf[at + 6])
    )
    return status, upper, protocol, size, word, number


@inlined
def _tunnel(buf: Any, at: Any, end: Any, protocol: Any) -> Any:
    """The tunnel that a packet's payload at `at` is -> tunnel (NONE: none), where what it carries is, its kind."""
    if protocol == UDP:
        if at + 8 > end:
            return NONE, at, K_IP
        return in_udp(buf, at, end, be16(buf, at + 2))
    return in_ip(buf, at, end, protocol)


@inlined
def _packet(
    buf: Any, at: Any, end: Any, wire_end: Any, kind: Any, time: Any, inner: Any, memory: Any, packets: Any, row: Any
) -> Any:
    """Read the IP packet at `at` into `row`.

    -> status, where what it carries starts, its kind (0: it is not a tunnel, the row is complete), where the packet
    ends in the capture and on the wire.
    """
    if kind == K_IP:
        if at >= end:
            return TRUNCATED, at, NONE, end, wire_end
        kind = K_IPV4 if buf[at] >> 4 == 4 else (K_IPV6 if buf[at] >> 4 == 6 else NONE)
    if kind == K_IPV4:
        status, upper, protocol, size, word, number = _ipv4_header(buf, at, end, wire_end - at, packets, row)
    elif kind == K_IPV6:
        status, upper, protocol, size, word, number = _ipv6_header(buf, at, end, wire_end - at, packets, row)
    else:
        return MALFORMED, at, NONE, end, wire_end
    if status != OK:
        return status, at, NONE, end, wire_end
    stated_end = at + size
    end = min(end, stated_end)
    packets.size[row] = size
    if word > 0:  # a fragment, and not the only one of its packet
        key = fragment_number(number, protocol if kind == K_IPV4 else NONE)  # RFC 791, 2.3 and 8200, 4.5
        if word & 0xFFF8:
            known = later_fragment(memory.fragments, packets, row, key, time)
            return OK if known else FRAGMENT, at, NONE, end, stated_end
        begin_fragments(memory.fragments, packets, row, key)
    if inner:
        tunnel, payload, carries = _tunnel(buf, upper, end, protocol)
        if tunnel != NONE:
            hi, lo = packets.src_hi[row], packets.src_lo[row]
            carried(memory.carriers, tunnel, hi, lo, packets.dst_hi[row], packets.dst_lo[row])
            return OK, payload, carries, end, min(wire_end, stated_end)
    status, meta = transport_layer(buf, upper, end, stated_end, protocol)
    packets.meta[row] = meta | np.uint64(protocol << 24)
    return status, at, NONE, end, stated_end


@kernel
def whole_frame(
    buf: Any, start: Any, end: Any, wire: Any, linktype: Any, time: Any, inner: Any, memory: Any, packets: Any, row: Any
) -> Any:
    """`decode_frame` for every kind of frame."""
    wire_end = start + max(end - start, wire)
    status, at, kind = first_layer(buf, start, end, linktype)
    if status != OK:
        return status
    tags = np.int64(0)
    tunnels = np.int64(0)
    for _ in range(MAX_LAYERS):
        if kind == K_IPV4 or kind == K_IPV6 or kind == K_IP:
            status, at, kind, end, wire_end = _packet(buf, at, end, wire_end, kind, time, inner, memory, packets, row)
            if status != OK or kind == NONE:
                if status == OK and memory.fragments.begun[0]:
                    finish_fragments(memory.fragments, packets, row, time)
                memory.fragments.begun[0] = 0
                return status
            tunnels += 1
            if tunnels > MAX_TUNNELS:
                break
            tags = np.int64(0)
            continue
        if is_tag(kind):
            tags += 1
            if tags > MAX_TAGS:
                memory.fragments.begun[0] = 0
                return TAG_DEPTH
        if kind == K_MPLS or kind == K_MPLS_UPSTREAM or kind == K_PPPOE:
            nowhere = np.uint64(0)
            carried(
                memory.carriers, PPPOE_SESSION if kind == K_PPPOE else MPLS_LABELS, nowhere, nowhere, nowhere, nowhere
            )
        status, at, kind = next_layer(buf, at, end, kind)
        if status != OK:
            memory.fragments.begun[0] = 0
            return status
    memory.fragments.begun[0] = 0
    return TUNNEL_DEPTH


@inlined
def _plain_frame(buf: Any, start: Any, end: Any, inner: Any, packets: Any, row: Any) -> Any:
    """Read a frame of the commonest kinds -> whether it was one (if not, the row is garbage)."""
    if end - start < 68 and (end - start < 48 or buf[start + 12] != 0x08):  # cut within what is read here
        return False
    ethertype = le16(buf, start + 12)
    if ethertype == 0x0008:  # IPv4, as it lies in memory
        size = be16(buf, start + 16)
        protocol = np.int64(buf[start + 23])
        if buf[start + 14] != 0x45 or be16(buf, start + 20) & 0x3FFF or size < 34:
            return False
        upper = start + 34
        src_hi, dst_hi = np.uint64(0), np.uint64(0)
        src_lo = _MAPPED | np.uint64(be32(buf, start + 26))
        dst_lo = _MAPPED | np.uint64(be32(buf, start + 30))
    elif ethertype == 0xDD86:
        payload = be16(buf, start + 18)
        size = payload + 40
        protocol = np.int64(buf[start + 20])
        src_hi, src_lo = be64(buf, start + 22), be64(buf, start + 30)
        dst_hi, dst_lo = be64(buf, start + 38), be64(buf, start + 46)
        if buf[start + 14] >> 4 != 6 or payload < 14 or src_hi == np.uint64(0) or dst_hi == np.uint64(0):
            return False
        upper = start + 54
    else:
        return False
    ports = be32(buf, upper)
    flags = np.int64(0)
    if protocol == TCP:
        flags = np.int64(buf[upper + 13])
    elif protocol != UDP or (inner and is_tunnel_port(ports & 0xFFFF)):
        return False
    packets.src_hi[row] = src_hi
    packets.src_lo[row] = src_lo
    packets.dst_hi[row] = dst_hi
    packets.dst_lo[row] = dst_lo
    packets.size[row] = size
    packets.meta[row] = np.uint64((ports << 32) | (protocol << 24) | (flags << 16))
    return True


@inlined
def decode_frame(
    buf: Any, start: Any, end: Any, wire: Any, linktype: Any, time: Any, inner: Any, memory: Any, packets: Any, row: Any
) -> Any:
    """Decode the frame in buf[start:end] into `row` of `packets` (all columns but `time`) -> FrameStatus.

    buf: uint8[n] with end <= n (the caller's promise). `wire`: bytes of the frame before the snap length cut it.
    `time`: seconds. `inner`: whether tunnels are opened, else the outermost packet is the one. `memory`: Memory.
    The row is garbage unless the status is OK. A packet whose ports are captured is OK however little else is.
    """
    if linktype == ETHERNET and _plain_frame(buf, start, end, inner, packets, row):
        return OK
    return whole_frame(buf, start, end, wire, linktype, time, inner, memory, packets, row)


@kernel
def decode_frames(buf: Any, records: Any, count: Any, inner: Any, memory: Any, packets: Any, tally: Any) -> Any:
    """Decode the first `count` records into `packets` from row 0 on, without gaps -> rows filled.

    buf: uint8[n]; `records`: RecordBatch whose frames lie in buf (the walkers' promise), not more of them than
    `packets` has rows; `tally`: Tally, which gets every record that is not plainly OK, and all by link type.
    """
    filled = np.int64(0)  # a plain 0 is a literal, for which decode_frame would be compiled once more
    for i in range(count):
        linktype = records.linktype[i]
        time = records.time[i]
        tally.link_packets[linktype] += 1
        status = decode_frame(
            buf, records.start[i], records.end[i], records.wire[i], linktype, time, inner, memory, packets, filled
        )
        if status == OK:
            packets.time[filled] = time
            filled += 1
        else:
            note(tally, status, linktype, records.offset[i])
    return filled
