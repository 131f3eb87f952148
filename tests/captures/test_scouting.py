"""Captures long enough for scouts to run ahead: they change nothing, whatever they run into, and stay inside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analyzers.kernels.capture_files import CaptureReader
from analyzers.kernels.capture_state import S_SCOUTED
from analyzers.kernels.connections import Target
from analyzers.kernels.jit import JIT
from captures.kernel import array, read
from captures.test_connections import FACTS, aggregated, as_table, slowly, small_flows
from captures.writing import Packet, ethernet, ipv4, pcap, pcapng, udp
from tests.bench.make_capture import traffic, write_pcap, write_pcapng

PACKETS = 6000 if JIT else 2600


def decoys(frames: int, size: int) -> list[Packet]:
    """Frames whose payload is full of what looks like records and blocks that lead anywhere."""
    chance = np.random.default_rng(5)
    words = np.array([1_700_000_000, 7, 40, 60, 6, 64, 0xFFFFFFFF, 0, 262_144, 64], np.uint32)
    made = []
    for i in range(frames):
        payload = chance.choice(words, size // 4).tobytes()
        made.append(Packet(ethernet(ipv4(1 + i % 9, 2, 17, udp(40000 + i % 50, 53, payload)))))
    return made


@pytest.mark.parametrize("kind", ["pcap", "pcapng"])
def test_a_long_capture_is_read_as_it_is(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    (write_pcap if kind == "pcap" else write_pcapng)(path, traffic(PACKETS, PACKETS // 16))
    check(path.read_bytes())


@pytest.mark.parametrize("size", [1000, 9000, 60_000])
@pytest.mark.parametrize("kind", ["pcap", "pcapng"])
def test_payloads_that_look_like_records_mislead_nobody(kind: str, size: int) -> None:
    made = decoys(2_200_000 // size, size)
    check(pcap(made) if kind == "pcap" else pcapng(made))


@pytest.mark.parametrize("guard", [0, 6, 0xFF])
def test_a_cut_capture_is_not_scouted_behind_its_end(guard: int) -> None:
    data = pcap(decoys(1700, 1000))
    around = np.full(len(data) + 8192, guard, np.uint8)
    for end in (len(data) - 1, len(data) - 1013, (1 << 20) + 24 + 64, (1 << 20) + 24 + 65):
        around[4096 : 4096 + end] = array(data[:end])
        around[4096 + end :] = guard
        rows, counters = aggregated(around[4096 : 4096 + end], small_flows(512))
        again, others = aggregated(data[:end], small_flows(512))
        assert as_table(rows) == as_table(again) and counters.tolist() == others.tolist()


def check(data: bytes) -> None:
    assert len(data) > 1_200_000
    rows, _ = aggregated(data, small_flows(512))
    assert as_table(rows) == slowly(read(data, capacity=4096)[0])[0]
    reader = CaptureReader(array(data), "x")
    target = Target.over(np.zeros(1 << 14, np.uint64), np.zeros((1 << 13, 13), np.uint64), 0, small_flows(1 << 12))
    assert reader.aggregate(target, 3, 5, FACTS)
    assert reader._state[S_SCOUTED] > 0, "nobody ran ahead"
