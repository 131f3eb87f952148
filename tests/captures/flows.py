"""The flows of a capture as both ends' addresses and ports, for the comparison with other tools."""

from __future__ import annotations

from pathlib import Path

from analyzers.kernels.capture_files import CaptureReader
from analyzers.kernels.frames import PacketBatch
from captures.kernel import array, row

Flow = tuple[int, str, str]
"""Protocol (TCP, UDP, SCTP) and both ends as `address:port`, sorted."""


def flow(protocol: int, one: str, other: str) -> Flow:
    low, high = sorted((one, other))
    return protocol, low, high


def flows(capture: Path, *, outer: bool) -> frozenset[Flow]:
    reader = CaptureReader(array(capture.read_bytes()), capture.name, outer=outer)
    batch, found = PacketBatch.allocate(256), set()
    while count := reader.next_batch(batch):
        for i in range(count):
            seen = row(batch, i)[0]
            if seen.protocol in (6, 17, 132):
                found.add(flow(seen.protocol, f"{seen.src}:{seen.sport}", f"{seen.dst}:{seen.dport}"))
    return frozenset(found)
