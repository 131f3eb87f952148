"""Link layer: where the IP header starts in a frame, by link type, behind VLAN tags and LLC/SNAP.

Every read is preceded by a comparison with `end`. Sources: the tcpdump group's LINKTYPE_ registry; IEEE 802.1Q,
802.1ad and 802.2 for tags and SNAP.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from analyzers.kernels.frame_status import ARP, LINK_TYPE, LLC, MACSEC, MPLS, NON_IP, OK, PPPOE, TAG_DEPTH, TRUNCATED
from analyzers.kernels.jit import inlined, load32

MAX_TAGS = 8

ETHERNET, SLL, SLL2, NULL, LOOP, RAW, IPV4_ONLY, IPV6_ONLY = 1, 113, 276, 0, 108, 101, 228, 229
RAW_ON_MOST, RAW_ON_OPENBSD = 12, 14  # DLT_RAW as some systems wrote it before LINKTYPE_RAW was agreed
SUPPORTED_LINK_TYPES = frozenset(
    {ETHERNET, SLL, SLL2, NULL, LOOP, RAW, RAW_ON_MOST, RAW_ON_OPENBSD, IPV4_ONLY, IPV6_ONLY}
)

ANY_IP = 0  # the IP version is told by the packet, not by the layer around it
_ETHERTYPE_IPV4, _ETHERTYPE_IPV6 = 0x0800, 0x86DD


@inlined
def be16(buf: Any, at: Any) -> Any:
    """Two bytes, big endian, as int64."""
    return (np.int64(buf[at]) << 8) | np.int64(buf[at + 1])


@inlined
def le32(buf: Any, at: Any) -> Any:
    """Four bytes, little endian, as int64 (never negative)."""
    return np.int64(load32(buf, at))


@inlined
def be32(buf: Any, at: Any) -> Any:
    """Four bytes, big endian, as int64 (never negative)."""
    word = le32(buf, at)
    return ((word & 0xFF) << 24) | ((word & 0xFF00) << 8) | ((word >> 8) & 0xFF00) | (word >> 24)


@inlined
def be64(buf: Any, at: Any) -> Any:
    """Eight bytes, big endian, as uint64."""
    return (np.uint64(be32(buf, at)) << np.uint64(32)) | np.uint64(be32(buf, at + 4))


@inlined
def _ethertype_status(ethertype: Any) -> Any:
    """The status of an ethertype that is neither IP nor a tag."""
    if ethertype in (0x0806, 0x8035):
        return ARP
    if ethertype in (0x8847, 0x8848):
        return MPLS
    if ethertype in (0x8863, 0x8864):
        return PPPOE
    if ethertype == 0x88E5:
        return MACSEC
    return NON_IP


@inlined
def _after_ethertype(buf: Any, at: Any, end: Any, ethertype: Any) -> Any:
    """-> status, start of IP, its version (4, 6). `at` is behind the ethertype; tags and LLC/SNAP are walked over."""
    for depth in range(MAX_TAGS + 1):
        if ethertype not in (0x8100, 0x88A8, 0x9100, 0x9200):
            break
        if depth == MAX_TAGS:
            return TAG_DEPTH, at, 0
        if at + 4 > end:
            return TRUNCATED, at, 0
        ethertype = be16(buf, at + 2)
        at += 4
    if ethertype < 0x0600:  # an 802.3 length: LLC follows, and IP only inside SNAP with the Ethernet OUI
        if at + 8 > end or be32(buf, at) != 0xAAAA_0300 or buf[at + 4] != 0 or buf[at + 5] != 0:
            return LLC, at, 0
        ethertype = be16(buf, at + 6)
        at += 8
    if ethertype == _ETHERTYPE_IPV4:
        return OK, at, 4
    if ethertype == _ETHERTYPE_IPV6:
        return OK, at, 6
    return _ethertype_status(ethertype), at, 0


@inlined
def _address_family(buf: Any, at: Any, end: Any) -> Any:
    """-> status, start of IP, its version. The four bytes are in the order of the machine that captured, or network."""
    if at + 4 > end:
        return TRUNCATED, at, 0
    family = be32(buf, at)
    if family > 0xFFFF:
        family = np.int64(buf[at]) | (np.int64(buf[at + 1]) << 8)
    if family == 2:
        return OK, at + 4, 4
    if family in (10, 24, 28, 30, 23):  # AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, Darwin, Windows
        return OK, at + 4, 6
    return NON_IP, at, 0


@inlined
def link_layer(buf: Any, at: Any, end: Any, linktype: Any) -> Any:
    """-> status, start of the IP header, its version (4, 6, or 0: told by its first byte)."""
    if linktype == ETHERNET:
        if at + 14 > end:
            return TRUNCATED, at, 0
        return _after_ethertype(buf, at + 14, end, be16(buf, at + 12))
    if linktype in (RAW, RAW_ON_MOST, RAW_ON_OPENBSD):
        return OK, at, ANY_IP
    if linktype == IPV4_ONLY:
        return OK, at, 4
    if linktype == IPV6_ONLY:
        return OK, at, 6
    if linktype in (NULL, LOOP):
        return _address_family(buf, at, end)
    if linktype == SLL:
        if at + 16 > end:
            return TRUNCATED, at, 0
        return _after_ethertype(buf, at + 16, end, be16(buf, at + 14))
    if linktype == SLL2:
        if at + 20 > end:
            return TRUNCATED, at, 0
        return _after_ethertype(buf, at + 20, end, be16(buf, at))
    return LINK_TYPE, at, 0
