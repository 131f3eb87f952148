"""Captures of as many connections as fill the table's index to any degree: it grows in time, and none is lost."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from analyzers.ingest.aggregate import IngestOptions, aggregate
from captures.writing import Packet, ethernet, pcap, udp

UDP = 17


def packet(number: int, wide: bool) -> Packet:
    """One datagram of connection `number`, from a port that tells nothing to another one."""
    datagram = udp(40000, 50000 + number % 7)
    if wide:
        addresses = b"\xfd" + bytes(11) + struct.pack(">I", number) + b"\xfd" + bytes(14) + b"\x01"
        frame = ethernet(struct.pack(">IHBB", 6 << 28, len(datagram), UDP, 64) + addresses + datagram, 0x86DD)
    else:
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(datagram), 0, 0, 64, UDP, 0)
        frame = ethernet(head + struct.pack(">I", (10 << 24) + number) + b"\x0b\0\0\1" + datagram)
    return Packet(frame, 1_700_000_000 + number)


@pytest.mark.parametrize("wide", [False, True], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("count", [1500, 2040, 2500, 3040, 3072, 9000, 13_000])
def test_every_connection_has_its_place(tmp_path: Path, count: int, wide: bool) -> None:
    path = tmp_path / "capture.pcap"
    path.write_bytes(pcap([packet(number, wide) for number in range(count)]))
    flows, report = aggregate([str(path)], IngestOptions(threads=1))
    assert report.records == count and not report.skips
    assert int(flows["records"].sum()) == count
    clients = set(zip(flows["client_lo"].tolist(), flows["server_lo"].tolist(), strict=True))
    assert len(clients) == count
