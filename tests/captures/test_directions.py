"""Captures to service rows: who serves, whatever was sent twice, came late or was not captured."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzers.flows import Direction, address_text
from analyzers.ingest.aggregate import IngestOptions, aggregate
from captures.writing import Packet, ethernet, ipv4, pcap, udp

CLIENT, SERVER = (1, 40000), (2, 8443)
SYN, SYN_ACK, ACK, FIN_ACK, RST = 0x02, 0x12, 0x10, 0x11, 0x04
Sent = tuple[bool, int]
"""Whether the client sent it, its TCP flags."""

HANDSHAKE: list[Sent] = [(True, SYN), (False, SYN_ACK), (True, ACK)]
TALK: list[Sent] = [(True, ACK), (False, ACK), (True, ACK), (False, ACK)]
END: list[Sent] = [(True, FIN_ACK), (False, FIN_ACK), (True, ACK)]


def segment(client_sent: bool, flags: int, payload: int = 100) -> bytes:
    (src, sport), (dst, dport) = (CLIENT, SERVER) if client_sent else (SERVER, CLIENT)
    head = sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + bytes(8) + bytes([0x50, flags]) + bytes(6)
    return ethernet(ipv4(src, dst, 6, head + bytes(payload if flags == ACK else 0)))


def rows(tmp_path: Path, frames: list[bytes], **options: bool) -> list[tuple[str, str, int, Direction, int, int]]:
    """client, server, port, direction, packets, reply packets."""
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap([Packet(frame) for frame in frames]))
    found, _ = aggregate([str(path)], IngestOptions(threads=1, **options))
    ends = [
        [address_text(*half) for half in zip(found[f"{end}_hi"].tolist(), found[f"{end}_lo"].tolist(), strict=True)]
        for end in ("client", "server")
    ]
    numbers = [found[name].tolist() for name in ("port", "direction", "packets", "reply_packets")]
    return [(c, s, p, Direction(d), out, back) for c, s, p, d, out, back in zip(*ends, *numbers, strict=True)]


SERVES = ("10.0.0.1", "10.0.0.2", 8443, Direction.HANDSHAKE)
SEQUENCES: dict[str, list[Sent]] = {
    "as it should be": HANDSHAKE + TALK + END,
    "a SYN sent again": [(True, SYN), (True, SYN), *HANDSHAKE, *TALK],
    "a SYN-ACK sent again": [*HANDSHAKE, (False, SYN_ACK), *TALK],
    "a SYN that arrives late": [*HANDSHAKE, *TALK, (True, SYN), *TALK],
    "a SYN-ACK that arrives first": [(False, SYN_ACK), (True, SYN), (True, ACK), *TALK],
    "only the answer was captured": [(False, SYN_ACK), (True, ACK), *TALK],
    "only the client's side": [(True, SYN), (True, ACK), (True, ACK)],
    "only the server's side": [(False, SYN_ACK), (False, ACK)],
    "backwards": (HANDSHAKE + TALK + END)[::-1],
    "everything twice": [sent for sent in HANDSHAKE + TALK + END for _ in range(2)],
    "refused": [(True, SYN), (False, RST | ACK)],
    "the port used again": HANDSHAKE + END + HANDSHAKE + END,
    "ECN asked for": [(True, 0xC2), (False, 0x52), (True, ACK)],
}


@pytest.mark.parametrize("name", sorted(SEQUENCES))
def test_the_handshake_decides(name: str, tmp_path: Path) -> None:
    sent = SEQUENCES[name]
    ((*who, out, back),) = rows(tmp_path, [segment(*one) for one in sent])
    assert tuple(who) == SERVES
    assert (out, back) == (sum(client for client, _ in sent), sum(not client for client, _ in sent))


def test_a_capture_that_starts_inside_a_connection_guesses_nothing(tmp_path: Path) -> None:
    """8443 is a well-known port: weaker evidence, and said so. Between two that are not, it stays open."""
    ((*who, _, _),) = rows(tmp_path, [segment(*one) for one in TALK + END])
    assert tuple(who) == (*SERVES[:3], Direction.WELL_KNOWN)
    middle = [ethernet(ipv4(*ends, 6, ports + bytes(8) + b"\x50\x10" + bytes(200))) for ends, ports in (
        ((1, 2), b"\x9c\x40\x9c\x41"), ((2, 1), b"\x9c\x41\x9c\x40"))]  # fmt: skip
    ((_, _, port, how, _, _),) = rows(tmp_path, middle * 3)
    assert (port, how) == (0, Direction.UNKNOWN)


def test_an_answer_sent_again_after_the_capture_starts_still_tells(tmp_path: Path) -> None:
    ((*who, _, _),) = rows(tmp_path, [segment(*one) for one in [(False, ACK), (False, SYN_ACK), *TALK]])
    assert tuple(who) == SERVES


def test_a_simultaneous_open_is_no_handshake(tmp_path: Path) -> None:
    """Both sent a SYN and answered the other's: the handshake contradicts itself, so weaker evidence decides."""
    sent = [(True, SYN), (False, SYN), (True, SYN_ACK), (False, SYN_ACK), *TALK]
    ((*who, out, back),) = rows(tmp_path, [segment(*one) for one in sent])
    assert tuple(who) == (*SERVES[:3], Direction.WELL_KNOWN)
    assert (out, back) == (4, 4)


def test_an_icmp_error_is_no_flow(tmp_path: Path) -> None:
    unreachable = ethernet(ipv4(2, 1, 1, b"\x03\x03" + bytes(6) + ipv4(1, 2, 17, udp(45000, 53))))
    assert [row[:3] for row in rows(tmp_path, [ethernet(ipv4(1, 2, 17, udp(45000, 53))), unreachable])] == [
        ("10.0.0.1", "10.0.0.2", 53)
    ]


def test_tunnels_are_told_in_the_report(tmp_path: Path) -> None:
    inner = [segment(*one)[14:] for one in HANDSHAKE]
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap([Packet(ethernet(ipv4(8, 9, 4, packet))) for packet in inner]))
    found, report = aggregate([str(path)], IngestOptions(threads=1))
    assert found["port"].tolist() == [8443] and report.records == 3
    ((source, *carried),) = [(c.source, c.tunnel, c.one, c.other, c.packets) for c in report.carried]
    assert (source, carried) == (str(path), ["IP in IP", "10.0.0.8", "10.0.0.9", 3])
    assert any("3 packets inside IP in IP between 10.0.0.8 and 10.0.0.9" in note for note in report.notes)
    found, report = aggregate([str(path)], IngestOptions(threads=1, outer=True))
    assert (found["protocol"].tolist(), found["records"].tolist()) == ([4], [3])
    assert report.carried == ()
