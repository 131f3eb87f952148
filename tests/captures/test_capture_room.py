"""Captures of as many connections as fill the table's index to any degree: it grows in time, and none is lost."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from analyzers.ingest.aggregate import IngestOptions, aggregate

HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
ETHERNET = b"\x02" * 6 + b"\x04" * 6
UDP = 17


def packet(number: int, wide: bool) -> bytes:
    """One datagram of connection `number`, from a port that tells nothing to another one."""
    datagram = struct.pack(">HHHH", 40000, 50000 + number % 7, 8, 0)
    if wide:
        addresses = b"\xfd" + bytes(11) + struct.pack(">I", number) + b"\xfd" + bytes(14) + b"\x01"
        frame = ETHERNET + b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, len(datagram), UDP, 64) + addresses + datagram
    else:
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(datagram), 0, 0, 64, UDP, 0)
        frame = ETHERNET + b"\x08\x00" + head + struct.pack(">I", (10 << 24) + number) + b"\x0b\0\0\1" + datagram
    return struct.pack("<IIII", 1_700_000_000 + number, 0, len(frame), len(frame)) + frame


@pytest.mark.parametrize("wide", [False, True], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("count", [1500, 2040, 2500, 3040, 3072, 9000, 13_000])
def test_every_connection_has_its_place(tmp_path: Path, count: int, wide: bool) -> None:
    path = tmp_path / "capture.pcap"
    path.write_bytes(HEADER + b"".join(packet(number, wide) for number in range(count)))
    flows, report = aggregate([str(path)], IngestOptions(threads=1))
    assert report.records == count and not report.skips
    assert int(flows["records"].sum()) == count
    clients = set(zip(flows["client_lo"].tolist(), flows["server_lo"].tolist(), strict=True))
    assert len(clients) == count
