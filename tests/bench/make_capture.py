"""A capture to measure with: TCP, UDP and IPv6 flows in two directions, as pcap or, the same frames, as pcapng.

Every flow has a beginning, a pace and an end; flows overlap and their packets are interleaved by time. The same
arguments give the same bytes. Payloads are zeros: none of the tools looks at them.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

START = 1_700_000_000
SECONDS = 240
HEADER = 14 + 40 + 20
"""Bytes of the longest headers: Ethernet, IPv6, TCP."""

PORTS = (443, 80, 8080, 5432, 6379, 9092, 9090, 3306, 8443, 27017, 50051, 9200)
CHUNK = 50_000

Array = NDArray[Any]


@dataclass(frozen=True)
class Traffic:
    """Packets in the order of the capture. All arrays are of one length; `header` uint8[n, HEADER]."""

    header: Array
    header_length: Array  # int64, bytes of `header` that count
    length: Array  # int64, bytes of the frame
    micros: Array  # int64, since START

    def __len__(self) -> int:
        return len(self.length)


def traffic(packets: int, flows: int, seed: int = 1) -> Traffic:
    """About `packets` packets of `flows` connections: 80 % TCP, one in eight over IPv6."""
    chance = np.random.default_rng(seed)
    weight = chance.pareto(1.3, flows) + 0.4
    counts = np.maximum(2, (weight * (packets / weight.sum())).astype(np.int64))
    tcp = chance.random(flows) < 0.8
    counts[tcp] = np.maximum(counts[tcp], 5)
    begin = chance.random(flows) * (SECONDS - 60) * 1e6
    pace = chance.exponential(20_000, flows) + 50
    pace = np.minimum(pace, 60e6 / counts)
    flow = np.repeat(np.arange(flows), counts)
    nth = np.arange(len(flow)) - np.repeat(np.cumsum(counts) - counts, counts)
    micros = (begin[flow] + nth * pace[flow]).astype(np.int64)
    order = np.argsort(micros, kind="stable")
    flow, nth, micros = flow[order], nth[order], micros[order]
    headers, lengths, sizes = _frames(chance, flow, nth, counts, tcp)
    return Traffic(headers, lengths, sizes, micros)


def _frames(chance: np.random.Generator, flow: Array, nth: Array, counts: Array, tcp: Array) -> tuple[Array, ...]:
    flows, n = len(counts), len(flow)
    six = chance.random(flows) < 0.125
    tuples = flows // 6  # who uses which service: some much more than others
    used = (tuples * chance.random(flows) ** 2).astype(np.int64)
    client = chance.integers(0, 3000, tuples)[used]
    server = chance.integers(0, 800, tuples)[used]
    ephemeral = 32768 + np.arange(flows) % 28000  # with the client, nearly always one connection
    served = np.where(tcp, chance.choice(PORTS, tuples)[used], chance.choice((53, 443, 123, 8125), tuples)[used])
    is_tcp, is_six = tcp[flow], six[flow]
    back = (nth % 2 == 1) ^ (is_tcp & (nth > 2) & (chance.random(n) < 0.4))
    last = nth == counts[flow] - 1
    control = is_tcp & ((nth < 3) | last)
    kind = chance.random(n)
    size = np.where(kind < 0.35, 0, np.where(kind < 0.5, 1448, chance.integers(1, 1449, n)))
    size[control] = 0
    size[~is_tcp] = chance.integers(20, 900, n)[~is_tcp]
    flags = np.full(n, 0x10)
    flags[nth == 0] = 0x02
    flags[nth == 1] = 0x12
    flags[last & (nth > 2)] = 0x11
    transport = np.where(is_tcp, 20, 8)
    ip = np.where(is_six, 40, 20)
    a, b = client[flow], server[flow] + 8000
    source, target = np.where(back, b, a), np.where(back, a, b)
    sport, dport = np.where(back, served[flow], ephemeral[flow]), np.where(back, ephemeral[flow], served[flow])
    header = np.zeros((n, HEADER), np.uint8)
    header[:, :12] = (2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2)
    _put(header, 12, np.where(is_six, 0x86DD, 0x0800), 2)
    for version, rows in ((4, np.flatnonzero(~is_six)), (6, np.flatnonzero(is_six))):
        part = header[rows]
        protocol = np.where(is_tcp[rows], 6, 17)
        body = size[rows] + transport[rows]
        if version == 4:
            part[:, 14], part[:, 20], part[:, 22], part[:, 23] = 0x45, 0x40, 64, protocol
            _put(part, 16, body + 20, 2)
            _put(part, 26, source[rows] + (10 << 24), 4)
            _put(part, 30, target[rows] + (10 << 24), 4)
            _put(part, 24, _checksum(part[:, 14:34]), 2)
        else:
            part[:, 14], part[:, 20], part[:, 21] = 0x60, protocol, 64
            _put(part, 18, body, 2)
            for at, who in ((22, source), (38, target)):
                part[:, at : at + 4] = (0x20, 1, 0x0D, 0xB8)
                _put(part, at + 12, who[rows], 4)
        at = 34 if version == 4 else 54
        _put(part, at, sport[rows], 2)
        _put(part, at + 2, dport[rows], 2)
        stream = is_tcp[rows]
        part[stream, at + 12] = 0x50
        part[stream, at + 13] = flags[rows][stream]
        _put(part, at + 4, np.where(stream, nth[rows], body << 16), 4)  # the sequence number, or UDP's length
        header[rows] = part
    return header, 14 + ip + transport, 14 + ip + transport + size


def _put(rows: Array, at: int, values: Array, width: int) -> None:
    """Big-endian numbers of `width` bytes into rows[:, at:]."""
    for i in range(width):
        rows[:, at + i] = (values >> (8 * (width - 1 - i))) & 0xFF


def _checksum(header: Array) -> Array:
    words = header.astype(np.int64)
    total = (words[:, ::2] * 256 + words[:, 1::2]).sum(1)
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def write_pcap(path: Path, made: Traffic) -> None:
    """Microseconds, little endian, Ethernet."""
    head = np.zeros((len(made), 16), np.uint8)
    seconds = START + made.micros // 1_000_000
    for at, values in ((0, seconds), (4, made.micros % 1_000_000), (8, made.length), (12, made.length)):
        head[:, at : at + 4] = values.astype("<u4")[:, None].view(np.uint8)
    with path.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        _write(out, made, head, made.length + 16, np.zeros((len(made), 0), np.uint8))


def write_pcapng(path: Path, made: Traffic) -> None:
    """The same frames in enhanced packet blocks of one interface with the default clock."""
    stamp = START * 1_000_000 + made.micros
    padded = (made.length + 3) & ~3
    total = (padded + 32).astype("<u4")[:, None].view(np.uint8)
    head = np.zeros((len(made), 28), np.uint8)
    head[:, 0] = 6
    head[:, 4:8] = total
    for at, values in ((12, stamp >> 32), (16, stamp & 0xFFFFFFFF), (20, made.length), (24, made.length)):
        head[:, at : at + 4] = values.astype("<u4")[:, None].view(np.uint8)
    with path.open("wb") as out:
        out.write(struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28))
        out.write(struct.pack("<IIHHII", 1, 20, 1, 0, 262144, 20))
        _write(out, made, head, padded + 32, total)


def _write(out: Any, made: Traffic, head: Array, length: Array, tail: Array) -> None:
    """Records: head, frame, zeros up to the tail; `length` is of the whole record."""
    for start in range(0, len(made), CHUNK):
        part = slice(start, start + CHUNK)
        ends = np.cumsum(length[part])
        begins = ends - length[part]
        block = np.zeros(int(ends[-1]), np.uint8)
        _scatter(block, begins, head[part])
        frames = made.header_length[part]
        for size in np.unique(frames):
            rows = np.flatnonzero(frames == size)
            _scatter(block, begins[rows] + head.shape[1], made.header[part][rows, :size])
        _scatter(block, ends - tail.shape[1], tail[part])
        out.write(block)


def _scatter(block: Array, at: Array, rows: Array) -> None:
    for i in range(rows.shape[1]):
        block[at + i] = rows[:, i]


if __name__ == "__main__":
    made = traffic(int(sys.argv[2]), int(sys.argv[3]))
    (write_pcapng if sys.argv[1].endswith("ng") else write_pcap)(Path(sys.argv[1]), made)
