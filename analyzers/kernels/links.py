"""Link layers, one step at a time: from a layer of a known kind to the next one, until IP is reached.

A kind is an ethertype; what has none of its own is given the one that GRE carries it under, or a number above all of
them. Every read is preceded by a comparison with `end`. Sources: the tcpdump group's LINKTYPE_ registry; IEEE 802.1Q,
802.1ad, 802.1ah, 802.2, 802.11; RFC 3032 and 4385 (MPLS), 2516 (PPPoE), 1661 and 1662 (PPP), 1547 (HDLC).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from analyzers.kernels.frame_status import (
    ARP,
    LINK_TYPE,
    LLC,
    MACSEC,
    MPLS,
    NON_IP,
    OK,
    PPP,
    PPPOE,
    TRUNCATED,
    WIRELESS,
)
from analyzers.kernels.jit import inlined, load32

MAX_TAGS = 8
MAX_LABELS = 16

ETHERNET, SLL, SLL2, NULL, LOOP, RAW, IPV4_ONLY, IPV6_ONLY = 1, 113, 276, 0, 108, 101, 228, 229
RAW_ON_MOST, RAW_ON_OPENBSD = 12, 14  # DLT_RAW as some systems wrote it before LINKTYPE_RAW was agreed
PPP_LINK, PPP_HDLC, PPPOE_LINK, CISCO_HDLC, FDDI, ENC, PFLOG, NFLOG = 9, 50, 51, 104, 10, 109, 117, 239
WLAN, RADIOTAP, PPI, IPOIB = 105, 127, 192, 242
SUPPORTED_LINK_TYPES = frozenset(
    {ETHERNET, SLL, SLL2, NULL, LOOP, RAW, RAW_ON_MOST, RAW_ON_OPENBSD, IPV4_ONLY, IPV6_ONLY}
    | {PPP_LINK, PPP_HDLC, PPPOE_LINK, CISCO_HDLC, FDDI, ENC, PFLOG, NFLOG, WLAN, RADIOTAP, PPI, IPOIB}
)

# Kinds of layers.
K_IPV4 = np.int64(0x0800)
K_IPV6 = np.int64(0x86DD)
K_ETHERNET = np.int64(0x6558)  # as in GRE: transparent Ethernet bridging
K_MPLS = np.int64(0x8847)
K_MPLS_UPSTREAM = np.int64(0x8848)
K_PPPOE = np.int64(0x8864)
K_PPP = np.int64(0x880B)
K_ITAG = np.int64(0x88E7)  # 802.1ah, provider backbone bridges
K_VNTAG = np.int64(0x8926)
K_FABRIC_PATH = np.int64(0x8903)
K_IP = np.int64(0x10000)  # the packet's first byte tells its version
K_WLAN = np.int64(0x10001)
K_LLC = np.int64(0)  # as an 802.3 length


@inlined
def be16(buf: Any, at: Any) -> Any:
    """Two bytes, big endian, as int64."""
    return (np.int64(buf[at]) << 8) | np.int64(buf[at + 1])


@inlined
def le16(buf: Any, at: Any) -> Any:
    """Two bytes, little endian, as int64."""
    return np.int64(buf[at]) | (np.int64(buf[at + 1]) << 8)


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
def is_tag(kind: Any) -> Any:
    """Whether a layer of this kind is a VLAN tag."""
    return kind == 0x8100 or kind == 0x88A8 or kind == 0x9100 or kind == 0x9200


@inlined
def _by_family(family: Any, at: Any) -> Any:
    """-> status, at, kind: AF_INET, or AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, Darwin, Windows."""
    if family == 2:
        return OK, at, K_IPV4
    if family in (10, 24, 28, 30, 23):
        return OK, at, K_IPV6
    return NON_IP, at, K_IP


@inlined
def _address_family(buf: Any, at: Any) -> Any:
    """Four bytes in the order of the machine that captured, or of the network."""
    family = be32(buf, at)
    return le32(buf, at) if family > 0xFFFF else family


@inlined
def _nflog(buf: Any, at: Any, end: Any) -> Any:
    """Netfilter log: attributes (length, type, in the order of nearly all machines), the packet is number 9."""
    family = np.int64(buf[at])
    attribute = at + 4
    for _ in range(64):
        if attribute + 4 > end:
            return TRUNCATED, at, K_IP
        size = le16(buf, attribute)
        if size < 4:
            return NON_IP, at, K_IP
        if le16(buf, attribute + 2) & 0x7FFF == 9:
            return _by_family(family, attribute + 4)
        attribute += (size + 3) & ~3
    return NON_IP, at, K_IP


@inlined
def _fixed_link(linktype: Any) -> Any:
    """Link types whose header always has the same place for the kind of what follows, or none.

    -> bytes before the next layer, its kind; or -1: where its ethertype stands; -2: another link type.
    """
    if linktype == ETHERNET:
        return np.int64(0), K_ETHERNET, np.int64(0)
    if linktype in (RAW, RAW_ON_MOST, RAW_ON_OPENBSD):
        return np.int64(0), K_IP, np.int64(0)
    if linktype == IPV4_ONLY:
        return np.int64(0), K_IPV4, np.int64(0)
    if linktype == IPV6_ONLY:
        return np.int64(0), K_IPV6, np.int64(0)
    if linktype == PPP_LINK:
        return np.int64(0), K_PPP, np.int64(0)
    if linktype == PPPOE_LINK:
        return np.int64(0), K_PPPOE, np.int64(0)
    if linktype == WLAN:
        return np.int64(0), K_WLAN, np.int64(0)
    if linktype == FDDI:
        return np.int64(13), K_LLC, np.int64(0)
    if linktype == SLL:
        return np.int64(16), np.int64(-1), np.int64(14)
    if linktype == SLL2:
        return np.int64(20), np.int64(-1), np.int64(0)
    if linktype == CISCO_HDLC:
        return np.int64(4), np.int64(-1), np.int64(2)
    if linktype == IPOIB:
        return np.int64(44), np.int64(-1), np.int64(40)
    return np.int64(0), np.int64(-2), np.int64(0)


@inlined
def _variable_link(buf: Any, at: Any, end: Any, linktype: Any) -> Any:
    """The other link types -> status, at, kind."""
    if linktype not in (NULL, LOOP, ENC, PFLOG, NFLOG, PPP_HDLC, RADIOTAP):
        return LINK_TYPE, at, K_IP
    if at + (12 if linktype == ENC else 4) > end:
        return TRUNCATED, at, K_IP
    if linktype == PPP_HDLC:
        if buf[at] == 0x0F or buf[at] == 0x8F:  # Cisco's framing
            return OK, at + 4, be16(buf, at + 2)
        return OK, at, K_PPP
    if linktype == RADIOTAP:
        return OK, at + le16(buf, at + 2), K_WLAN
    if linktype == NFLOG:
        return _nflog(buf, at, end)
    if linktype == PFLOG:
        return _by_family(np.int64(buf[at + 1]), at + ((np.int64(buf[at]) + 3) & ~3))
    return _by_family(_address_family(buf, at), at + (12 if linktype == ENC else 4))


@inlined
def first_layer(buf: Any, at: Any, end: Any, linktype: Any) -> Any:
    """-> status, where the first layer behind the link header starts (it may be behind `end`), its kind."""
    if linktype == PPI:  # per-packet information: a header of stated length around another link type
        if at + 8 > end:
            return TRUNCATED, at, K_IP
        linktype = le32(buf, at + 4)
        at += le16(buf, at + 2)
        if at > end:
            return TRUNCATED, at, K_IP
    size, kind, place = _fixed_link(linktype)
    if kind == -2:
        return _variable_link(buf, at, end, linktype)
    if at + size > end:
        return TRUNCATED, at, K_IP
    if kind == -1:
        kind = be16(buf, at + place)
    return OK, at + size, kind


@inlined
def _label_stack(buf: Any, at: Any, end: Any) -> Any:
    """MPLS labels, and IP or, behind a control word, Ethernet under them."""
    for _ in range(MAX_LABELS):
        if at + 4 > end:
            return TRUNCATED, at, K_IP
        bottom = buf[at + 2] & 1
        at += 4
        if bottom:
            if at >= end:
                return TRUNCATED, at, K_IP
            nibble = buf[at] >> 4
            if nibble == 4 or nibble == 6:
                return OK, at, K_IP
            if nibble == 0:
                return OK, at + 4, K_ETHERNET
            return MPLS, at, K_IP
    return MPLS, at, K_IP


@inlined
def _ppp(buf: Any, at: Any, end: Any) -> Any:
    """PPP with or without its address and control bytes, its protocol number compressed or not."""
    if at + 2 <= end and buf[at] == 0xFF and buf[at + 1] == 0x03:
        at += 2
    if at >= end:
        return TRUNCATED, at, K_IP
    protocol = np.int64(buf[at])
    at += 1
    if protocol & 1 == 0:
        if at >= end:
            return TRUNCATED, at, K_IP
        protocol = (protocol << 8) | np.int64(buf[at])
        at += 1
    if protocol == 0x0021:
        return OK, at, K_IPV4
    if protocol == 0x0057:
        return OK, at, K_IPV6
    if protocol == 0x0281 or protocol == 0x0283:
        return OK, at, K_MPLS
    return PPP, at, K_IP


@inlined
def _wlan(buf: Any, at: Any, end: Any) -> Any:
    """802.11: only data that is not encrypted has an LLC header; aggregated frames are not taken apart."""
    if at + 24 > end:
        return TRUNCATED, at, K_IP
    control, flags = np.int64(buf[at]), np.int64(buf[at + 1])
    if control & 0x0C != 0x08 or control & 0x40 or flags & 0x40:  # no data, without data, protected
        return WIRELESS, at, K_IP
    size = np.int64(24)
    if flags & 3 == 3:
        size += 6
    if control & 0x80:
        if at + size + 2 > end:
            return TRUNCATED, at, K_IP
        if buf[at + size] & 0x80:
            return WIRELESS, at, K_IP
        size += 6 if flags & 0x80 else 2
    return OK, at + size, K_LLC


@inlined
def next_layer(buf: Any, at: Any, end: Any, kind: Any) -> Any:
    """-> status, where the next layer starts, its kind. `kind` is of the layer at `at`, which is not IP."""
    if kind == K_ETHERNET:
        if at + 14 > end:
            return TRUNCATED, at, kind
        return OK, at + 14, be16(buf, at + 12)
    if is_tag(kind):
        if at + 4 > end:
            return TRUNCATED, at, kind
        return OK, at + 4, be16(buf, at + 2)
    if kind < 0x0600:  # an 802.3 length: LLC follows, and IP only inside SNAP with the Ethernet OUI
        if at + 8 > end or be32(buf, at) != 0xAAAA_0300 or buf[at + 4] != 0 or buf[at + 5] != 0:
            return LLC, at, kind
        kind = be16(buf, at + 6)
        return OK if kind >= 0x0600 else LLC, at + 8, kind
    if kind == K_MPLS or kind == K_MPLS_UPSTREAM:
        return _label_stack(buf, at, end)
    if kind == K_PPPOE:
        if at + 6 > end:
            return TRUNCATED, at, kind
        if be16(buf, at) != 0x1100:
            return PPPOE, at, kind
        return OK, at + 6, K_PPP
    if kind == K_PPP:
        return _ppp(buf, at, end)
    if kind == K_WLAN:
        return _wlan(buf, at, end)
    if kind == K_ITAG:
        return OK, at + 4, K_ETHERNET
    if kind == K_FABRIC_PATH:
        return OK, at + 2, K_ETHERNET
    if kind == K_VNTAG:
        if at + 6 > end:
            return TRUNCATED, at, kind
        return OK, at + 6, be16(buf, at + 4)
    return _other_kind(kind), at, kind


@inlined
def _other_kind(kind: Any) -> Any:
    """The status of an ethertype that leads nowhere."""
    if kind == 0x0806 or kind == 0x8035:
        return ARP
    if kind == 0x8863:
        return PPPOE
    if kind == 0x88E5:
        return MACSEC
    return NON_IP
