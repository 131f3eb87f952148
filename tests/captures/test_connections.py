"""Packets to connection rows: the kernels' table against a dictionary that is filled packet by packet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.flows import address_halves
from analyzers.ingest.aggregate import IngestOptions, cut_facts, network_names
from analyzers.kernels import tables as t
from analyzers.kernels.capture_files import CaptureReader
from analyzers.kernels.connections import C_CONNECTIONS, C_ERRORS, C_FIRST, C_LAST, C_PACKETS, PACKETS_AT_ONCE, Target
from analyzers.kernels.ipv4_flows import FLOW_WORDS, Flows
from captures.kernel import Timed, array, read
from captures.writing import Packet, ethernet, ipv4, pcap, pcapng

Row = dict[str, int]
FACTS = cut_facts(IngestOptions(), ())
ERROR, ASK, ANSWER = 4, 1, 2
BITS = {
    name: i for i, name in enumerate(["SYN_A", "SYN_B", "SYN_ACK_A", "SYN_ACK_B", "FIN_A", "FIN_B", "ASK_A", "ASK_B"])
}


def evidence(protocol: int, flags: int, me: str, you: str) -> set[str]:
    """What a packet says about its connection; `me` sent it."""
    if protocol == 6:
        opened = {0x02: {f"SYN_{me}"}, 0x12: {f"SYN_ACK_{me}"}}.get(flags & 0x12, set())
        return opened | ({f"FIN_{me}"} if flags & 1 else set())
    if protocol == 132:
        return {f"SYN_{me}"} if flags & 1 else ({f"SYN_ACK_{me}"} if flags & 2 else set())
    if flags & ASK:
        return {f"ASK_{me}"}
    return {f"ASK_{you}"} if flags & ANSWER else set()


def slowly(packets: Sequence[Timed]) -> tuple[dict[object, list[object]], int]:
    """Key -> [evidence, packets and bytes a to b, b to a, first, last]; ICMP errors that were left out."""
    table: dict[object, list[object]] = {}
    errors = 0
    for seen, flags, second in packets:
        if seen.protocol in (1, 58) and flags & ERROR:
            errors += 1
            continue
        ends = [(address_halves(seen.src), seen.sport), (address_halves(seen.dst), seen.dport)]
        back = ends[1] < ends[0]
        key = (*sorted(ends), seen.protocol)
        row = table.setdefault(key, [set(), 0, 0, 0, 0, 1 << 40, -1])
        row[0] |= evidence(seen.protocol, flags, *("BA" if back else "AB"))  # type: ignore[operator]
        row[3 if back else 1] += 1  # type: ignore[operator]
        row[4 if back else 2] += seen.size  # type: ignore[operator]
        row[5], row[6] = min(row[5], second), max(row[6], second)  # type: ignore[call-overload]
    return table, errors


def small_flows(rows: int) -> Flows:
    return Flows(
        np.zeros((rows, FLOW_WORDS), np.uint64), np.zeros(2 * rows, np.uint64), np.array([0, 0, rows, 0], np.int64)
    )


def aggregated(
    data: bytes | np.ndarray, flows: Flows, room: int = 1 << 12, span: int = int(t.ALL_TIME)
) -> tuple[np.ndarray, np.ndarray]:
    """-> connection rows, counters; the table is given room for few more rows at a time."""
    reader = CaptureReader(array(data) if isinstance(data, bytes) else data, "capture")
    index, table = np.zeros(4 * room, np.uint64), np.zeros((2 * room, t.CONNECTION_WORDS), np.uint64)
    target = Target.over(index, table, 0, flows, span)
    capacity = PACKETS_AT_ONCE
    steps = [lambda now: reader.aggregate(now, 3, 5, FACTS), lambda now: CaptureReader.finish(now, 3, 5)]
    for step in steps:
        while not step(target._replace(rows=target.rows[:capacity])):
            capacity += PACKETS_AT_ONCE
    assert reader.finished
    return target.rows[: target.counters[C_CONNECTIONS]], target.counters


def as_table(rows: np.ndarray) -> dict[object, list[object]]:
    found: dict[object, list[object]] = {}
    for row in rows.tolist():
        ends = ((row[0], row[1]), row[4] >> 48), ((row[2], row[3]), row[4] >> 32 & 0xFFFF)
        bits = {name for name, bit in BITS.items() if row[7] >> 48 >> bit & 1}
        assert row[5] == 3 << 48 | 5 and row[6] == 0
        assert row[7] & 0xFFFF_FFFF_FFFF == row[8] + row[10]
        key = (*ends, row[4] >> 24 & 0xFF)
        assert key not in found
        found[key] = [bits, *row[8:12], row[12] >> 32, row[12] & 0xFFFF_FFFF]
    return found


def segment(src: int, dst: int, sport: int, dport: int, flags: int) -> bytes:
    tcp = sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + bytes(8) + bytes([0x50, flags]) + bytes(6)
    return ethernet(ipv4(src, dst, 6, tcp))


def six(src: int, dst: int, protocol: int, payload: bytes) -> bytes:
    addresses = (
        bytes([0x20, 1, 0x0D, 0xB8]) + bytes(11) + bytes([src]),
        bytes([0x20, 1, 0x0D, 0xB8]) + bytes(11) + bytes([dst]),
    )
    head = bytes([0x60, 0, 0, 0]) + len(payload).to_bytes(2, "big") + bytes([protocol, 64])
    return ethernet(head + addresses[0] + addresses[1] + payload, 0x86DD)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    src, dst = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    ports = st.sampled_from([53, 80, 40000, 40001])
    protocol = draw(st.sampled_from([1, 6, 6, 6, 17, 58, 103, 132]))
    payload = draw(ports).to_bytes(2, "big") + draw(ports).to_bytes(2, "big") + bytes(8)
    if protocol == 6:
        payload += bytes([0x50, draw(st.sampled_from([0x02, 0x12, 0x10, 0x11, 0x04, 0xC2]))]) + bytes(
            draw(st.integers(6, 40))
        )
    if protocol == 132:
        payload += bytes([draw(st.integers(0, 3)), 0, 0, 4])
    if protocol == 1:
        payload = bytes([draw(st.sampled_from([0, 3, 8, 11, 13, 14]))]) + bytes(7)
    if protocol == 58:
        payload = bytes([draw(st.sampled_from([1, 128, 129, 135, 137]))]) + bytes(7)
    make = draw(st.sampled_from([six, lambda *rest: ethernet(ipv4(*rest))]))
    return make(src, dst, protocol, payload)


@settings(deadline=None, max_examples=120)
@given(st.lists(st.tuples(frames(), st.integers(1, 1000)), max_size=40), st.integers(1, 3))
def test_rows_are_what_the_packets_say(made: list[tuple[bytes, int]], kind: int) -> None:
    packets = [Packet(frame, second) for frame, second in made]
    data = pcapng(packets) if kind == 1 else pcap(packets, order="<>"[kind - 2])
    expected, errors = slowly(read(data)[0])
    rows, counters = aggregated(data, small_flows(256))
    assert as_table(rows) == expected
    assert counters[C_ERRORS] == errors and counters[C_PACKETS] + errors == len(packets)
    if expected:
        assert counters[C_FIRST] <= min(row[5] for row in expected.values())
        assert counters[C_LAST] >= max(row[6] for row in expected.values())


@pytest.mark.parametrize("flows", [256, 1 << 11, 1 << 18])
def test_more_connections_than_are_kept_together(flows: int) -> None:
    """Flows are flushed in between, rows and index grow, and connections come again after they were flushed."""
    chance = np.random.default_rng(flows)
    packets = []
    for number in chance.integers(0, 3000, 12_000).tolist():
        ends = (1 + number % 7, 10 + number % 5, 1000 + number, 443)
        back = chance.random() < 0.5
        src, dst, sport, dport = (ends[1], ends[0], ends[3], ends[2]) if back else ends
        packets.append(Packet(segment(src, dst, sport, dport, 0x10), int(chance.integers(1, 1000))))
    data = pcap(packets)
    expected, _ = slowly(read(data, capacity=4096)[0])
    rows, counters = aggregated(data, Flows.empty() if flows == 1 << 18 else small_flows(flows))
    assert len(expected) > 2500
    assert as_table(rows) == expected
    assert counters[C_PACKETS] == 12_000


def by_slice(packets: Sequence[Timed], span: int) -> dict[int, dict[object, list[object]]]:
    """What `slowly` makes of the packets of each time slice."""
    slices: dict[int, list[Timed]] = {}
    for packet in packets:
        slices.setdefault(packet[2] // span, []).append(packet)
    tables = {number: slowly(part)[0] for number, part in slices.items()}
    return {number: table for number, table in tables.items() if table}


def sliced(rows: np.ndarray, span: int) -> dict[int, dict[object, list[object]]]:
    number = (rows[:, 12] >> np.uint64(32)) // np.uint64(span)
    return {one: as_table(rows[number == np.uint64(one)]) for one in np.unique(number).tolist()}


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(frames(), st.integers(1, 4000)), max_size=60), st.sampled_from([60, 900, 3600]))
def test_no_row_spans_two_time_slices(made: list[tuple[bytes, int]], span: int) -> None:
    data = pcap([Packet(frame, second) for frame, second in made])
    rows, _ = aggregated(data, small_flows(256), span=span)
    assert sliced(rows, span) == by_slice(read(data)[0], span)


@pytest.mark.parametrize("flows", [256, 1 << 18])
def test_time_slices_stay_apart_where_tables_grow(flows: int) -> None:
    chance = np.random.default_rng(flows)
    packets = []
    for number in chance.integers(0, 900, 9000).tolist():
        if number % 3:
            frame = segment(1 + number % 7, 10, 1000 + number, 443, 0x10)
        else:
            frame = six(1 + number % 7, 10, 17, number.to_bytes(2, "big") + bytes([1, 1, 0, 8, 0, 0]))
        packets.append(Packet(frame, int(chance.integers(1, 3600))))
    data = pcap(packets)
    rows, counters = aggregated(data, Flows.empty() if flows == 1 << 18 else small_flows(flows), span=900)
    expected = by_slice(read(data, capacity=4096)[0], 900)
    assert len(expected) == 4 and min(map(len, expected.values())) > 500
    assert sliced(rows, 900) == expected
    assert counters[C_PACKETS] == 9000


def test_owners_that_change_keep_rows_apart() -> None:
    cuts = {("", *address_halves("10.0.0.1")): (500,)}
    options = IngestOptions(cuts=cuts)
    facts = cut_facts(options, network_names(options))
    reader = CaptureReader(array(pcap([Packet(segment(1, 2, 5, 6, 2), second) for second in (499, 500, 501)])), "x")
    target = Target.over(np.zeros(1 << 12, np.uint64), np.zeros((1 << 11, 13), np.uint64), 0, Flows.empty())
    assert reader.aggregate(target, 0, 1, facts) and CaptureReader.finish(target, 0, 1)
    rows = target.rows[: target.counters[C_CONNECTIONS]]
    assert sorted(rows[:, 8].tolist()) == [1, 2]
    assert len(set(rows[:, 6].tolist())) == 2
