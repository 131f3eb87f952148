"""A capture that somebody cuts, as log rotation does, while it is read."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from analyzers.ingest.aggregate import IngestOptions, aggregate
from captures.writing import Packet, ethernet, ipv4, pcap, udp

PACKETS = [Packet(ethernet(ipv4(1, 2, 17, udp(40000 + i % 9, 53, bytes(900)))), 1_700_000_000 + i) for i in range(9000)]
SHORTER = "the file became shorter while it was read"


@pytest.mark.parametrize("kept", [0, 3 << 20])
def test_what_was_there_is_read_and_the_cut_is_told(tmp_path: Path, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyzers.ingest.capture_reading.MAPPED_WINDOW", 1 << 20)
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(PACKETS))
    calls = 0

    def cut(_size: int, _records: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            os.truncate(path, kept)

    _, report = aggregate([str(path)], IngestOptions(threads=1, progress=cut))
    assert calls >= 2 and 2000 < report.records < 4000
    assert [(skip.reason, skip.count) for skip in report.skips] == [(SHORTER, 1)]
    assert report.skips[0].samples == (f"offset {kept}",)


def test_a_capture_that_was_emptied_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(PACKETS))
    real = os.fstat
    monkeypatch.setattr(os, "fstat", lambda descriptor: (os.truncate(path, 0), real(descriptor))[1])
    _, report = aggregate([str(path)], IngestOptions(threads=1))
    assert report.records == 0 and [skip.reason for skip in report.skips] == [SHORTER]


@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_a_compressed_capture_that_ends_early(tmp_path: Path, kept: float) -> None:
    whole = gzip.compress(pcap(PACKETS))
    path = tmp_path / "a.pcap.gz"
    path.write_bytes(whole[: int(len(whole) * kept)])
    _, report = aggregate([str(path)], IngestOptions(threads=1))
    assert 0.8 * kept * len(PACKETS) < report.records < len(PACKETS)
    assert [(skip.reason, skip.count) for skip in report.skips] == [("gzip member cut short", 1)]
