"""Flow logs with every kind of record that matters to a store, and FlowTables in a form that compares."""

from __future__ import annotations

import random
from pathlib import Path

from analyzers.flows import COLUMNS, FlowTable, IngestReport
from analyzers.ingest.aggregate import IngestOptions, aggregate
from analyzers.store.identity import identifiable_sources
from analyzers.store.intake import Intake
from analyzers.store.objects import IntakeSummary
from analyzers.store.write import FlowStore

START = 1_700_000_000
FIELDS = (
    "version vpc-id interface-id srcaddr dstaddr srcport dstport protocol tcp-flags packets bytes start end action "
    "log-status"
)


def rows(count: int, chance: random.Random, hours: int = 3) -> list[str]:
    """Records below FIELDS: settled by flags or ports, undecided ones, both families, NODATA, rubbish."""
    made = []
    for _ in range(count):
        six = chance.random() < 0.2
        a, b = (f"fd00::{n}" if six else f"10.0.0.{n}" for n in chance.sample(range(1, 12), 2))
        kind = chance.random()
        ports = [chance.choice([443, 53, 50051, 8088]), chance.choice([40000, 40001, 45000, 33000, 61616])]
        if kind < 0.4:
            ports = [chance.choice([50051, 61616, 33001]), chance.choice([40000, 40001, 40002, 33000])]
        if chance.random() < 0.5:
            ports.reverse()
        flags = chance.choice(["2", "18", "3", "0", "0", "-"])
        begin = START + chance.randrange(hours * 3600)
        network = chance.choice(["vpc-1", "vpc-1", "vpc-2", "-"])
        interface = f"eni-{chance.randrange(5)}"
        if chance.random() < 0.02:
            made.append(f"5 {network} {interface} - - - - - - - - {begin} {begin + 60} - NODATA")
        elif chance.random() < 0.02:
            made.append(f"5 {network} {interface} {a} 300.1.1.1 1 2 6 - 1 1 {begin} {begin + 60} ACCEPT OK")
        else:
            made.append(
                f"5 {network} {interface} {a} {b} {ports[0]} {ports[1]} {chance.choice([6, 6, 17, 1])} {flags} "
                f"{chance.randrange(1, 50)} {chance.randrange(40, 90_000)} {begin} {begin + chance.randrange(120)} "
                f"{chance.choice(['ACCEPT', 'ACCEPT', 'ACCEPT', 'REJECT'])} OK"
            )
    return made


def write_logs(folder: Path, files: int, count: int, seed: int) -> list[Path]:
    """So many files of so many records each, below `folder`."""
    chance = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i in range(files):
        path = folder / f"part-{i}.log"
        path.write_text(FIELDS + "\n" + "\n".join(rows(count, chance)) + "\n")
        paths.append(path)
    return paths


def canonical(flows: FlowTable) -> list[tuple[object, ...]]:
    """The rows with names instead of numbers, sorted."""
    columns = []
    for column in COLUMNS:
        values = flows[column.name].tolist()
        names = {"network": flows.networks, "observer": flows.observers}.get(column.name)
        columns.append([names[v] for v in values] if names else values)
    return sorted(zip(*columns, strict=True))


def read(names: list[str], **options: object) -> tuple[list[tuple[object, ...]], IngestReport]:
    """The canonical FlowTable of sources (and `stores`) and the report."""
    flows, report = aggregate(names, IngestOptions(**options))  # type: ignore[arg-type]
    return canonical(flows), report


def take(store: Path, names: list[str], changed: str = "skip", **options: object) -> IntakeSummary:
    """One `flowctl ingest`."""
    opened = FlowStore(str(store), memory=256 << 20)
    try:
        given = IngestOptions(**options)  # type: ignore[arg-type]
        return Intake(opened, given, changed).run(*identifiable_sources(names, given.window))
    finally:
        opened.close()
