"""The slow, obvious twin of the capture kernels: own record reading and tunnels in plain Python, IP packets by dpkt.

dpkt knows some tunnels otherwise than is wanted here, and has looped on crafted GRE and SCTP; it is let loose only on
IP, TCP, UDP and SCTP, and what it cannot parse is a reason, not an error.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from unittest.mock import patch

import dpkt

ARP, MPLS, TAGS = (0x0806, 0x8035), (0x8847, 0x8848), (0x8100, 0x88A8, 0x9100, 0x9200)
ETHERNET, IP, PPP, WLAN = 0x6558, "IP", 0x880B, "WLAN"
PORTS = (dpkt.tcp.TCP, dpkt.udp.UDP, dpkt.sctp.SCTP)


@dataclass(frozen=True)
class Record:
    """One packet record of a file. `time`: whole seconds; None: the format has none."""

    frame: bytes
    wire: int
    link_type: int
    time: int | None
    offset: int


@dataclass(frozen=True)
class Seen:
    """One packet as both readers should see it."""

    src: str
    dst: str
    protocol: int
    sport: int
    dport: int
    size: int


def read_records(data: bytes) -> Iterator[Record]:
    """Records up to the end or the first damage."""
    yield from read_pcapng(data) if data[:4] == b"\x0a\x0d\x0d\x0a" else read_pcap(data)


def read_pcap(data: bytes) -> Iterator[Record]:
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    link_type = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF
    at = 24
    while at + 16 <= len(data):
        seconds, _, captured, wire = struct.unpack_from(order + "IIII", data, at)
        if captured > 262144 or at + 16 + captured > len(data):
            return
        yield Record(data[at + 16 : at + 16 + captured], wire, link_type, seconds, at)
        at += 16 + captured


def read_pcapng(data: bytes) -> Iterator[Record]:
    at, order = 0, "<"
    interfaces: list[tuple[int, int, int, int, int]] = []
    while at + 12 <= len(data):
        if data[at : at + 4] == b"\x0a\x0d\x0d\x0a":
            order = "<" if data[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            interfaces = []
        kind, total = struct.unpack_from(order + "II", data, at)
        body = data[at + 8 : at + total - 4]
        if total < 12 or at + total > len(data) or struct.unpack_from(order + "I", data, at + total - 4)[0] != total:
            return
        if kind == 1:
            interfaces.append(describe_interface(body, order))
        elif kind in (2, 6):
            number = struct.unpack_from(order + ("I" if kind == 6 else "H"), body)[0]
            high, low, captured, wire = struct.unpack_from(order + "IIII", body, 4)
            link_type, _, base, power, shift = interfaces[number]
            seconds = (high << 32 | low) // base**power + shift
            yield Record(body[20 : 20 + captured], wire, link_type, seconds, at)
        elif kind == 3:
            wire = struct.unpack_from(order + "I", body)[0]
            link_type, snap = interfaces[0][:2]
            yield Record(body[4 : 4 + min(wire, snap or wire)], wire, link_type, None, at)
        at += total


def describe_interface(body: bytes, order: str) -> tuple[int, int, int, int, int]:
    """-> link type, snap length, base and power of the clock, seconds to add."""
    link_type, _, snap = struct.unpack_from(order + "HHI", body)
    base, power, shift, at = 10, 6, 0, 8
    while at + 4 <= len(body):
        code, size = struct.unpack_from(order + "HH", body, at)
        value = body[at + 4 : at + 4 + size]
        if code == 0:
            break
        if code == 9:
            base, power = (2, value[0] & 127) if value[0] & 128 else (10, value[0])
        if code == 14:
            shift = struct.unpack(order + "q", value)[0]
        at += 4 + (size + 3 & ~3)
    return link_type, snap, base, power, shift


@contextmanager
def harmless_dpkt() -> Iterator[None]:
    """dpkt parses TCP, UDP, SCTP and ICMP inside IP and nothing else: no tunnels, no parser that may loop."""
    wanted = {p: dpkt.ip.IP._protosw[p] for p in (6, 17, 132) if p in dpkt.ip.IP._protosw}
    with patch.dict(dpkt.ip.IP._protosw, wanted, clear=True):
        yield


class Stop(Exception):
    """There is nothing to be found; the argument is the name of the kernel's status."""


@dataclass
class Twin:
    """Decodes the records of one capture in their order."""

    inner: bool = True
    fragments: dict[object, tuple[Seen, int]] = field(default_factory=dict)
    carriers: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def decode(self, record: Record) -> Seen | str:
        """One record: what is in it, or the name of the kernel's status for it."""
        begun: list[object] = []
        kind: object
        try:
            kind, at = first_layer(record.frame, record.link_type)
            data, room = record.frame[at:], max(record.wire, len(record.frame)) - at
            tags = tunnels = 0
            for _ in range(32):
                if kind in (0x0800, 0x86DD, IP):
                    found = self._packet(kind, data, room, record.time or 0, begun)
                    if isinstance(found, Seen):
                        for key in begun:
                            self.fragments[key] = found, record.time or 0
                        return found
                    kind, data, room = found
                    tunnels, tags = tunnels + 1, 0
                    if tunnels > 8:
                        break
                    continue
                tags += kind in TAGS
                if tags > 8:
                    raise Stop("TAG_DEPTH")
                if kind in MPLS or kind == 0x8864:
                    self._carried("PPPOE" if kind == 0x8864 else "MPLS", "::", "::")
                kind, at = next_layer(kind, data)
                data, room = data[at:], room - at
            raise Stop("TUNNEL_DEPTH")
        except Stop as status:
            return str(status)
        except (dpkt.UnpackError, struct.error, IndexError):
            return "TRUNCATED"

    def _carried(self, tunnel: str, one: str, other: str) -> None:
        ends = sorted((one, other), key=lambda text: mapped(ipaddress.ip_address(text)))
        key = tunnel, ends[0], ends[1]
        self.carriers[key] = self.carriers.get(key, 0) + 1

    def _packet(
        self, kind: object, data: bytes, room: int, time: int, begun: list[object]
    ) -> Seen | tuple[object, bytes, int]:
        """An IP packet: what it is, or what it carries: kind, bytes, bytes on the wire."""
        if kind == IP:
            kind = {4: 0x0800, 6: 0x86DD}.get(data[0] >> 4)
            if kind is None:
                raise Stop("MALFORMED")
        packet = dpkt.ip.IP(data) if kind == 0x0800 else dpkt.ip6.IP6(data)
        if packet.v != (4 if kind == 0x0800 else 6):
            raise Stop("MALFORMED")
        src, dst = (str(ipaddress.ip_address(address)) for address in (packet.src, packet.dst))
        if kind == 0x0800:
            size, protocol = packet.len or room, packet.p
            if not 20 <= 4 * packet.hl <= size:  # RFC 791, 3.1: the total length counts the header
                raise Stop("MALFORMED")
            key = (src, dst, packet.id, protocol)
            fragment = packet.offset or packet.mf, packet.offset
        else:
            size, protocol = (packet.plen + 40 if packet.plen else room), getattr(packet, "p", 50)
            headers = [h for h in packet.all_extension_headers if isinstance(h, dpkt.ip6.IP6FragmentHeader)]
            fragment = False, False
            for header in headers:
                key = (src, dst, header.id)
                fragment = header.frag_off or header.m_flag, header.frag_off
        if fragment[1]:
            seen, first = self.fragments.get(key, (None, 0))
            if seen is None or not 0 <= time - first <= 30:
                raise Stop("FRAGMENT")
            return replace(seen, size=size)
        if fragment[0]:
            begun.append(key)
            self.fragments.pop(key, None)
        if self.inner:
            payload = packet.data if isinstance(packet.data, bytes) else bytes(packet.data)
            header_size = min(len(data), size) - len(payload)
            tunnel, carries, at = tunnel_in(protocol, payload)
            if tunnel:
                self._carried(tunnel, src, dst)
                left = min(size, room) - header_size - at
                return carries, payload[at:], left
        return seen_in(packet, src, dst, protocol, size)


def mapped(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> int:
    return int(address) + (0xFFFF << 32 if address.version == 4 else 0)


def first_layer(frame: bytes, link_type: int) -> tuple[object, int]:
    """-> kind of the first layer, where it starts. Kinds are ethertypes, or names where there are none."""
    if link_type == 192:
        size, inner = struct.unpack_from("<HI", frame, 2)
        kind, at = first_layer(frame[size:], inner)
        return kind, at + size
    plain = {1: (ETHERNET, 0), 12: (IP, 0), 14: (IP, 0), 101: (IP, 0), 228: (0x0800, 0), 229: (0x86DD, 0)}
    plain |= {9: (PPP, 0), 51: (0x8864, 0), 105: (WLAN, 0), 10: (0, 13)}
    if link_type in plain:
        return plain[link_type]
    if link_type in (113, 276, 104, 242):
        place, size = {113: (14, 16), 276: (0, 20), 104: (2, 4), 242: (40, 44)}[link_type]
        if len(frame) < size:
            raise Stop("TRUNCATED")
        return struct.unpack_from(">H", frame, place)[0], size
    if link_type in (0, 108, 109):
        family = min(int.from_bytes(frame[:4], "big"), int.from_bytes(frame[:4], "little"))
        size = 12 if link_type == 109 else 4
        if len(frame) < size:
            raise Stop("TRUNCATED")
        return by_family(family), size
    if link_type == 50:
        cisco = frame[0] in (0x0F, 0x8F)
        return (struct.unpack_from(">H", frame, 2)[0], 4) if cisco else (PPP, 0)
    if link_type == 117:
        return by_family(frame[1]), frame[0] + 3 & ~3
    if link_type == 127:
        return WLAN, struct.unpack_from("<H", frame, 2)[0]
    if link_type == 239:
        at = 4
        while True:
            size, number = struct.unpack_from("<HH", frame, at)
            if number & 0x7FFF == 9:
                return by_family(frame[0]), at + 4
            at += size + 3 & ~3
    raise Stop("LINK_TYPE")


def by_family(family: int) -> int:
    if family == 2:
        return 0x0800
    if family in (10, 23, 24, 28, 30):
        return 0x86DD
    raise Stop("NON_IP")


def next_layer(kind: object, data: bytes) -> tuple[object, int]:
    """-> kind of the next layer, where it starts."""
    if kind == ETHERNET:
        return struct.unpack_from(">12xH", data)[0], 14
    if kind in TAGS:
        return struct.unpack_from(">2xH", data)[0], 4
    if kind in MPLS:
        labels = []
        while not labels or not labels[-1] & 0x100:
            if len(labels) == 16:
                raise Stop("MPLS")
            labels.append(struct.unpack_from(">I", data, 4 * len(labels))[0])
        at = 4 * len(labels)
        if data[at] >> 4 == 0:
            return ETHERNET, at + 4
        if data[at] >> 4 not in (4, 6):
            raise Stop("MPLS")
        return IP, at
    if kind == 0x8864:
        version, code = struct.unpack_from(">BB4x", data)
        if (version, code) != (0x11, 0):
            raise Stop("PPPOE")
        return PPP, 6
    if kind == PPP:
        at = 2 if data[:2] == b"\xff\x03" else 0
        compressed = data[at] & 1
        protocol = data[at] if compressed else struct.unpack_from(">H", data, at)[0]
        known = {0x21: 0x0800, 0x57: 0x86DD, 0x281: 0x8847, 0x283: 0x8848}
        if protocol not in known:
            raise Stop("PPP")
        return known[protocol], at + (1 if compressed else 2)
    if kind == WLAN:
        return wireless(data)
    if kind in (0x88E7, 0x8903):
        return ETHERNET, 4 if kind == 0x88E7 else 2
    if kind == 0x8926:
        return struct.unpack_from(">4xH", data)[0], 6
    assert isinstance(kind, int)
    if kind < 1536:
        if data[:6] != b"\xaa\xaa\x03\0\0\0" or len(data) < 8 or data[6:8] < b"\x06":
            raise Stop("LLC")
        return struct.unpack_from(">6xH", data)[0], 8
    raise Stop({**dict.fromkeys(ARP, "ARP"), 0x8863: "PPPOE", 0x88E5: "MACSEC"}.get(kind, "NON_IP"))


def wireless(data: bytes) -> tuple[object, int]:
    if len(data) < 24:
        raise Stop("TRUNCATED")
    kind, subtype, flags = data[0] >> 2 & 3, data[0] >> 4, data[1]
    if kind != 2 or subtype & 4 or flags & 0x40:
        raise Stop("WIRELESS")
    at = 30 if flags & 3 == 3 else 24
    if subtype & 8:
        if data[at] & 0x80:
            raise Stop("WIRELESS")
        at += 6 if flags & 0x80 else 2
    return 0, at


def tunnel_in(protocol: int, payload: bytes) -> tuple[str, object, int]:
    """-> name of the tunnel ("": none), kind of what it carries, where that starts."""
    by_number: dict[int, tuple[str, object, int]] = {
        4: ("IP_IN_IP", 0x0800, 0),
        41: ("IP_IN_IP", 0x86DD, 0),
        137: ("MPLS_IN_IP", 0x8847, 0),
    }
    if protocol in by_number:
        return by_number[protocol]
    if protocol == 47:
        return generic(payload)
    if protocol == 17 and len(payload) >= 16:
        port, head = int.from_bytes(payload[2:4], "big"), payload[8:16]
        if port == 6635:
            return "MPLS_IN_IP", 0x8847, 8
        if port == 4754:
            name, carries, at = generic(payload[8:])
            return name, carries, at + 8
        if port == 6081:
            first, second, carries, reserved = struct.unpack(">BBH3xB", head)
            if first < 64 and not second & 0x3F and not reserved and carries in (0x6558, 0x0800, 0x86DD):
                return "GENEVE", carries, 16 + 4 * first
        if port in (4789, 4790, 8472) and head[7] == 0:
            policy = head[0] == 0x88 and head[1] & ~0x48 == 0
            carried: dict[bytes, object] = {b"\x08\0\0\0": ETHERNET, b"\x0c\0\0\3": ETHERNET}
            carried |= {b"\x0c\0\0\1": 0x0800, b"\x0c\0\0\2": 0x86DD}
            if policy or head[:4] in carried:
                return "VXLAN", carried.get(head[:4], ETHERNET), 16
    return "", None, 0


def generic(payload: bytes) -> tuple[str, object, int]:
    """GRE."""
    if len(payload) < 4:
        return "", None, 0
    first, second, carries = struct.unpack_from(">BBH", payload)
    checksum, routing, key, sequence = (bool(first & bit) for bit in (0x80, 0x40, 0x20, 0x10))
    if second & 7 == 1:
        if carries == PPP and key and sequence:
            return "GRE", PPP, 16 if second & 0x80 else 12
        return "", None, 0
    if second & 7 or routing:
        return "", None, 0
    at = 4 + 4 * (checksum + key + sequence)
    if carries in (0x0800, 0x86DD, ETHERNET, *MPLS, PPP):
        return "GRE", carries, at
    if carries == 0x88BE:
        return "ERSPAN", ETHERNET, at + 8 * sequence
    if carries == 0x22EB and len(payload) >= at + 12:
        inside = {0: ETHERNET, 2: IP}.get(payload[at + 10] >> 2 & 31)
        if inside is not None:
            return "ERSPAN", inside, at + (20 if payload[at + 11] & 1 else 12)
    return "", None, 0


def seen_in(packet: dpkt.Packet, src: str, dst: str, protocol: int, size: int) -> Seen:
    ports = (0, 0)
    if protocol in (6, 17, 132):
        if not isinstance(packet.data, PORTS):
            raise Stop("TRUNCATED")
        ports = packet.data.sport, packet.data.dport
    return Seen(src, dst, protocol, *ports, size)
