"""Damaged, hostile and cut captures: no exception, no byte from outside, nothing before the damage lost."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.kernels.capture_files import CaptureReader, NotACapture
from analyzers.kernels.jit import JIT
from captures.kernel import array, guarded, read, read_in_windows
from captures.twin import read_records
from captures.writing import (
    Interface,
    Packet,
    block,
    ethernet,
    interface_block,
    ipv4,
    packet_block,
    pcap,
    pcapng,
    pcapng_section,
    section_header,
    udp,
)

FRAMES = [ethernet(ipv4(1, 2, 17, udp(40000 + i, 53, bytes(i)))) for i in range(8)]
SIX = bytes([0x60, 0, 0, 0, 0, 16, 0, 64]) + bytes(15) + b"\1" + bytes(15) + b"\2" + bytes([17, 0]) + bytes(14)
PACKETS = [Packet(frame, 1_700_000_000 + i) for i, frame in enumerate([*FRAMES, ethernet(SIX, 0x86DD)])]
FILES = {
    "pcap": pcap(PACKETS),
    "pcap, big endian": pcap(PACKETS, order=">", clock="nano"),
    "pcapng": pcapng(PACKETS),
    "pcapng, sections": pcapng_section([(packet, 2) for packet in PACKETS[:4]], [Interface(1, 9)], ">")
    + pcapng_section([(packet, 3) for packet in PACKETS[4:]], [Interface(1)], "<"),
}
WHOLE = {name: read(data)[0] for name, data in FILES.items()}
BOUND = 4096  # more packets than any of the files can hold


@st.composite
def mangled(draw: st.DrawFn) -> tuple[str, bytes, int]:
    """A file, its damaged content, the first offset that is damaged."""
    name = draw(st.sampled_from(sorted(FILES)))
    data = bytearray(FILES[name])
    places = draw(st.lists(st.integers(24, len(data) - 4), min_size=1, max_size=4))
    for place in places:
        value = draw(
            st.one_of(
                st.binary(min_size=1, max_size=4),
                st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"]),
            )
        )
        data[place : place + len(value)] = value
    if draw(st.booleans()):
        cut = draw(st.integers(24, len(data)))
        places.append(cut)
        del data[cut:]
    return name, bytes(data), min(places)


@settings(deadline=None, max_examples=250 if JIT else 40)
@given(mangled(), st.integers(24, 300))
def test_damage_is_bounded_and_local(case: tuple[str, bytes, int], window: int) -> None:
    name, data, first = case
    found, reader = guarded(data, 0x00)
    assert reader.finished and len(found) < BOUND
    again, other = guarded(data, 0xFF)
    assert (again, other.counts(), other.damage) == (found, reader.counts(), reader.damage), (
        "depends on what is outside"
    )
    before = [packet for packet, end in zip(WHOLE[name], ends(name), strict=True) if end <= first]
    assert found[: len(before)] == before
    assert reader.packets == len(found) + sum(n for _, n in passed_over(reader))
    windowed, through = read_in_windows(data, window)
    assert (windowed, through.counts(), through.damage) == (found, reader.counts(), reader.damage)


def passed_over(reader: CaptureReader) -> list[tuple[str, int]]:
    """Skipped records by reason, without the damage that ended the file."""
    counts = reader.counts().items()
    damage = [reason for reason, _ in counts if reader.damage][-1:]
    return [(reason, n) for reason, (n, _) in counts if reason not in damage]


def ends(name: str) -> list[int]:
    """The offset behind each record of an undamaged file: where the next one begins."""
    data = FILES[name]
    return [*[record.offset for record in read_records(data)][1:], len(data)]


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_cut_is_told(name: str) -> None:
    data = FILES[name]
    boundaries = set() if name.startswith("pcapng") else {24, *ends(name)}
    for end in range(24, len(data), 1 if JIT else 13):
        found, reader = read(data[:end], name)
        assert found == WHOLE[name][: len(found)]
        if end in boundaries:
            assert reader.damage is None
        elif boundaries:
            ((reason, (count, offsets)),) = reader.counts().items()
            assert (reason, count) == ("cut mid-packet", 1)
            assert offsets == (max(boundary for boundary in boundaries if boundary < end),)
            assert reader.damage is not None and f"{name}: offset {offsets[0]}: " in reader.damage


def test_the_files_are_sound() -> None:
    for name, found in WHOLE.items():
        assert len(found) == len(PACKETS), name


def test_a_four_gigabyte_packet_stops_the_file() -> None:
    good = pcap(PACKETS[:3])
    found, reader = read(good + struct.pack("<IIII", 1, 0, 0xFFFFFFFF, 0xFFFFFFFF) + bytes(500), "big.pcap")
    assert found == WHOLE["pcap"][:3]
    assert reader.counts() == {"impossible captured length": (1, (len(good),))}
    assert reader.damage == (
        f"big.pcap: offset {len(good)}: a captured length of 4294967295 (at most 262144); "
        "the 3 packet records before it are read, nothing after it is"
    )


BLOCK_DAMAGE = {
    "no multiple of four": (struct.pack("<II", 6, 33) + bytes(40), "impossible pcapng block length"),
    "too short to be a block": (struct.pack("<II", 0x0BAD, 8) + bytes(40), "impossible pcapng block length"),
    "zero": (bytes(64), "impossible pcapng block length"),
    "four gigabytes": (struct.pack("<II", 6, 0xFFFFFFFC) + bytes(40), "impossible pcapng block length"),
    "four gigabytes of no interest": (struct.pack("<II", 0x0BAD, 0xFFFFFFFC) + bytes(40), "cut mid-packet"),
    "another length behind": (struct.pack("<II", 0x0BAD, 12) + struct.pack("<I", 16), "pcapng block lengths disagree"),
    "another length behind a packet": (
        packet_block(PACKETS[0], Interface(), "<")[:-4] + bytes(4),
        "pcapng block lengths disagree",
    ),
    "no byte order": (struct.pack("<III", 0x0A0D0D0A, 28, 0) + bytes(40), "unreadable pcapng section header"),
    "another version": (
        block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 2, 0, -1), "<"),
        "unreadable pcapng section header",
    ),
    "too many interfaces": (interface_block(Interface(), "<") * 65536, "too many pcapng interfaces"),
}


@pytest.mark.parametrize("name", sorted(BLOCK_DAMAGE))
def test_a_damaged_block_stops_the_file(name: str) -> None:
    bad, reason = BLOCK_DAMAGE[name]
    good = pcapng(PACKETS[:2])
    found, reader = read(good + bad + packet_block(PACKETS[2], Interface(), "<"))
    assert found == WHOLE["pcapng"][:2]
    offset = len(good) + (65535 * len(interface_block(Interface(), "<")) if name == "too many interfaces" else 0)
    assert reader.counts() == {reason: (1, (offset,))}


@pytest.mark.parametrize("excess", [1, 4, 100_000, 0xFFFF0000])
def test_a_packet_longer_than_its_block_costs_one_packet(excess: int) -> None:
    bad = bytearray(packet_block(PACKETS[0], Interface(), "<"))
    bad[20:24] = struct.pack("<I", len(bad) - 32 + excess)
    data = pcapng(PACKETS[:2])
    found, reader = read(data + bytes(bad) + packet_block(PACKETS[2], Interface(), "<"))
    assert found == WHOLE["pcapng"][:3]
    assert reader.counts() == {"packet longer than the pcapng block around it": (1, (len(data),))}
    assert reader.packets == 4


def test_a_packet_of_an_unknown_interface_costs_one_packet() -> None:
    head = section_header("<") + interface_block(Interface(), "<")
    stray = packet_block(Packet(FRAMES[0], interface=1), Interface(), "<")
    found, reader = read(head + stray + packet_block(PACKETS[0], Interface(), "<"))
    assert found == WHOLE["pcapng"][:1]
    reason = "packet of an interface that the pcapng section does not describe"
    assert reader.counts() == {reason: (1, (len(head),))}


def test_simple_packets_take_the_time_before_them() -> None:
    file = pcapng_section([(PACKETS[0], 3), (PACKETS[3], 6), (PACKETS[1], 3)], [Interface()])
    found, reader = read(file)
    assert [second for _, _, second in found] == [0, PACKETS[3].second, PACKETS[3].second]
    assert [count for count, _ in reader.notes().values()] == [2]
    assert reader.counts() == {}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty"),
        (b"2 123 eni-1 10.0.0.1", "it begins with 32 20 31 32 33 20 65 6e"),
        (pcap([])[:20], "cut inside the pcap file header, at offset 20 of 24"),
        (b"\x34\xcd\xb2\xa1" + bytes(40), "Kuznetzov"),
        (b"\xa1\xb2\xcd\x34" + bytes(40), "Kuznetzov"),
        (b"\x1f\x8b" + bytes(40), "gzip data: decompress it first"),
        (b"snoop\0\0\0" + bytes(40), "editcap -F pcap"),
        (pcap([])[:4] + struct.pack("<HH", 2, 2) + bytes(16), r"pcap version 2\.2 at offset 4"),
        (b"\x0a\x0d\x0d\x0a" + bytes(40), "without its byte-order mark: 00 00 00 00 at offset 8"),
        (b"\x0a\x0d\x0d\x0a", "without its byte-order mark: nothing at offset 8"),
    ],
)
def test_what_is_no_capture_is_refused_with_what_was_found(data: bytes, message: str) -> None:
    with pytest.raises(NotACapture, match=f"some/file: .*{message}"):
        CaptureReader(array(data), "some/file")


def test_a_window_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="uint8"):
        CaptureReader(np.zeros(100, np.int32), "x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="contiguous"):
        CaptureReader(np.zeros(100, np.uint8)[::2], "x")
