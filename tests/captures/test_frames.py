"""Corners of frame decoding that real captures seldom have, each with its answer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from captures.kernel import guarded, read
from captures.twin import Seen
from captures.writing import Packet, ethernet, ipv4, pcap, udp

DATAGRAM = ipv4(1, 2, 17, udp(5000, 53, b"abcd"))
SEEN = Seen("10.0.0.1", "10.0.0.2", 17, 5000, 53, 32)
SRC6, DST6 = bytes.fromhex("20010db8" + "0" * 23 + "1"), bytes.fromhex("20010db8" + "0" * 23 + "2")


def ipv6(following: int, payload: bytes, length: int | None = None, src: bytes = SRC6) -> bytes:
    length = len(payload) if length is None else length
    return bytes([0x60, 0, 0, 0]) + length.to_bytes(2, "big") + bytes([following, 64]) + src + DST6 + payload


def seen6(protocol: int, sport: int, dport: int, size: int) -> Seen:
    return Seen("2001:db8::1", "2001:db8::2", protocol, sport, dport, size)


def see(frame: bytes, link_type: int = 1, wire: int | None = None) -> Seen | str:
    """What becomes of one frame: the packet, or the beginning of the reason."""
    found, reader = read(pcap([Packet(frame, wire=wire)], link_type))
    assert reader.packets == 1
    if found:
        assert len(found) == 1 and not reader.counts()
        return found[0][0]
    ((reason, (count, offsets)),) = reader.counts().items()
    assert (count, offsets) == (1, (24,))
    return reason.split(":")[0] if not reason.startswith("not IP") else reason


CUT = "cut before the ports (by the snap length, or shorter than its own lengths say)"
NO_FIRST = "later IP fragment whose first, which has the ports, is not in the 30 seconds before"
LONG_OPTIONS = bytes([17, 1]) + bytes(14)
AUTHENTICATION = bytes([17, 4]) + bytes(22)
# What it is about -> frame, link type, length on the wire (None: all was captured), what becomes of it.
CASES: dict[str, tuple[bytes, int, int | None, Seen | str]] = {
    "eight tags": (ethernet(DATAGRAM, tags=[0x88A8, 0x9100, 0x9200, *[0x8100] * 5]), 1, None, SEEN),
    "nine tags": (ethernet(DATAGRAM, tags=[0x8100] * 9), 1, None, "more than 8 VLAN tags"),
    "cut inside a tag": (ethernet(DATAGRAM, tags=[0x8100])[:17], 1, None, CUT),
    "padding is no payload": (ethernet(ipv4(1, 2, 17, b"")) + bytes(26), 1, None, "malformed IP packet"),
    "snap": (ethernet(b"\xaa\xaa\x03\0\0\0\x08\0" + DATAGRAM, 40), 1, None, SEEN),
    "spanning tree": (ethernet(b"\x42\x42\x03" + bytes(35), 38), 1, None, "not IP: LLC (spanning tree, IS-IS, ...)"),
    "arp": (ethernet(bytes(28), 0x0806), 1, None, "not IP: ARP or RARP"),
    "no ethertype known": (ethernet(bytes(28), 0x88CC), 1, None, "not IP: another ethertype or address family"),
    "empty frame": (b"", 1, None, CUT),
    "empty raw frame": (b"", 101, None, CUT),
    "cut in the address": (ethernet(DATAGRAM)[:33], 1, 200, CUT),
    "cut in the ports": (ethernet(DATAGRAM)[:37], 1, 200, CUT),
    "cut behind the ports": (ethernet(DATAGRAM)[:38], 1, 200, SEEN),
    "offloaded": (
        ethernet(ipv4(1, 2, 17, udp(5000, 53), total=0)),
        1,
        9014,
        Seen("10.0.0.1", "10.0.0.2", 17, 5000, 53, 9000),
    ),
    "later fragment": (ethernet(ipv4(1, 2, 17, bytes(8), fragment=1)), 1, None, NO_FIRST),
    "first fragment": (ethernet(ipv4(1, 2, 17, udp(5000, 53, b"abcd"), fragment=0x2000)), 1, None, SEEN),
    "ethertype and version disagree": (ethernet(DATAGRAM, 0x86DD) + bytes(20), 1, None, "malformed IP packet"),
    "raw of no version": (b"\x50" + bytes(60), 101, None, "malformed IP packet"),
    "total length below the header's": (DATAGRAM[:2] + b"\0\x13" + DATAGRAM[4:], 101, None, "malformed IP packet"),
    "family of Windows": (b"\x17\0\0\0" + ipv6(17, udp(1, 2)), 0, None, seen6(17, 1, 2, 48)),
    "unknown family": (b"\x07\0\0\0" + DATAGRAM, 0, None, "not IP: another ethertype or address family"),
    "unsupported": (DATAGRAM, 147, None, "unsupported link type 147"),
    "authentication header": (ipv6(51, AUTHENTICATION + udp(7, 8)), 101, None, seen6(17, 7, 8, 72)),
    "two-unit options": (ipv6(60, LONG_OPTIONS + udp(7, 8)), 101, None, seen6(17, 7, 8, 64)),
    "options longer than the packet": (ipv6(60, b"\x11\x09" + bytes(14)), 101, None, "malformed IP packet"),
    "cut inside options": (ipv6(60, LONG_OPTIONS + udp(7, 8))[:50], 101, 64, CUT),
    "later IPv6 fragment": (ipv6(44, b"\x11\0\0\x08" + bytes(12)), 101, None, NO_FIRST),
    "sixteen extension headers": (
        ipv6(60, (b"\x3c\0" + bytes(6)) * 15 + b"\x11\0" + bytes(6) + udp(7, 8)),
        101,
        None,
        seen6(17, 7, 8, 176),
    ),
    "seventeen extension headers": (
        ipv6(60, (b"\x3c\0" + bytes(6)) * 17 + udp(7, 8)),
        101,
        None,
        "more than 16 IPv6 extension headers",
    ),
    "nothing follows": (ipv6(59, b""), 101, None, seen6(59, 0, 0, 40)),
    "nothing follows, padded": (ethernet(ipv6(59, b"") + bytes(6), 0x86DD), 1, None, seen6(59, 0, 0, 40)),
    "mobility": (ipv6(135, b"\x3b\0" + bytes(6)), 101, None, seen6(135, 0, 0, 48)),
    "mobility before UDP": (ipv6(135, b"\x11\0" + bytes(6) + udp(7, 8)), 101, None, seen6(17, 7, 8, 56)),
    "jumbo": (ipv6(17, udp(7, 8), length=0), 101, 100040, seen6(17, 7, 8, 100_040)),
    "encrypted": (ipv6(50, bytes(30)), 101, None, seen6(50, 0, 0, 70)),
    "mapped address": (
        ipv6(17, udp(7, 8), src=bytes(10) + b"\xff\xff\x0a\0\0\1"),
        101,
        None,
        "IPv6 packet with an IPv4-mapped address, which is not for the wire",
    ),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_corner(name: str) -> None:
    frame, link_type, wire, expected = CASES[name]
    assert see(frame, link_type, wire) == expected


LOOSE = {
    "tcp": (ethernet(ipv4(1, 2, 6, b"\x10\x00\x00\x50" + bytes(8) + b"\x50\x12" + bytes(6))), 1),
    "icmp": (ethernet(ipv4(1, 2, 1, b"\x08" + bytes(7)), tags=[0x8100]), 1),
    "icmpv6": (ethernet(ipv6(58, b"\x80" + bytes(7)), 0x86DD), 1),
    "sctp": (ipv4(1, 2, 132, b"\x10\x00\x00\x50" + bytes(8) + b"\x01" + bytes(3)), 12),
    "options": (ipv6(0, b"\x3c\0" + bytes(6) + b"\x2c\0" + bytes(6) + b"\x11\0\0\1" + bytes(4) + udp(1, 2)), 229),
    "null": (b"\0\0\0\2" + DATAGRAM, 0),
    "sll": (bytes(14) + b"\x08\0" + DATAGRAM, 113),
    "sll2": (b"\x81\0" + bytes(18) + bytes(2) + b"\x08\0" + DATAGRAM, 276),
    "snap": (ethernet(b"\xaa\xaa\x03\0\0\0\x08\0" + DATAGRAM, 40), 1),
}


@pytest.mark.parametrize("name", sorted(LOOSE))
def test_a_cut_frame_is_never_completed_with_bytes_from_behind_it(name: str) -> None:
    frame, link_type = LOOSE[name]
    whole = read(pcap([Packet(frame)], link_type))[0]
    assert len(whole) == 1
    for end in range(len(frame)):
        data = pcap([Packet(frame[:end], wire=len(frame))], link_type)
        (found, reader), (again, other) = guarded(data, 0x00), guarded(data, 0xFF)
        assert (found, reader.counts(), reader.damage) == (again, other.counts(), None), end
        assert [seen for seen, _, _ in found] in ([], [whole[0][0]]), end


def test_flags_are_zero_when_the_capture_was_cut_before_them() -> None:
    tcp = b"\x10\x00\x00\x50" + bytes(8) + b"\x50\x12" + bytes(6)
    frame = ethernet(ipv4(1, 2, 6, tcp))
    assert [flags for _, flags, _ in read(pcap([Packet(frame), Packet(frame[:47], wire=54)]))[0]] == [0x12, 0]


def test_without_the_jit_the_answers_are_the_same() -> None:
    """Plain Python numbers, and every index checked by numpy: a read outside of the window raises there."""
    tests = Path(__file__).parent
    chosen = ["test_damage.py", "test_frames.py", "test_tunnels.py", "test_scouting.py", "test_corpus.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error::RuntimeWarning"]
    command += ["-W", "ignore:overflow encountered in scalar multiply:RuntimeWarning"]  # hashes are meant to
    command += ["-k", "not without_the_jit and not delivered_or_counted and not windows_of_any and not twins_reader"]
    done = subprocess.run(
        [*command, *(str(tests / name) for name in chosen)],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
