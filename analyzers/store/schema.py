"""What a flow store holds: every table and column declared once, for DuckDB, for Parquet and for every engine.

A store is either a DuckDB file or a directory (object-store prefix) of Parquet files:

    DuckDB    tables meta, networks, observers, sources, skips, losses, windows, flows, connections
    Parquet   MARKER (JSON: {"schema": VERSION, "slice_seconds": n}), sources/*.parquet, skips/*.parquet,
              losses/*.parquet, windows/*.parquet, flows/*.parquet, connections/*.parquet

`flows` has the records whose direction the records themselves settle, `connections` all others: both ports kept, ends
in canonical order (a before b by address, then port), so that who serves can be settled over everything that is read.

Rows of one key may occur several times (partial sums of one object, several objects, several slices). Readers merge
them by each column's `merge`, so no writer has to. No row spans a slice: `slice` is that of its `first`.

In Parquet the columns that point into a dictionary table (`dictionary`) hold the text itself, and unsigned numbers are
stored as the signed type of the same width with the same bits (two's complement), or a wider one: Spark and others
have no unsigned types.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

VERSION = 1
"""Of the layout below. Raised with every change; analyzers.store.migrations has a step for each older version."""

MARKER = "_flowctl_store.json"
"""The file that makes a directory of Parquet files a store; written last."""

SLICE_SECONDS = 3600
"""Default length of a time slice, in seconds. Slices begin at multiples of it since 1970-01-01T00:00:00Z."""

Merge = Literal["key", "sum", "min", "max", "or"]
PARQUET_TYPES = {
    "UTINYINT": "SMALLINT",
    "USMALLINT": "INTEGER",
    "UINTEGER": "BIGINT",
    "UBIGINT": "BIGINT",  # the same bits
    "BIGINT": "BIGINT",
    "BOOLEAN": "BOOLEAN",
    "VARCHAR": "VARCHAR",
    "VARCHAR[]": "VARCHAR[]",
    "BIGINT[]": "BIGINT[]",
}


@dataclass(frozen=True, slots=True)
class StoreColumn:
    """One column: `type` is DuckDB's, `merge` how rows of one key become one, `dictionary` the table it points into."""

    name: str
    type: str
    unit: str
    meaning: str
    merge: Merge = "key"
    dictionary: str = ""

    @property
    def parquet_type(self) -> str:
        """SQL name of the type in Parquet files."""
        return "VARCHAR" if self.dictionary else PARQUET_TYPES[self.type]


@dataclass(frozen=True, slots=True)
class StoreTable:
    """One table of a store; `parquet`: it also exists in stores of Parquet files."""

    name: str
    meaning: str
    columns: tuple[StoreColumn, ...]
    parquet: bool = False

    @property
    def keys(self) -> tuple[StoreColumn, ...]:
        """The columns that tell rows apart."""
        return tuple(c for c in self.columns if c.merge == "key")

    @property
    def values(self) -> tuple[StoreColumn, ...]:
        """The columns that are merged."""
        return tuple(c for c in self.columns if c.merge != "key")


STRETCH = (
    "which stretch of ownership: 0 no change of owner was known when it was read; else 2 * (time of the last change "
    "at or before the record, s UTC, 1 before the first change), plus 1 when a single record spans a change"
)

FLOWS = StoreTable(
    "flows",
    "records whose direction is settled, one row a service key, observer, slice and source object",
    (
        StoreColumn("source", "UINTEGER", "id", "the object it was read from", dictionary="sources"),
        StoreColumn("slice", "BIGINT", "s UTC", "start of the time slice that `first` lies in"),
        StoreColumn("network", "UINTEGER", "id", "VPC, cluster or named network of both addresses", "key", "networks"),
        StoreColumn("client_hi", "UBIGINT", "bits", "upper half of the client's 128-bit address"),
        StoreColumn("client_lo", "UBIGINT", "bits", "lower half; IPv4 is mapped (::ffff:a.b.c.d)"),
        StoreColumn("server_hi", "UBIGINT", "bits", "upper half of the server's 128-bit address"),
        StoreColumn("server_lo", "UBIGINT", "bits", "lower half; IPv4 is mapped"),
        StoreColumn("client_stretch", "BIGINT", "code", f"of the client's address: {STRETCH}"),
        StoreColumn("server_stretch", "BIGINT", "code", "of the server's address: as client_stretch"),
        StoreColumn("port", "USMALLINT", "port", "the server's port; 0 for protocols without ports"),
        StoreColumn("protocol", "UTINYINT", "IANA", "6 TCP, 17 UDP, 132 SCTP, 1 ICMP, 58 ICMPv6, ..."),
        StoreColumn("verdict", "UTINYINT", "Verdict", "0 unknown, 1 accepted, 2 rejected"),
        StoreColumn("observer", "UINTEGER", "id", "the interface or capture that saw it", "key", "observers"),
        StoreColumn(
            "direction", "UTINYINT", "Direction", "how they were oriented: HANDSHAKE if any was, else WELL_KNOWN", "min"
        ),
        StoreColumn("evidence", "UTINYINT", "Evidence", "bits of analyzers.flows.Evidence", "or"),
        StoreColumn("records", "UBIGINT", "count", "log records in this row", "sum"),
        StoreColumn("packets", "UBIGINT", "count", "client to server", "sum"),
        StoreColumn("bytes", "UBIGINT", "bytes", "client to server", "sum"),
        StoreColumn("reply_packets", "UBIGINT", "count", "server to client", "sum"),
        StoreColumn("reply_bytes", "UBIGINT", "bytes", "server to client", "sum"),
        StoreColumn("first", "BIGINT", "s UTC", "earliest start of a record", "min"),
        StoreColumn("last", "BIGINT", "s UTC", "latest end of a record", "max"),
    ),
    parquet=True,
)

CONNECTIONS = StoreTable(
    "connections",
    "records and packets whose direction they do not settle by themselves: one row a 5-tuple, observer, slice, object",
    (
        StoreColumn("source", "UINTEGER", "id", "the object it was read from", dictionary="sources"),
        StoreColumn("slice", "BIGINT", "s UTC", "start of the time slice that `first` lies in"),
        StoreColumn("network", "UINTEGER", "id", "VPC, cluster or named network of both addresses", "key", "networks"),
        StoreColumn("a_hi", "UBIGINT", "bits", "upper half of the smaller end's address"),
        StoreColumn("a_lo", "UBIGINT", "bits", "lower half; IPv4 is mapped"),
        StoreColumn("b_hi", "UBIGINT", "bits", "upper half of the larger end's address"),
        StoreColumn("b_lo", "UBIGINT", "bits", "lower half; IPv4 is mapped"),
        StoreColumn("a_stretch", "BIGINT", "code", f"of a's address: {STRETCH}"),
        StoreColumn("b_stretch", "BIGINT", "code", "of b's address: as a_stretch"),
        StoreColumn("a_port", "USMALLINT", "port", "a's port"),
        StoreColumn("b_port", "USMALLINT", "port", "b's port"),
        StoreColumn("protocol", "UTINYINT", "IANA", "6 TCP, 17 UDP, 132 SCTP, 1 ICMP, 58 ICMPv6, ..."),
        StoreColumn("verdict", "UTINYINT", "Verdict", "0 unknown, 1 accepted, 2 rejected"),
        StoreColumn("observer", "UINTEGER", "id", "the interface or capture that saw it", "key", "observers"),
        StoreColumn(
            "evidence",
            "USMALLINT",
            "bits",
            "SYN_A, SYN_B, SYN_ACK_A, ... of analyzers.kernels.tables, in that order",
            "or",
        ),
        StoreColumn("records", "UBIGINT", "count", "log records or packets in this row", "sum"),
        StoreColumn("a_packets", "UBIGINT", "count", "a to b", "sum"),
        StoreColumn("a_bytes", "UBIGINT", "bytes", "a to b", "sum"),
        StoreColumn("b_packets", "UBIGINT", "count", "b to a", "sum"),
        StoreColumn("b_bytes", "UBIGINT", "bytes", "b to a", "sum"),
        StoreColumn("first", "BIGINT", "s UTC", "earliest start of a record", "min"),
        StoreColumn("last", "BIGINT", "s UTC", "latest end of a record", "max"),
    ),
    parquet=True,
)

SOURCES = StoreTable(
    "sources",
    "objects that were taken, each exactly once, written in one transaction with its rows",
    (
        StoreColumn("id", "UINTEGER", "id", "number of the source; not in Parquet, where `key` tells"),
        StoreColumn("key", "VARCHAR", "text", "absolute path, or the object's URL"),
        StoreColumn("name", "VARCHAR", "text", "as the user named it; what reports print"),
        StoreColumn("size", "UBIGINT", "bytes", "of the object as it lies there"),
        StoreColumn("digest", "VARCHAR", "text", "etag, or what analyzers.store.identity makes of the content"),
        StoreColumn("modified", "BIGINT", "ns UTC", "time of the last change; 0 where it is not known"),
        StoreColumn("format", "VARCHAR", "text", "aws-vpc, capture, ...; empty when nothing in it was readable"),
        StoreColumn("bytes_read", "UBIGINT", "bytes", "after decompression"),
        StoreColumn("records", "UBIGINT", "count", "records or packets that are in rows"),
        StoreColumn("first", "BIGINT", "s UTC", "earliest start of a record; -1 without records"),
        StoreColumn("last", "BIGINT", "s UTC", "latest end of a record; -1 without records"),
        StoreColumn(
            "merged", "BIGINT", "s UTC", 'rows in slices before it are merged with other objects\' (source 0 or "")'
        ),
        StoreColumn("notes", "VARCHAR[]", "text", "what the user should know about it"),
        StoreColumn("unit", "VARCHAR", "text", "what places in it are counted in: offset (bytes) or row"),
        StoreColumn(
            "plain", "BOOLEAN", "truth", "some records tell interfaces' addresses only: no pkt-srcaddr and pkt-dstaddr"
        ),
    ),
    parquet=True,
)

SKIPS = StoreTable(
    "skips",
    "what was passed over in a source, and coverage facts, by reason",
    (
        StoreColumn("source", "UINTEGER", "id", "the object", dictionary="sources"),
        StoreColumn("reason", "VARCHAR", "text", "why"),
        StoreColumn("count", "UBIGINT", "count", "how often"),
        StoreColumn(
            "offsets",
            "BIGINT[]",
            "bytes",
            "of up to three first places, in the source's `unit`",
        ),
        StoreColumn("samples", "VARCHAR[]", "text", "what stands there; as many as offsets"),
    ),
    parquet=True,
)

WINDOWS = StoreTable(
    "windows",
    "which times an interface's records cover: one row an observer, slot of time and source object",
    (
        StoreColumn("source", "UINTEGER", "id", "the object it was read from", dictionary="sources"),
        StoreColumn("observer", "UINTEGER", "id", "the interface", "key", "observers"),
        StoreColumn("seconds", "BIGINT", "s", "length of the slot: an hour, twice or four times that, ..."),
        StoreColumn("slice", "BIGINT", "s UTC", "start of the slot, a multiple of its length"),
        StoreColumn("covered", "UBIGINT", "bits", "its sixtieths that a record with traffic or NODATA touches", "or"),
        StoreColumn("lost", "UBIGINT", "bits", "its sixtieths that a SKIPDATA record touches", "or"),
        StoreColumn("nodata", "UBIGINT", "count", "NODATA records that begin in it", "sum"),
        StoreColumn("skipdata", "UBIGINT", "count", "SKIPDATA records that begin in it", "sum"),
    ),
    parquet=True,
)

LOSSES = StoreTable(
    "losses",
    "packets that transit gateways lost, by source, attachment and reason",
    (
        StoreColumn("source", "UINTEGER", "id", "the object", dictionary="sources"),
        StoreColumn("attachment", "VARCHAR", "text", "id of the transit gateway attachment"),
        StoreColumn("reason", "VARCHAR", "text", "why: one of analyzers.ingest.formats.aws_vpc.LOST_REASONS"),
        StoreColumn("packets", "UBIGINT", "count", "how many"),
    ),
    parquet=True,
)

META = StoreTable(
    "meta",
    "facts about the store itself",
    (
        StoreColumn("name", "VARCHAR", "text", "schema, slice_seconds"),
        StoreColumn("value", "VARCHAR", "text", "its value"),
    ),
)


def _names(table: str, meaning: str) -> StoreTable:
    return StoreTable(
        table,
        meaning,
        (
            StoreColumn("id", "UINTEGER", "id", "number; 0 is the empty name"),
            StoreColumn("name", "VARCHAR", "text", "the name"),
        ),
    )


NETWORKS = _names("networks", "names of networks")
OBSERVERS = _names("observers", "names of interfaces and captures")
TABLES = (META, NETWORKS, OBSERVERS, SOURCES, SKIPS, LOSSES, WINDOWS, FLOWS, CONNECTIONS)


def create_statement(table: StoreTable, prefix: str = "") -> str:
    """CREATE TABLE for DuckDB; `prefix`: database and dot. Every column is NOT NULL."""
    columns = ", ".join(f'"{c.name}" {c.type} NOT NULL' for c in table.columns)
    return f"CREATE TABLE {prefix}{table.name} ({columns})"


def to_parquet(column: StoreColumn, alias: str = "") -> str:
    """SQL expression (DuckDB) that turns a stored value into its Parquet form; dictionary columns are joined before."""
    name = f'{alias}"{column.name}"'
    if column.type == "UBIGINT":  # two's complement of the same bits
        wide = f"{name}::HUGEINT"
        return f"(CASE WHEN {wide} > 9223372036854775807 THEN {wide} - 18446744073709551616 ELSE {wide} END)::BIGINT"
    return f"{name}::{column.parquet_type}"


def from_parquet(column: StoreColumn, alias: str = "") -> str:
    """The way back of `to_parquet`."""
    name = f'{alias}"{column.name}"'
    if column.type == "UBIGINT":
        wide = f"{name}::HUGEINT"
        return f"(CASE WHEN {name} < 0 THEN {wide} + 18446744073709551616 ELSE {wide} END)::UBIGINT"
    return f"{name}::{column.type}"
