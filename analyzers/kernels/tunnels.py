"""Tunnels: from an outer IP packet to what it carries, and who carried it, counted.

A UDP port alone makes no tunnel: anybody may pick it, so the header behind it must be one that a tunnel writes, with
its reserved bits zero; else the datagram is a flow like any other. Sources: RFC 7348,
draft-smith-vxlan-group-policy and draft-ietf-nvo3-vxlan-gpe (VXLAN); RFC 8926 (Geneve); RFC 2784, 2890, 7637, 2637
(GRE, NVGRE, PPTP); draft-foschiano-erspan (ERSPAN); RFC 2003, 2473, 4213 (IP in IP); RFC 4023, 7510 (MPLS in IP, in
UDP); RFC 8086 (GRE in UDP).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analyzers.kernels.jit import inlined
from analyzers.kernels.links import K_ETHERNET, K_IP, K_IPV4, K_IPV6, K_MPLS, K_MPLS_UPSTREAM, K_PPP, be16
from analyzers.kernels.tables import MIX1, MIX3, U0, U1, mix

MAX_TUNNELS = 8


class Tunnel(IntEnum):
    """What carries a packet. MPLS and PPPOE lie under IP and have no outer addresses."""

    NONE = 0
    VXLAN = 1
    GENEVE = 2
    GRE = 3
    ERSPAN = 4
    IP_IN_IP = 5
    MPLS_IN_IP = 6
    MPLS = 7
    PPPOE = 8

    @property
    def text(self) -> str:
        """The name as a report prints it."""
        return _TUNNEL_TEXTS[self]


_TUNNEL_TEXTS = {
    Tunnel.NONE: "tunnels between further pairs of addresses",
    Tunnel.VXLAN: "VXLAN",
    Tunnel.GENEVE: "Geneve",
    Tunnel.GRE: "GRE",
    Tunnel.ERSPAN: "ERSPAN",
    Tunnel.IP_IN_IP: "IP in IP",
    Tunnel.MPLS_IN_IP: "MPLS in IP",
    Tunnel.MPLS: "MPLS",
    Tunnel.PPPOE: "PPPoE",
}

NONE = np.int64(Tunnel.NONE)
VXLAN = np.int64(Tunnel.VXLAN)
GENEVE = np.int64(Tunnel.GENEVE)
GRE = np.int64(Tunnel.GRE)
ERSPAN = np.int64(Tunnel.ERSPAN)
IP_IN_IP = np.int64(Tunnel.IP_IN_IP)
MPLS_IN_IP = np.int64(Tunnel.MPLS_IN_IP)
MPLS_LABELS = np.int64(Tunnel.MPLS)
PPPOE_SESSION = np.int64(Tunnel.PPPOE)

VXLAN_PORT, VXLAN_LINUX_PORT, VXLAN_GPE_PORT, GENEVE_PORT, MPLS_PORT, GRE_PORT = 4789, 8472, 4790, 6081, 6635, 4754

PAIR_SLOTS = 1 << 14
PAIR_WORDS = 6
MOST_PAIRS = 1 << 13
"""Outer pairs that are told apart; packets of further ones are counted together."""


class Carriers(NamedTuple):
    """Who carried what: an open-addressing table of (tunnel, outer ends in canonical order) -> packets."""

    pairs: NDArray[np.uint64]  # [PAIR_SLOTS, PAIR_WORDS]: tunnel, a_hi, a_lo, b_hi, b_lo, packets
    counts: NDArray[np.int64]  # [2]: pairs in the table, packets of pairs that found no room

    @staticmethod
    def empty() -> Carriers:
        """Nothing carried; zero pages until something is."""
        return Carriers(np.zeros((PAIR_SLOTS, PAIR_WORDS), np.uint64), np.zeros(2, np.int64))


@inlined
def carried(carriers: Any, tunnel: Any, a_hi: Any, a_lo: Any, b_hi: Any, b_lo: Any) -> None:
    """Count one packet of a tunnel between two outer addresses, in either direction."""
    swap = b_hi < a_hi or (b_hi == a_hi and b_lo < a_lo)
    one_hi, one_lo = (b_hi, b_lo) if swap else (a_hi, a_lo)
    other_hi, other_lo = (a_hi, a_lo) if swap else (b_hi, b_lo)
    pairs = carriers.pairs
    kind = np.uint64(tunnel)
    value = mix(mix(one_hi * MIX1 ^ one_lo) ^ mix(other_hi * MIX3 ^ other_lo) * MIX1 ^ kind)
    mask = np.uint64(PAIR_SLOTS - 1)
    slot = value & mask
    while pairs[slot, 0] != U0:  # ends: the table is at most half full
        row = pairs[slot]
        if row[0] == kind and row[1] == one_hi and row[2] == one_lo and row[3] == other_hi and row[4] == other_lo:
            row[5] += U1
            return
        slot = (slot + U1) & mask
    if carriers.counts[0] >= MOST_PAIRS:
        carriers.counts[1] += 1
        return
    carriers.counts[0] += 1
    pairs[slot, 0] = kind
    pairs[slot, 1] = one_hi
    pairs[slot, 2] = one_lo
    pairs[slot, 3] = other_hi
    pairs[slot, 4] = other_lo
    pairs[slot, 5] = U1


@inlined
def _gre(buf: Any, at: Any, end: Any) -> Any:
    """-> the tunnel (NONE: what it carries cannot be read), where its payload starts, its kind."""
    if at + 4 > end:
        return NONE, at, K_IP
    flags = be16(buf, at)
    carries = be16(buf, at + 2)
    version = flags & 7
    sequence = flags & 0x1000
    if version == 1:  # PPTP: the key is always there, and without a sequence number there is no payload
        if carries != K_PPP or not flags & 0x2000 or not sequence:
            return NONE, at, K_IP
        return GRE, at + 12 + (4 if flags & 0x0080 else 0), K_PPP
    if version != 0 or flags & 0x4000:  # source routes are obsolete
        return NONE, at, K_IP
    at += 4 + (4 if flags & 0x8000 else 0) + (4 if flags & 0x2000 else 0) + (4 if sequence else 0)
    if carries in (K_IPV4, K_IPV6, K_ETHERNET, K_MPLS, K_MPLS_UPSTREAM, K_PPP):
        return GRE, at, carries
    if carries == 0x88BE:  # ERSPAN: type I has neither a sequence number nor a header of its own
        return ERSPAN, at + (8 if sequence else 0), K_ETHERNET
    if carries == 0x22EB and at + 12 <= end:
        frame_type = (buf[at + 10] >> 2) & 31
        at_frame = at + (20 if buf[at + 11] & 1 else 12)
        if frame_type == 0:
            return ERSPAN, at_frame, K_ETHERNET
        if frame_type == 2:
            return ERSPAN, at_frame, K_IP
    return NONE, at, K_IP


@inlined
def in_ip(buf: Any, at: Any, end: Any, protocol: Any) -> Any:
    """The tunnel whose header (or payload) is at `at` of an IP packet -> tunnel (NONE: none), payload, its kind."""
    if protocol == 4:
        return IP_IN_IP, at, K_IPV4
    if protocol == 41:
        return IP_IN_IP, at, K_IPV6
    if protocol == 47:
        return _gre(buf, at, end)
    if protocol == 137:
        return MPLS_IN_IP, at, K_MPLS
    return NONE, at, K_IP


@inlined
def is_tunnel_port(port: Any) -> Any:
    """Whether datagrams to this UDP port may be a tunnel's."""
    vxlan = port == VXLAN_PORT or port == VXLAN_LINUX_PORT or port == VXLAN_GPE_PORT
    return vxlan or port == GENEVE_PORT or port == MPLS_PORT or port == GRE_PORT


@inlined
def in_udp(buf: Any, at: Any, end: Any, port: Any) -> Any:
    """The tunnel behind the UDP header at `at`, by destination port -> tunnel (NONE: none), payload, its kind."""
    at += 8
    if at + 8 > end or not is_tunnel_port(port):
        return NONE, at, K_IP
    if port == GENEVE_PORT:
        carries = be16(buf, at + 2)
        clean = buf[at] & 0xC0 == 0 and buf[at + 1] & 0x3F == 0 and buf[at + 7] == 0
        if not clean or carries not in (K_ETHERNET, K_IPV4, K_IPV6):
            return NONE, at, K_IP
        return GENEVE, at + 8 + np.int64(buf[at] & 0x3F) * 4, carries
    if port == MPLS_PORT:
        return MPLS_IN_IP, at, K_MPLS
    if port == GRE_PORT:
        return _gre(buf, at, end)
    return _vxlan(buf, at)


@inlined
def _vxlan(buf: Any, at: Any) -> Any:
    """VXLAN, whose eight bytes are there: plain, with a group policy, or telling what it carries (GPE)."""
    if buf[at + 7] != 0:
        return NONE, at, K_IP
    if buf[at] == 0x88 and buf[at + 1] & 0xB7 == 0:  # flags and a group in reserved bits
        return VXLAN, at + 8, K_ETHERNET
    if buf[at + 1] != 0 or buf[at + 2] != 0:
        return NONE, at, K_IP
    carries = buf[at + 3]
    if (buf[at] == 0x08 and carries == 0) or (buf[at] == 0x0C and carries == 3):
        return VXLAN, at + 8, K_ETHERNET
    if buf[at] == 0x0C and carries == 1:
        return VXLAN, at + 8, K_IPV4
    if buf[at] == 0x0C and carries == 2:
        return VXLAN, at + 8, K_IPV6
    return NONE, at, K_IP
