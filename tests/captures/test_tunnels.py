"""Tunnels: the inner flow is the flow, who carried it is counted, and what only looks like a tunnel is not opened."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.flows import address_text
from analyzers.kernels.capture_files import CaptureReader
from analyzers.kernels.frames import PacketBatch
from analyzers.kernels.jit import JIT
from captures.kernel import array, guarded, outcomes, read, row
from captures.twin import Record, Seen, Twin, harmless_dpkt
from captures.writing import Packet, ethernet, ipv4, pcap, udp

DATAGRAM = ipv4(1, 2, 17, udp(5000, 53, b"abcd"))
SEEN = Seen("10.0.0.1", "10.0.0.2", 17, 5000, 53, 32)
FRAME = ethernet(DATAGRAM)
VXLAN = b"\x08\0\0\0\0\0\x2a\0"
GENEVE = b"\0\0\x65\x58\0\0\x2a\0"
IPV6_HEAD = bytes([0x60, 0, 0, 0, 0, 32, 4, 64]) + bytes(15) + b"\1" + bytes(15) + b"\2"


def gre(carries: int, flags: int = 0, words: int = 0) -> bytes:
    return struct.pack(">HH", flags, carries) + bytes(4 * words)


def outside(protocol: int, payload: bytes) -> bytes:
    return ethernet(ipv4(8, 9, protocol, payload))


ERSPAN3 = gre(0x22EB, 0x1000, 1) + b"\x20"

# Name -> frame, link type, the tunnel (its outer ends are 10.0.0.8 and 10.0.0.9, or none).
TUNNELS: dict[str, tuple[bytes, int, str | None]] = {
    "vxlan": (outside(17, udp(49152, 4789, VXLAN + FRAME)), 1, "VXLAN"),
    "vxlan on its old port": (outside(17, udp(49152, 8472, VXLAN + FRAME)), 1, "VXLAN"),
    "vxlan with a group policy": (outside(17, udp(49152, 4789, b"\x88\x40\0\x07\0\0\x2a\0" + FRAME)), 1, "VXLAN"),
    "vxlan that tells what it carries": (outside(17, udp(4790, 4790, b"\x0c\0\0\1\0\0\x2a\0" + DATAGRAM)), 1, "VXLAN"),
    "vxlan that tells, on the usual port": (outside(17, udp(1, 4789, b"\x0c\0\0\3\0\0\x2a\0" + FRAME)), 1, "VXLAN"),
    "vxlan around a tag": (outside(17, udp(49152, 4789, VXLAN + ethernet(DATAGRAM, tags=[0x8100]))), 1, "VXLAN"),
    "geneve": (outside(17, udp(49152, 6081, GENEVE + FRAME)), 1, "Geneve"),
    "geneve with options": (outside(17, udp(49152, 6081, b"\x02" + GENEVE[1:] + bytes(8) + FRAME)), 1, "Geneve"),
    "geneve around ip": (outside(17, udp(49152, 6081, b"\0\0\x08\0\0\0\x2a\0" + DATAGRAM)), 1, "Geneve"),
    "gre": (outside(47, gre(0x0800) + DATAGRAM), 1, "GRE"),
    "nvgre": (outside(47, gre(0x6558, 0x2000, 1) + FRAME), 1, "GRE"),
    "gre with everything": (outside(47, gre(0x0800, 0xB000, 3) + DATAGRAM), 1, "GRE"),
    "gre around mpls": (outside(47, gre(0x8847) + b"\0\1\x01\x40" + DATAGRAM), 1, "GRE"),
    "gre in udp": (outside(17, udp(49152, 4754, gre(0x0800) + DATAGRAM)), 1, "GRE"),
    "pptp": (outside(47, gre(0x880B, 0x3081, 3) + b"\xff\x03\0\x21" + DATAGRAM), 1, "GRE"),
    "erspan i": (outside(47, gre(0x88BE) + FRAME), 1, "ERSPAN"),
    "erspan ii": (outside(47, gre(0x88BE, 0x1000, 1) + b"\x10" + bytes(7) + FRAME), 1, "ERSPAN"),
    "erspan iii": (outside(47, gre(0x22EB, 0x1000, 1) + b"\x20" + bytes(11) + FRAME), 1, "ERSPAN"),
    "erspan iii, more": (outside(47, ERSPAN3 + bytes(10) + b"\1" + bytes(8) + FRAME), 1, "ERSPAN"),
    "erspan iii around ip": (outside(47, ERSPAN3 + bytes(9) + b"\x08\0" + DATAGRAM), 1, "ERSPAN"),
    "4 in 4": (outside(4, DATAGRAM), 1, "IP in IP"),
    "mpls in ip": (outside(137, b"\0\1\x01\x40" + DATAGRAM), 1, "MPLS in IP"),
    "mpls in udp": (outside(17, udp(49152, 6635, b"\0\1\0\x40\0\2\x01\x40" + DATAGRAM)), 1, "MPLS in IP"),
    "mpls": (ethernet(b"\0\1\0\x40\0\2\x01\x40" + DATAGRAM, 0x8847), 1, None),
    "ethernet over mpls": (ethernet(b"\0\1\x01\x40\0\0\0\0" + FRAME, 0x8847), 1, None),
    "pppoe": (ethernet(b"\x11\0\0\1\0\x22\0\x21" + DATAGRAM, 0x8864), 1, None),
    "ppp": (b"\xff\x03\0\x21" + DATAGRAM, 9, None),
    "ppp, compressed": (b"\x21" + DATAGRAM, 9, None),
    "ppp in hdlc": (b"\xff\x03\0\x21" + DATAGRAM, 50, None),
    "cisco hdlc": (b"\x0f\0\x08\0" + DATAGRAM, 104, None),
    "pppoe link": (b"\x11\0\0\1\0\x22\0\x21" + DATAGRAM, 51, None),
    "802.11": (b"\x08\0" + bytes(22) + b"\xaa\xaa\x03\0\0\0\x08\0" + DATAGRAM, 105, None),
    "802.11 with quality of service": (b"\x88\0" + bytes(24) + b"\xaa\xaa\x03\0\0\0\x08\0" + DATAGRAM, 105, None),
    "radiotap": (b"\0\0\x0a\0" + bytes(6) + b"\x08\0" + bytes(22) + b"\xaa\xaa\x03\0\0\0\x08\0" + DATAGRAM, 127, None),
    "ppi": (b"\0\0\x0c\0\x65\0\0\0" + bytes(4) + DATAGRAM, 192, None),
    "netfilter log": (b"\2\0\0\0\6\0\1\0aa\0\0\x24\0\x09\0" + DATAGRAM, 239, None),
    "packet filter log": (b"\x3d\2" + bytes(62) + DATAGRAM, 117, None),
    "openbsd encapsulation": (b"\2\0\0\0" + bytes(8) + DATAGRAM, 109, None),
    "fddi": (bytes(13) + b"\xaa\xaa\x03\0\0\0\x08\0" + DATAGRAM, 10, None),
    "infiniband": (bytes(40) + b"\x08\0\0\0" + DATAGRAM, 242, None),
    "backbone bridge": (ethernet(bytes(4) + FRAME, 0x88E7), 1, None),
    "fabric path": (ethernet(bytes(2) + FRAME, 0x8903), 1, None),
    "vn tag": (ethernet(bytes(4) + b"\x08\0" + DATAGRAM, 0x8926), 1, None),
}  # fmt: skip


def see(
    frame: bytes, link_type: int = 1, *, outer: bool = False, wire: int | None = None
) -> tuple[Seen | str, CaptureReader]:
    reader = CaptureReader(array(pcap([Packet(frame, wire=wire)], link_type)), "x", outer=outer)
    batch = PacketBatch.allocate(4)
    if reader.next_batch(batch):
        assert not reader.counts()
        return row(batch, 0)[0], reader
    ((reason, _),) = reader.counts().items()
    return reason, reader


def carriers(reader: CaptureReader) -> list[tuple[str, str, str, int]]:
    return [(c.tunnel.text, c.one, c.other, c.packets) for c in reader.carriers()]


@pytest.mark.parametrize("name", sorted(TUNNELS))
def test_the_inner_flow_is_the_flow(name: str) -> None:
    frame, link_type, tunnel = TUNNELS[name]
    seen, reader = see(frame, link_type)
    assert seen == SEEN
    pairs = [entry for entry in carriers(reader) if entry[1]]
    assert pairs == ([(tunnel, "10.0.0.8", "10.0.0.9", 1)] if tunnel else [])


@pytest.mark.parametrize("name", sorted(name for name, case in TUNNELS.items() if case[2]))
def test_the_outer_flow_is_kept_when_it_is_asked_for(name: str) -> None:
    seen, reader = see(*TUNNELS[name][:2], outer=True)
    assert isinstance(seen, Seen) and (seen.src, seen.dst) == ("10.0.0.8", "10.0.0.9")
    assert carriers(reader) == []


@pytest.mark.parametrize("name", sorted(TUNNELS))
def test_a_cut_tunnel_is_never_completed_with_bytes_from_behind_it(name: str) -> None:
    frame, link_type, _ = TUNNELS[name]
    for end in range(len(frame)):
        data = pcap([Packet(frame[:end], wire=len(frame))], link_type)
        (found, reader), (again, other) = guarded(data, 0x00), guarded(data, 0xFF)
        assert (found, reader.counts()) == (again, other.counts()), end
        # cut before what tells that it is a tunnel, only the outer packet is there
        assert [seen for seen, _, _ in found if seen != SEEN and (seen.src, seen.dst) != ("10.0.0.8", "10.0.0.9")] == []


@settings(deadline=None, max_examples=400 if JIT else 60)
@given(st.sampled_from(sorted(TUNNELS)), st.data())
def test_damaged_tunnels_are_what_the_twin_says(name: str, data: st.DataObject) -> None:
    frame, link_type, _ = TUNNELS[name]
    damaged = bytearray(frame)
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(0, len(frame)))] if data.draw(st.booleans()) else damaged)
    file = pcap([Packet(cut, wire=len(frame))], link_type)
    (found, reader), (again, other) = guarded(file, 0x00), guarded(file, 0xFF)
    assert (found, reader.counts()) == (again, other.counts()), "depends on what is outside"
    ((_, _, kernel),) = outcomes(file)
    with harmless_dpkt():
        expected = Twin().decode(Record(cut, len(frame), link_type, 1_700_000_000, 24))
    # dpkt wants whole headers before it tells anything about them, and calls every one that it cannot parse cut
    if kernel == "TRUNCATED":
        assert not isinstance(expected, Seen)
    elif expected != "TRUNCATED":
        assert kernel == expected


def test_a_port_alone_makes_no_tunnel() -> None:
    """A name server's answer to a client that happened to ask from VXLAN's port."""
    answer = bytes.fromhex("0a1b8180000100010000000003777777") + bytes(40)
    for port in (4789, 8472, 6081, 4754):
        seen, reader = see(ethernet(ipv4(8, 9, 17, udp(53, port, answer))))
        assert seen == Seen("10.0.0.8", "10.0.0.9", 17, 53, port, 28 + len(answer))
        assert carriers(reader) == []
    seen, _ = see(ethernet(ipv4(8, 9, 17, udp(4789, 4788, VXLAN + FRAME))))
    assert isinstance(seen, Seen) and (seen.src, seen.dport) == ("10.0.0.8", 4788)


UNREADABLE_GRE = {
    "source routes": gre(0x0800, 0x4000, 1) + DATAGRAM,
    "a version of the future": gre(0x0800, 0x0002) + DATAGRAM,
    "frame relay": gre(0x6559) + DATAGRAM,
    "keepalive": gre(0),
    "an acknowledgement of pptp": gre(0x880B, 0x2081, 2),
    "no header": b"\0\0",
}


@pytest.mark.parametrize("name", sorted(UNREADABLE_GRE))
def test_what_carries_nothing_readable_is_a_flow_itself(name: str) -> None:
    seen, reader = see(outside(47, UNREADABLE_GRE[name]))
    assert isinstance(seen, Seen) and (seen.src, seen.protocol) == ("10.0.0.8", 47)
    assert carriers(reader) == []


def test_what_is_not_ip_inside_is_counted_with_its_reason() -> None:
    arp = ethernet(bytes(28), 0x0806)
    reason, reader = see(outside(17, udp(49152, 4789, VXLAN + arp)))
    assert reason == "not IP: ARP or RARP"
    assert carriers(reader) == [("VXLAN", "10.0.0.8", "10.0.0.9", 1)]


def test_tunnels_inside_one_another_end_somewhere() -> None:
    for depth in range(1, 12):
        packet = DATAGRAM
        for _ in range(depth):
            packet = ipv4(8, 9, 4, packet)
        seen, _ = see(packet, 101)
        assert seen == (SEEN if depth <= 8 else "more than 8 tunnels inside one another, or 32 layers"), depth
    labels = b"\0\1\0\x40" * 15 + b"\0\1\x01\x40"
    deep = b"".join([ethernet(labels + bytes(4), 0x8847)] * 20)
    assert see(deep + FRAME)[0] == "more than 8 tunnels inside one another, or 32 layers"


def test_tunnels_of_every_kind_inside_one_another() -> None:
    packet = ipv4(1, 2, 17, udp(49152, 6081, GENEVE + ethernet(ipv4(3, 4, 47, gre(0x0800) + DATAGRAM))))
    seen, reader = see(ethernet(packet))
    assert seen == SEEN
    assert carriers(reader) == [("Geneve", "10.0.0.1", "10.0.0.2", 1), ("GRE", "10.0.0.3", "10.0.0.4", 1)]


def test_both_ways_of_a_tunnel_are_one_pair() -> None:
    there, back = ipv4(8, 9, 4, DATAGRAM), ipv4(9, 8, 4, DATAGRAM)
    reader = CaptureReader(array(pcap([Packet(there), Packet(back), Packet(there)], 101)), "x")
    assert reader.next_batch(PacketBatch.allocate(8)) == 3
    assert carriers(reader) == [("IP in IP", "10.0.0.8", "10.0.0.9", 3)]


def test_6_in_4_and_4_in_6() -> None:
    six = bytes([0x60, 0, 0, 0, 0, 8, 17, 64]) + bytes(15) + b"\3" + bytes(15) + b"\4" + udp(7, 8)
    assert see(ipv4(8, 9, 41, six), 101)[0] == Seen("::3", "::4", 17, 7, 8, 48)
    seen, reader = see(IPV6_HEAD + DATAGRAM, 101)
    assert seen == SEEN
    assert carriers(reader) == [("IP in IP", "::1", "::2", 1)]


def test_a_fragmented_tunnel_is_what_its_first_fragment_carries() -> None:
    whole = udp(49152, 4789, VXLAN + FRAME + bytes(40))
    first = ipv4(8, 9, 17, whole[:72], fragment=0x2000)
    later = ipv4(8, 9, 17, whole[72:], fragment=9)
    found, reader = read(pcap([Packet(ethernet(first)), Packet(ethernet(later))]))
    assert [(seen.src, seen.dst, seen.sport, seen.dport) for seen, _, _ in found] == [
        ("10.0.0.1", "10.0.0.2", 5000, 53)
    ] * 2
    assert found[1][0].size == len(later)
    assert carriers(reader) == [("VXLAN", "10.0.0.8", "10.0.0.9", 1)]


def test_a_first_fragment_that_could_not_be_read_gives_nothing_to_the_later_ones() -> None:
    first = ipv4(8, 9, 17, udp(49152, 4789, VXLAN + ethernet(bytes(40), 0x0806)), fragment=0x2000)
    later = ipv4(8, 9, 17, bytes(16), fragment=9)
    found, reader = read(pcap([Packet(ethernet(first)), Packet(ethernet(later))]))
    assert found == []
    assert sorted(count for count, _ in reader.counts().values()) == [1, 1]


def test_more_pairs_than_are_told_apart_are_counted_together() -> None:
    frames = [
        Packet(ipv4(8, 9, 4, DATAGRAM)[:12] + struct.pack(">II", 0x0A000000 + i, 0x0B000000) + DATAGRAM)
        for i in range(8192 + 5)
    ]
    reader = CaptureReader(array(pcap(frames, 101)), "x")
    batch, packets = PacketBatch.allocate(1024), 0
    while count := reader.next_batch(batch):
        packets += count
    found = reader.carriers()
    assert packets == 8192 + 5
    assert len([c for c in found if c.one]) == 8192
    assert sum(c.packets for c in found) == 8192 + 5
    assert np.array_equal([c.packets for c in found if not c.one], [5])
    assert address_text(0, 0xFFFF0A000000) in {c.one for c in found}
