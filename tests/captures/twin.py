"""The slow, obvious twin of the capture kernels: own record reading in plain Python, frames by dpkt.

dpkt decapsulates tunnels and has looped on crafted GRE and SCTP; it is let loose only on the protocols that are
compared, and what it cannot parse is a reason, not an error.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import dpkt

MPLS, PPPOE, MACSEC = (0x8847, 0x8848), (0x8863, 0x8864), (0x88E5,)
ARP = (0x0806, 0x8035)
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


def decode(record: Record) -> Seen | str:
    """One record by dpkt: what is in it, or the name of the kernel's status for it."""
    try:
        found = _link(record)
    except (dpkt.UnpackError, struct.error, IndexError):
        return "TRUNCATED"
    if isinstance(found, str):
        return found
    layer, header = found
    room = max(record.wire, len(record.frame)) - header
    if isinstance(layer, dpkt.ip.IP):
        return _ipv4(layer, room)
    return _ipv6(layer, room)


def _link(record: Record) -> tuple[dpkt.Packet, int] | str:
    """The outermost IP packet and how long the header before it is; or the reason why there is none."""
    frame, link_type = record.frame, record.link_type
    if link_type == 1:
        return _ethernet(frame)
    if link_type in (0, 108):
        loop = dpkt.loopback.Loopback(frame)
        return (loop.data, 4) if loop.family in (2, 24, 28, 30) else "NON_IP"
    if link_type in (12, 14, 101):
        if not frame:
            return "TRUNCATED"
        version = frame[0] >> 4
        if version not in (4, 6):
            return "MALFORMED"
        return (dpkt.ip.IP(frame) if version == 4 else dpkt.ip6.IP6(frame)), 0
    if link_type in (228, 229):
        return (dpkt.ip.IP(frame) if link_type == 228 else dpkt.ip6.IP6(frame)), 0
    if link_type in (113, 276):
        cooked = dpkt.sll.SLL(frame) if link_type == 113 else dpkt.sll2.SLL2(frame)
        return _by_ethertype(cooked.ethtype, cooked.data, cooked.__hdr_len__)
    return "LINK_TYPE"


def _ethernet(frame: bytes) -> tuple[dpkt.Packet, int] | str:
    packet = dpkt.ethernet.Ethernet(frame)
    tags = getattr(packet, "vlan_tags", [])
    ethertype = tags[-1].type if tags else packet.type
    return _by_ethertype(ethertype, packet.data, 14 + 4 * len(tags))


def _by_ethertype(ethertype: int, layer: object, header: int) -> tuple[dpkt.Packet, int] | str:
    if ethertype in ARP:
        return "ARP"
    if ethertype in MPLS:
        return "MPLS"
    if ethertype in PPPOE:
        return "PPPOE"
    if ethertype in MACSEC:
        return "MACSEC"
    if ethertype < 1536:
        return "LLC"
    if ethertype not in (0x0800, 0x86DD):
        return "NON_IP"
    if not isinstance(layer, (dpkt.ip.IP, dpkt.ip6.IP6)):
        return "TRUNCATED"  # dpkt gave up on the header
    return layer, header


def _ipv4(packet: dpkt.ip.IP, room: int) -> Seen | str:
    if packet.v != 4 or packet.hl < 5:
        return "MALFORMED"
    if packet.offset:
        return "FRAGMENT"
    return _seen(packet, packet.p, packet.len or room)


def _ipv6(packet: dpkt.ip6.IP6, room: int) -> Seen | str:
    if packet.v != 6:
        return "MALFORMED"
    if any(getattr(header, "frag_off", 0) for header in packet.all_extension_headers):
        return "FRAGMENT"
    return _seen(packet, getattr(packet, "p", 50), packet.plen + 40 if packet.plen else room)


def _seen(packet: dpkt.Packet, protocol: int, size: int) -> Seen | str:
    ports = (0, 0)
    if protocol in (6, 17, 132):
        if not isinstance(packet.data, PORTS):
            return "TRUNCATED"
        ports = packet.data.sport, packet.data.dport
    src, dst = (str(ipaddress.ip_address(address)) for address in (packet.src, packet.dst))
    return Seen(src, dst, protocol, *ports, size)
