"""Settling directions against its slow twin: the same rows, the same columns, in the same order."""

from __future__ import annotations

import numpy as np
import pytest

from analyzers.flows import COLUMNS, FlowTable
from analyzers.ingest.direction import settle_connections
from analyzers.kernels import tables as t
from tests.ingest import direction_twin

IPV4 = 0xFFFF_0000_0000


def connection_rows(chance: np.random.Generator, count: int, hosts: int, ports: int) -> np.ndarray:
    """Random connection rows in canonical order, so few ends that they meet often."""
    rows = np.zeros((count, t.CONNECTION_WORDS), np.uint64)
    six = chance.random(count) < 0.2
    for end in (0, 2):
        rows[:, end] = np.where(six, 0x20010DB8 << 32, 0)
        rows[:, end + 1] = chance.integers(0, hosts, count) + np.where(six, 0, IPV4 + (10 << 24))
    port = chance.choice([0, 53, 80, 443, 8125, 40000, 50051, 61616], (count, 2))
    port = np.where(chance.random((count, 2)) < 0.5, port, 32768 + chance.integers(0, ports, (count, 2)))
    protocol = chance.choice([6, 6, 6, 17, 17, 132, 1, 58, 47], count)
    port[~np.isin(protocol, (6, 17, 132))] = 0
    swap = (rows[:, 3] < rows[:, 1]) | ((rows[:, 3] == rows[:, 1]) & (port[:, 1] < port[:, 0]))
    rows[:, :4] = np.where(swap[:, None], rows[:, [2, 3, 0, 1]], rows[:, :4])
    port = np.where(swap[:, None], port[:, ::-1], port)
    verdict = chance.choice([0, 1, 1, 2], count)
    words = [port[:, 0] << 48, port[:, 1] << 32, protocol << 24, verdict << 22]
    rows[:, 4] = sum(word.astype(np.uint64) for word in words)
    rows[:, 5] = chance.integers(0, 2, count).astype(np.uint64) << np.uint64(48) | chance.integers(0, 3, count).astype(
        np.uint64
    )
    rows[:, 6] = chance.choice([0, 0, 0, 2 << 32, 4], count)
    evidence = np.where(chance.random(count) < 0.5, 0, 1 << chance.integers(0, 8, count))
    evidence |= np.where(chance.random(count) < 0.1, 1 << chance.integers(0, 8, count), 0)
    rows[:, 7] = evidence.astype(np.uint64) << np.uint64(48) | chance.integers(1, 9, count).astype(np.uint64)
    for packets in (8, 10):
        rows[:, packets] = chance.choice([0, 1, 2, 3, 4, 30], count)
        rows[:, packets + 1] = rows[:, packets] * chance.choice(np.array([40, 60, 61, 900], np.uint64), count)
    first = chance.integers(1, 1000, count)
    rows[:, 12] = (first.astype(np.uint64) << np.uint64(32)) | (first + chance.integers(0, 50, count)).astype(np.uint64)
    return rows


def serving(chance: np.random.Generator, count: int, hosts: int) -> FlowTable:
    """Service rows of the same hosts, some of which answered handshakes."""
    columns = {c.name: np.zeros(count, c.dtype) for c in COLUMNS}
    for end in ("client", "server"):
        columns[f"{end}_lo"] = (chance.integers(0, hosts, count) + IPV4 + (10 << 24)).astype(np.uint64)
    columns["port"] = chance.choice([53, 443, 40000, 50051], count).astype(np.uint16)
    columns["protocol"] = chance.choice([6, 17], count).astype(np.uint8)
    for name, highest in (("verdict", 3), ("direction", 6), ("evidence", 8), ("network", 2), ("reply_packets", 2)):
        columns[name] = chance.integers(0, highest, count).astype(columns[name].dtype)
    return FlowTable(columns)


@pytest.mark.parametrize("seed", range(24))
def test_it_settles_as_its_twin_does(seed: int) -> None:
    chance = np.random.default_rng(seed)
    hosts, ports = int(chance.integers(2, 40)), int(chance.integers(1, 3000))
    rows = connection_rows(chance, int(chance.choice([1, 2, 63, 64, 65, 700, 4000])), hosts, ports)
    services = serving(chance, int(chance.choice([0, 5, 100])), hosts)
    declared = frozenset(
        (0, IPV4 + (10 << 24) + int(host), int(port), int(protocol))
        for host, port, protocol in zip(
            chance.integers(0, hosts, 9),
            chance.choice([53, 443, 50051, 40000], 9),
            chance.choice([6, 17], 9),
            strict=True,
        )
    )
    for known in (frozenset(), declared):
        found = settle_connections(rows, services, known)
        expected = direction_twin.settle_connections(rows, services, known)
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            assert np.array_equal(found[name], values), (name, known)
            assert found[name].dtype == values.dtype, name
        assert len(set(found["direction"].tolist())) > 1 or len(rows) < 60


def test_the_order_of_the_rows_does_not_matter() -> None:
    chance = np.random.default_rng(99)
    rows = connection_rows(chance, 3000, 20, 500)
    found = settle_connections(rows, FlowTable.empty(), frozenset())
    again = settle_connections(chance.permutation(rows), FlowTable.empty(), frozenset())
    for name, values in found.items():
        assert np.array_equal(again[name], values), name
