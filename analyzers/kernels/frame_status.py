"""What can become of one record of a capture, with the words a report uses for it."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class FrameStatus(IntEnum):
    """What became of one record of a capture. `OK` is in the batch; everything else is counted and passed over."""

    OK = 0
    TRUNCATED = 1
    FRAGMENT = 2
    MALFORMED = 3
    ARP = 4
    LLC = 5
    MPLS = 6
    PPPOE = 7
    MACSEC = 8
    NON_IP = 9
    TAG_DEPTH = 10
    EXTENSION_DEPTH = 11
    LINK_TYPE = 12
    BAD_BLOCK = 13
    NO_INTERFACE = 14
    MAPPED_ADDRESS = 15
    UNTIMED = 16
    PPP = 17
    WIRELESS = 18
    TUNNEL_DEPTH = 19

    @property
    def skipped(self) -> bool:
        """Whether the record is not in the batch. UNTIMED ones are: it is a fact to tell, not a loss."""
        return self not in (FrameStatus.OK, FrameStatus.UNTIMED)

    @property
    def text(self) -> str:
        """The reason as a report prints it."""
        return _STATUS_TEXTS[self]


_STATUS_TEXTS = {
    FrameStatus.OK: "read",
    FrameStatus.TRUNCATED: "cut before the ports (by the snap length, or shorter than its own lengths say)",
    FrameStatus.FRAGMENT: "later IP fragment whose first, which has the ports, is not in the 30 seconds before",
    FrameStatus.MALFORMED: "malformed IP packet: a version or length that cannot be",
    FrameStatus.ARP: "not IP: ARP or RARP",
    FrameStatus.LLC: "not IP: LLC (spanning tree, IS-IS, ...)",
    FrameStatus.MPLS: "not IP: MPLS around something else",
    FrameStatus.PPPOE: "not IP: PPPoE discovery",
    FrameStatus.MACSEC: "not IP: MACsec (encrypted)",
    FrameStatus.NON_IP: "not IP: another ethertype or address family",
    FrameStatus.TAG_DEPTH: "more than 8 VLAN tags",
    FrameStatus.EXTENSION_DEPTH: "more than 16 IPv6 extension headers",
    FrameStatus.LINK_TYPE: "unsupported link type",
    FrameStatus.BAD_BLOCK: "packet longer than the pcapng block around it",
    FrameStatus.NO_INTERFACE: "packet of an interface that the pcapng section does not describe",
    FrameStatus.MAPPED_ADDRESS: "IPv6 packet with an IPv4-mapped address, which is not for the wire",
    FrameStatus.UNTIMED: "simple packet blocks have no time: they are given the time of the packet before them",
    FrameStatus.PPP: "not IP: PPP control, compressed or multilink",
    FrameStatus.WIRELESS: "not IP: 802.11 management, control or encrypted data",
    FrameStatus.TUNNEL_DEPTH: "more than 8 tunnels inside one another, or 32 layers",
}


# The same numbers for kernels: an enum member would not unify with other integers, and a plain integer is a literal,
# for each of which numba compiles a function of its own.
OK = np.int64(FrameStatus.OK)
TRUNCATED = np.int64(FrameStatus.TRUNCATED)
FRAGMENT = np.int64(FrameStatus.FRAGMENT)
MALFORMED = np.int64(FrameStatus.MALFORMED)
ARP = np.int64(FrameStatus.ARP)
LLC = np.int64(FrameStatus.LLC)
MPLS = np.int64(FrameStatus.MPLS)
PPPOE = np.int64(FrameStatus.PPPOE)
MACSEC = np.int64(FrameStatus.MACSEC)
NON_IP = np.int64(FrameStatus.NON_IP)
TAG_DEPTH = np.int64(FrameStatus.TAG_DEPTH)
EXTENSION_DEPTH = np.int64(FrameStatus.EXTENSION_DEPTH)
LINK_TYPE = np.int64(FrameStatus.LINK_TYPE)
BAD_BLOCK = np.int64(FrameStatus.BAD_BLOCK)
NO_INTERFACE = np.int64(FrameStatus.NO_INTERFACE)
MAPPED_ADDRESS = np.int64(FrameStatus.MAPPED_ADDRESS)
UNTIMED = np.int64(FrameStatus.UNTIMED)
PPP = np.int64(FrameStatus.PPP)
WIRELESS = np.int64(FrameStatus.WIRELESS)
TUNNEL_DEPTH = np.int64(FrameStatus.TUNNEL_DEPTH)
