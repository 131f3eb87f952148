"""Capture files made byte by byte, for tests: pcap of every kind, pcapng with sections, interfaces and odd blocks."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

PCAP_MAGICS = {"micro": 0xA1B2C3D4, "nano": 0xA1B23C4D}


@dataclass(frozen=True)
class Interface:
    """`resolution`: if_tsresol as it is in the file; None: left out, which means microseconds."""

    link_type: int = 1
    resolution: int | None = None
    offset: int = 0
    snaplen: int = 0

    @property
    def ticks(self) -> int:
        """Clock ticks a second."""
        if self.resolution is None:
            return 1_000_000
        return int((2 if self.resolution & 128 else 10) ** (self.resolution & 127))


@dataclass(frozen=True)
class Packet:
    """A frame, when it was seen (whole seconds UTC) and on which interface. `wire`: None: nothing was cut."""

    frame: bytes
    second: int = 1_700_000_000
    interface: int = 0
    wire: int | None = None

    @property
    def length(self) -> int:
        return len(self.frame) if self.wire is None else self.wire


def pcap(packets: Sequence[Packet], link_type: int = 1, order: str = "<", clock: str = "micro") -> bytes:
    """A pcap file; the fraction of every second is as large as it can be."""
    out = [struct.pack(order + "IHHiIII", PCAP_MAGICS[clock], 2, 4, 0, 0, 262144, link_type)]
    fraction = 999_999 if clock == "micro" else 999_999_999
    for packet in packets:
        out.append(struct.pack(order + "IIII", packet.second, fraction, len(packet.frame), packet.length))
        out.append(packet.frame)
    return b"".join(out)


def block(kind: int, body: bytes, order: str) -> bytes:
    """A pcapng block, padded."""
    body += bytes(-len(body) % 4)
    total = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + total + body + total


def option(code: int, value: bytes, order: str) -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def section_header(order: str) -> bytes:
    body = struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1) + option(3, b"any system", order) + option(0, b"", order)
    return block(0x0A0D0D0A, body, order)


def interface_block(interface: Interface, order: str) -> bytes:
    body = struct.pack(order + "HHI", interface.link_type, 0, interface.snaplen) + option(2, b"eth0", order)
    if interface.resolution is not None:
        body += option(9, bytes([interface.resolution]), order)
    if interface.offset:
        body += option(14, struct.pack(order + "q", interface.offset), order)
    return block(1, body + option(0, b"", order), order)


def packet_block(packet: Packet, interface: Interface, order: str, kind: int = 6) -> bytes:
    """An enhanced (6), obsolete (2) or simple (3) packet block; the last tick of the packet's second."""
    if kind == 3:
        return block(3, struct.pack(order + "I", packet.length) + packet.frame, order)
    stamp = (packet.second - interface.offset) * interface.ticks + interface.ticks - 1
    head = struct.pack(order + "I", packet.interface) if kind == 6 else struct.pack(order + "HH", packet.interface, 7)
    head += struct.pack(order + "IIII", stamp >> 32, stamp & 0xFFFFFFFF, len(packet.frame), packet.length)
    padded = packet.frame + bytes(-len(packet.frame) % 4)
    return block(kind, head + padded + option(1, b"a comment", order) + option(0, b"", order), order)


def pcapng_section(
    packets: Sequence[tuple[Packet, int]], interfaces: Sequence[Interface], order: str = "<", noise: bool = True
) -> bytes:
    """A section: packets with the kind of their block; `noise`: blocks of no interest between them."""
    out = [section_header(order), *(interface_block(interface, order) for interface in interfaces)]
    for i, (packet, kind) in enumerate(packets):
        if noise:
            out.append(block(5 if i % 2 else 0x0BAD, bytes(4 * i), order))
        out.append(packet_block(packet, interfaces[packet.interface], order, kind))
    return b"".join(out)


def pcapng(packets: Sequence[Packet], order: str = "<", interface: Interface | None = None) -> bytes:
    """One section, one interface, enhanced packet blocks."""
    return pcapng_section([(packet, 6) for packet in packets], [interface or Interface()], order)


def ipv4(src: int, dst: int, protocol: int, payload: bytes, *, total: int | None = None, fragment: int = 0) -> bytes:
    """An IPv4 packet without options; addresses 10.0.0.`src`, 10.0.0.`dst`; checksums are nobody's business here."""
    total = 20 + len(payload) if total is None else total
    head = struct.pack(">BBHHHBBH", 0x45, 0, total, 1, fragment, 64, protocol, 0)
    return head + bytes([10, 0, 0, src, 10, 0, 0, dst]) + payload


def ethernet(payload: bytes, ethertype: int = 0x0800, tags: Sequence[int] = ()) -> bytes:
    """An Ethernet frame; `tags`: ethertypes of the VLAN tags around it, outermost first."""
    out = bytes(12)
    for tag in tags:
        out += struct.pack(">HH", tag, 42)
    return out + struct.pack(">H", ethertype) + payload


def udp(sport: int, dport: int, payload: bytes = b"") -> bytes:
    return struct.pack(">HHHH", sport, dport, 8 + len(payload), 0) + payload
