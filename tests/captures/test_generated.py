"""Captures made of frames that scapy builds: the kernels see exactly what was asked for."""

from __future__ import annotations

import logging
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

logging.getLogger("scapy").setLevel(logging.ERROR)  # it warns about missing routes

from scapy.layers import inet6  # noqa: E402
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption  # noqa: E402
from scapy.layers.l2 import CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Ether, Loopback  # noqa: E402
from scapy.layers.sctp import SCTP, SCTPChunkData, SCTPChunkInit, SCTPChunkInitAck  # noqa: E402
from scapy.packet import Packet as Layer  # noqa: E402
from scapy.packet import Raw  # noqa: E402

from analyzers.kernels.frames import ANSWER, ASK, ERROR, SCTP_INIT, SCTP_INIT_ACK  # noqa: E402
from captures.kernel import Timed, read, read_in_windows  # noqa: E402
from captures.twin import Seen  # noqa: E402
from captures.writing import Interface, Packet, pcap, pcapng_section  # noqa: E402

LINKS = (0, 1, 12, 14, 101, 108, 113, 228, 229, 276)
port = st.integers(0, 65535)
address6 = st.ip_addresses(v=6).filter(lambda address: address.ipv4_mapped is None).map(str)
filler = st.binary(max_size=12).map(Raw)


@st.composite
def transports(draw: st.DrawFn, version: int) -> tuple[Layer, int, int, int, int]:
    """A transport header with its payload -> layer, protocol, ports, flags."""
    kind = draw(st.sampled_from(["tcp", "udp", "sctp", "icmp", "other"]))
    sport, dport = draw(port), draw(port)
    if kind == "tcp":
        flags = draw(st.integers(0, 255))
        return TCP(sport=sport, dport=dport, flags=flags) / draw(filler), 6, sport, dport, flags
    if kind == "udp":
        return UDP(sport=sport, dport=dport) / draw(filler), 17, sport, dport, 0
    if kind == "sctp":
        chunks = [(SCTPChunkInit(), SCTP_INIT), (SCTPChunkInitAck(), SCTP_INIT_ACK), (SCTPChunkData(data=b"x"), 0)]
        chunk, flags = draw(st.sampled_from(chunks))
        return SCTP(sport=sport, dport=dport) / chunk, 132, sport, dport, flags
    if kind == "icmp" and version == 4:
        message, flags = draw(st.sampled_from([(8, ASK), (0, ANSWER), (3, ERROR), (13, ASK), (14, ANSWER), (40, 0)]))
        return ICMP(type=message) / draw(filler), 1, 0, 0, flags
    if kind == "icmp":
        messages = [(128, ASK), (129, ANSWER), (1, ERROR), (2, ERROR), (135, ASK), (136, ANSWER), (200, 0)]
        message, flags = draw(st.sampled_from(messages))
        return Raw(bytes([message, 0, 0, 0])) / draw(filler), 58, 0, 0, flags
    return draw(filler), 103, 0, 0, 0


@st.composite
def extensions(draw: st.DrawFn) -> list[Layer]:
    options = [inet6.HBHOptUnknown(otype=30, optdata=draw(st.binary(max_size=9)))]
    made = {
        "hop": inet6.IPv6ExtHdrHopByHop(options=options),
        "destination": inet6.IPv6ExtHdrDestOpt(options=options),
        "routing": inet6.IPv6ExtHdrRouting(addresses=["2001:db8::99"] * draw(st.integers(0, 3))),
        "fragment": inet6.IPv6ExtHdrFragment(m=1, offset=0, id=7),
    }
    names = draw(st.lists(st.sampled_from(["hop", "destination", "routing", "fragment"]), max_size=6))
    return [made[name].copy() for name in names]


@st.composite
def ip_packets(draw: st.DrawFn, versions: tuple[int, ...] = (4, 6)) -> tuple[Layer, Seen, int]:
    """An IP packet, what is to be seen of it, its flags."""
    version = draw(st.sampled_from(versions))
    layer, protocol, sport, dport, flags = draw(transports(version))
    if version == 4:
        src, dst = (str(a) for a in draw(st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4))))
        padding = [IPOption(b"\x01\x01\x01\x01" * draw(st.integers(0, 10)))]
        packet = IP(src=src, dst=dst, proto=protocol, options=padding, flags=draw(st.sampled_from(["", "DF", "MF"])))
        packet = packet / layer
    else:
        src, dst = draw(address6), draw(address6)
        packet = inet6.IPv6(src=src, dst=dst)
        for header in draw(extensions()):
            packet = packet / header
        packet.lastlayer().nh = protocol
        packet = packet / layer
    return packet, Seen(src, dst, protocol, sport, dport, len(bytes(packet))), flags


def framed(draw: st.DrawFn, packet: Layer, link_type: int) -> bytes:
    """The IP packet behind the link header, padded as Ethernet does it."""
    version = 6 if isinstance(packet, inet6.IPv6) else 4
    if link_type == 1:
        frame = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
        for tag in draw(st.lists(st.sampled_from([Dot1Q, Dot1AD]), max_size=8)):
            frame = frame / tag(vlan=draw(st.integers(0, 4095)))
        return bytes(frame / packet) + bytes(draw(st.integers(0, 18)))
    if link_type == 113:
        return bytes(CookedLinux() / packet)
    if link_type == 276:
        return bytes(CookedLinuxV2() / packet)
    if link_type == 0:
        family = 2 if version == 4 else draw(st.sampled_from([10, 24, 28, 30]))
        return struct.pack(draw(st.sampled_from("<>")) + "I", family) + bytes(packet)
    if link_type == 108:
        return struct.pack(">I", 2 if version == 4 else 24) + bytes(packet)
    return bytes(packet)


@st.composite
def packets(draw: st.DrawFn, link_type: int, latest: int = 0xFFFFFFFF) -> tuple[Packet, Timed]:
    versions = {228: (4,), 229: (6,)}.get(link_type, (4, 6))
    packet, seen, flags = draw(ip_packets(versions))
    second = draw(st.integers(0, latest))
    return Packet(framed(draw, packet, link_type), second), (seen, flags, second)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_pcap_of_every_kind(data: st.DataObject) -> None:
    link_type = data.draw(st.sampled_from(LINKS))
    made = data.draw(st.lists(packets(link_type), max_size=4))
    file = pcap(
        [packet for packet, _ in made],
        link_type | data.draw(st.sampled_from([0, 0x14000000])),  # the upper bits tell of a frame checksum
        data.draw(st.sampled_from("<>")),
        data.draw(st.sampled_from(["micro", "nano"])),
    )
    found, reader = read(file, capacity=data.draw(st.integers(1, 4)))
    assert found == [expected for _, expected in made]
    assert (reader.counts(), reader.damage, reader.packets) == ({}, None, len(made))
    assert read_in_windows(file, data.draw(st.integers(24, 400)))[0] == found


interfaces = st.builds(
    Interface,
    st.sampled_from(LINKS),
    st.sampled_from([None, 0, 3, 6, 9, 128, 128 + 10, 128 + 30]),
    st.integers(-1_000_000, 1_000_000),
)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_pcapng_with_sections_and_interfaces(data: st.DataObject) -> None:
    file, expected = b"", []
    for _ in range(data.draw(st.integers(1, 3))):
        described = data.draw(st.lists(interfaces, min_size=1, max_size=3))
        made = []
        for _ in range(data.draw(st.integers(0, 3))):
            number = data.draw(st.integers(0, len(described) - 1))
            packet, timed = data.draw(packets(described[number].link_type, latest=1 << 33))
            later = packet.second + 2_000_000  # so that no clock has to run backwards from 1970
            made.append((Packet(packet.frame, later, number), data.draw(st.sampled_from([2, 6]))))
            expected.append((timed[0], timed[1], later))
        file += pcapng_section(made, described, data.draw(st.sampled_from("<>")), data.draw(st.booleans()))
    found, reader = read(file, capacity=data.draw(st.integers(1, 4)))
    assert found == expected
    assert (reader.counts(), reader.notes(), reader.damage) == ({}, {}, None)
    windowed, reader = read_in_windows(file, data.draw(st.integers(24, 400)))
    assert (windowed, reader.damage, reader.packets) == (expected, None, len(expected))


def test_scapys_loopback_is_read() -> None:
    frame = bytes(Loopback(type=2) / IP(src="127.0.0.1", dst="127.0.0.2") / UDP(sport=5, dport=6))
    ((seen, _, _),) = read(pcap([Packet(frame)], 0))[0]
    assert seen == Seen("127.0.0.1", "127.0.0.2", 17, 5, 6, 28)


@pytest.mark.parametrize("size", [1, 40, 2000])
def test_later_fragments_get_the_ports_of_the_first(size: int) -> None:
    from scapy.layers.inet import fragment

    whole = IP(src="10.0.0.1", dst="10.0.0.2", id=77) / UDP(sport=1000, dport=53) / Raw(bytes(size))
    parts = [Packet(bytes(Ether() / part)) for part in fragment(whole, fragsize=800)]
    found, reader = read(pcap(parts))
    assert [(seen.sport, seen.dport) for seen, _, _ in found] == [(1000, 53)] * len(parts)
    assert sum(seen.size for seen, _, _ in found) == 28 + size + 20 * (len(parts) - 1)
    assert not reader.counts()


@pytest.mark.parametrize(
    ("number", "host", "late"), [(78, "10.0.0.2", 0), (77, "10.0.0.3", 0), (77, "10.0.0.2", 31), (77, "10.0.0.2", -1)]
)
def test_a_fragment_of_another_packet_gets_nothing(number: int, host: str, late: int) -> None:
    first = IP(src="10.0.0.1", dst="10.0.0.2", id=77, flags="MF") / UDP(sport=1000, dport=53) / Raw(bytes(24))
    later = IP(src="10.0.0.1", dst=host, id=number, frag=4, proto=17) / Raw(bytes(8))
    found, reader = read(pcap([Packet(bytes(Ether() / first), 100), Packet(bytes(Ether() / later), 100 + late)]))
    assert [seen.dport for seen, _, _ in found] == [53]
    ((reason, (count, _)),) = reader.counts().items()
    assert reason.startswith("later IP fragment whose first") and count == 1


def test_fragments_of_ipv6_are_known_by_their_number_alone() -> None:
    """RFC 8200, 4.5: the next header of the first fragment may be another one than that of the others."""
    address = {"src": "2001:db8::1", "dst": "2001:db8::2"}
    fragment, option = inet6.IPv6ExtHdrFragment, inet6.IPv6ExtHdrDestOpt
    first = inet6.IPv6(**address) / fragment(id=9, m=1, nh=60) / option(nh=17) / UDP(sport=7, dport=8) / Raw(bytes(8))
    later = inet6.IPv6(**address) / fragment(id=9, offset=3, nh=17) / Raw(bytes(8))
    found, reader = read(pcap([Packet(bytes(part)) for part in (first, later)], 101))
    assert [(seen.protocol, seen.sport, seen.dport) for seen, _, _ in found] == [(17, 7, 8)] * 2
    assert not reader.counts()
