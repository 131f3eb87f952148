"""Rows on their way through Spark: flows and connections in one shape, so that one grouping merges both.

Windows travel as two rows each, which `ports` tells apart: bits of the times covered, and of the times lost.
A partial row has two ends (client and server, or a and b), counters, and a `meta` that tells its kind. Facts about
objects travel as rows of a kind of their own, whose `observer` is the fact (JSON): each is its own group.
Every number is a signed 64-bit one with the bits of the store's unsigned one, as in the store's Parquet files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analyzers.store.rows import Columns, window_columns
from analyzers.store.schema import CONNECTIONS, FLOWS, WINDOWS, StoreTable

FLOW, CONNECTION, FACT, WINDOW = range(4)
KINDS = {FLOWS.name: FLOW, CONNECTIONS.name: CONNECTION}

TEXTS = ("network", "observer")
KEYS = ("meta", "ports", "slice", "x_hi", "x_lo", "y_hi", "y_lo", "x_stretch", "y_stretch")
SUMS = ("records", "forward_packets", "forward_bytes", "backward_packets", "backward_bytes")
MERGES = {"direction": "min", "evidence": "bit_or", **dict.fromkeys(SUMS, "sum"), "first": "min", "last": "max"}

SCHEMA = pa.schema(
    [(name, pa.string()) for name in TEXTS]
    + [(name, pa.int64()) for name in KEYS]
    + [(name, pa.int64()) for name in MERGES]
)
SPARK_SCHEMA = ", ".join(f"{field.name} {'string' if field.name in TEXTS else 'bigint'}" for field in SCHEMA)

ENDS = {FLOW: ("client", "server"), CONNECTION: ("a", "b")}
COUNTERS = {
    FLOW: ("packets", "bytes", "reply_packets", "reply_bytes"),
    CONNECTION: ("a_packets", "a_bytes", "b_packets", "b_bytes"),
}

ADDRESS = ("hi", "lo", "stretch")

Array = NDArray[Any]


def partial_batch(table: StoreTable, columns: Columns, names: Mapping[str, Sequence[str]]) -> pa.RecordBatch:
    """Columns of schema.py but `source`; `network` and `observer` are indices into `names`."""
    kind = KINDS[table.name]
    x, y = ENDS[kind]

    def wide(name: str) -> Array:
        values = columns[name]
        return values.view(np.int64) if values.dtype == np.uint64 else values.astype(np.int64)

    ports = wide("port") if kind == FLOW else (wide("a_port") << 16) | wide("b_port")
    made = {
        "meta": (np.int64(kind) << 16) | (wide("protocol") << 8) | wide("verdict"),
        "ports": ports,
        "slice": wide("slice"),
        **{
            f"{to}_{part}": wide(f"{end}_{part}")
            for to, end in (("x", x), ("y", y))
            for part in ("hi", "lo", "stretch")
        },
        "direction": wide("direction") if kind == FLOW else np.zeros(len(ports), np.int64),
        "evidence": wide("evidence"),
        **{to: wide(name) for to, name in zip(SUMS, ("records", *COUNTERS[kind]), strict=True)},
        "first": wide("first"),
        "last": wide("last"),
    }
    texts = {name: pa.array(names[name], pa.string()).take(pa.array(columns[name])) for name in TEXTS}
    return pa.record_batch(
        [texts[f.name] if f.name in TEXTS else pa.array(made[f.name]) for f in SCHEMA], schema=SCHEMA
    )


def fact_batch(facts: Sequence[str]) -> pa.RecordBatch:
    """Facts as rows that no grouping changes."""
    zeros = pa.array(np.zeros(len(facts), np.int64))
    columns: list[Any] = []
    for field in SCHEMA:
        if field.name == "observer":
            columns.append(pa.array(facts, pa.string()))
        elif field.name == "network":
            columns.append(pa.array([""] * len(facts), pa.string()))
        elif field.name == "meta":
            columns.append(pa.array(np.full(len(facts), FACT << 16, np.int64)))
        else:
            columns.append(zeros)
    return pa.record_batch(columns, schema=SCHEMA)


def window_batch(rows: Array, names: Sequence[str], slot_seconds: int) -> pa.RecordBatch:
    """Rows of analyzers.kernels.windows; `names` by observers' numbers."""
    columns = window_columns(rows, slot_seconds)
    count = len(rows)
    zeros = np.zeros(2 * count, np.int64)
    made = dict.fromkeys(SCHEMA.names, zeros)
    made["meta"] = np.full(2 * count, WINDOW << 16, np.int64)
    made["ports"] = np.repeat(np.arange(2, dtype=np.int64), count)
    made["slice"] = np.tile(columns["slice"], 2)
    made["x_lo"] = np.tile(columns["seconds"], 2)
    made["evidence"] = np.concatenate([columns["covered"], columns["lost"]]).view(np.int64)
    made["records"] = np.concatenate([columns["nodata"], columns["skipdata"]]).view(np.int64)
    observers = pa.array(names, pa.string()).take(pa.array(np.tile(columns["observer"], 2)))
    made["observer"], made["network"] = observers, pa.array([""] * (2 * count), pa.string())
    return pa.record_batch([pa.array(made[name]) for name in SCHEMA.names], schema=SCHEMA)


def facts_of(batch: pa.RecordBatch) -> list[str]:
    """The facts among merged rows."""
    kinds = np.asarray(batch.column("meta")) >> 16
    found = np.flatnonzero(kinds == FACT)
    texts: list[str] = batch.column("observer").take(pa.array(found)).to_pylist() if len(found) else []
    return texts


def store_columns(batch: pa.RecordBatch) -> Iterator[tuple[StoreTable, pa.Table]]:
    """Merged rows as tables in the columns and types of the store's Parquet files; rows belong to no single source."""
    meta = np.asarray(batch.column("meta"))
    for table in (FLOWS, CONNECTIONS):
        kind = KINDS[table.name]
        at = np.flatnonzero(meta >> 16 == kind)
        if not len(at):
            continue
        rows = batch if len(at) == len(meta) else batch.take(pa.array(at))
        yield table, _as_stored(table, kind, rows)
    at = np.flatnonzero(meta >> 16 == WINDOW)
    if len(at):
        yield WINDOWS, _windows_as_stored(batch.take(pa.array(at)))


def _as_stored(table: StoreTable, kind: int, rows: pa.RecordBatch) -> pa.Table:
    def numbers(name: str) -> Array:
        return np.asarray(rows.column(name))

    meta, ports = numbers("meta"), numbers("ports")
    x, y = ENDS[kind]
    made: dict[str, Any] = {
        "source": np.full(rows.num_rows, "", object),
        "network": rows.column("network"),
        "observer": rows.column("observer"),
        "protocol": (meta >> 8) & 0xFF,
        "verdict": meta & 0xFF,
        "port": ports,
        "a_port": (ports >> 16) & 0xFFFF,
        "b_port": ports & 0xFFFF,
        **{
            f"{end}_{part}": numbers(f"{to}_{part}")
            for to, end in (("x", x), ("y", y))
            for part in ("hi", "lo", "stretch")
        },
        **{name: numbers(to) for to, name in zip(SUMS, ("records", *COUNTERS[kind]), strict=True)},
        **{name: numbers(name) for name in ("slice", "direction", "evidence", "first", "last")},
    }
    return pa.table({c.name: pa.array(made[c.name]).cast(_TYPES[c.parquet_type]) for c in table.columns})


def _windows_as_stored(rows: pa.RecordBatch) -> pa.Table:
    """Each half as a row, zeros in the place of the other: readers merge them."""
    half = np.asarray(rows.column("ports"))
    bits, records = np.asarray(rows.column("evidence")), np.asarray(rows.column("records"))
    made: dict[str, Any] = {
        "source": np.full(rows.num_rows, "", object),
        "observer": rows.column("observer"),
        "seconds": np.asarray(rows.column("x_lo")),
        "slice": np.asarray(rows.column("slice")),
        "covered": np.where(half == 0, bits, 0),
        "lost": np.where(half == 1, bits, 0),
        "nodata": np.where(half == 0, records, 0),
        "skipdata": np.where(half == 1, records, 0),
    }
    return pa.table({c.name: pa.array(made[c.name]).cast(_TYPES[c.parquet_type]) for c in WINDOWS.columns})


_TYPES = {"VARCHAR": pa.string(), "SMALLINT": pa.int16(), "INTEGER": pa.int32(), "BIGINT": pa.int64()}
