"""Who serves, out of core: the steps of analyzers.ingest.direction in SQL, for connections that outgrow the memory.

The numpy code there is the twin that tests compare with. Steps and their numbers are the same; every table here may be
larger than the memory, DuckDB sorts and joins them in temporary files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from analyzers.flows import Direction, Evidence
from analyzers.ingest.direction import FAN_IN, FAN_IN_RATIO, PORTED, PROBE_BYTES, PROBE_PACKETS
from analyzers.kernels import tables as t
from analyzers.ports import port_rank
from analyzers.store.database import Stages, insert, whole_number
from analyzers.store.rows import Columns

if TYPE_CHECKING:
    import duckdb

GROUP = ("network", "a_hi", "a_lo", "b_hi", "b_lo", "a_port", "b_port", "protocol")
"""A connection, whoever saw it and whatever the verdict."""

HAND, LISTENER, FAN, DECLARED, WELL_KNOWN = (
    int(d)
    for d in (
        Direction.HANDSHAKE, Direction.LISTENER, Direction.FAN_IN, Direction.DECLARED, Direction.WELL_KNOWN
    )
)  # fmt: skip

PORTED_TEXT = ", ".join(map(str, PORTED))


def settle_in_database(
    connection: duckdb.DuckDBPyConnection, declared: frozenset[tuple[int, int, int, int]], stages: Stages
) -> None:
    """From tables `merged_flows` and `merged_connections` to `settled` (columns of a FlowTable, rows of one service
    key folded). `merged_connections` is dropped on the way."""
    _write_facts(connection, declared)
    for number, (what, step) in enumerate(
        (("handshakes", _groups), ("listeners", _listening), ("fan-in", _fan_in), ("ports", _decide)), 1
    ):
        stages.begin(f"settling directions {number} of 5: {what}")
        step(connection)
    stages.begin("settling directions 5 of 5: adding up")
    connection.execute(f"CREATE TABLE settled AS {_folded(mutual=False)}")
    if declared and whole_number(connection, "SELECT count(*) FROM decided WHERE mutual"):
        # each serves the other: the same records the other way round as well
        connection.execute(f"INSERT INTO settled BY NAME {_folded(mutual=True)}")
    for table in ("decided", "merged_connections"):
        connection.execute(f"DROP TABLE {table}")


def _write_facts(connection: duckdb.DuckDBPyConnection, declared: frozenset[tuple[int, int, int, int]]) -> None:
    """Small tables: `declared_ends` and `port_ranks`."""
    ends = sorted(declared)
    incoming: Columns = {
        "hi": np.array([e[0] for e in ends], np.uint64),
        "lo": np.array([e[1] for e in ends], np.uint64),
        "port": np.array([e[2] for e in ends], np.int32),
        "protocol": np.array([e[3] for e in ends], np.int32),
    }
    connection.execute("CREATE TABLE declared_ends (hi UBIGINT, lo UBIGINT, port INTEGER, protocol INTEGER)")
    ranks = port_rank()
    ranked: Columns = {"port": np.arange(len(ranks), dtype=np.int32), "rank": ranks.astype(np.int32)}
    connection.execute("CREATE TABLE port_ranks (port INTEGER, rank INTEGER)")
    for table, columns in (("declared_ends", incoming), ("port_ranks", ranked)):
        if len(columns["port"]):
            insert(connection, table, columns)


def _groups(connection: duckdb.DuckDBPyConnection) -> None:
    """Table `connection_groups`: one row a connection, with step 1 (its own handshake) done and what later steps ask.

    method 0: open; b_serves counts where method is not 0. See direction._talked and _reached.
    """
    to_b = int(t.SYN_A | t.SYN_ACK_B | t.ASK_A)
    to_a = int(t.SYN_B | t.SYN_ACK_A | t.ASK_B)
    sums = ", ".join(
        f"(coalesce(sum({name}) FILTER (verdict <> 2), 0) % 18446744073709551616)::UBIGINT AS {name}"
        for name in ("a_packets", "a_bytes", "b_packets", "b_bytes")
    )
    key = ", ".join(GROUP)
    probe = (
        f"protocol = 6 AND a_packets <= {PROBE_PACKETS} AND b_packets <= {PROBE_PACKETS} "
        f"AND a_bytes <= a_packets * {PROBE_BYTES} AND b_bytes <= b_packets * {PROBE_BYTES}"
    )
    connection.execute(
        f"CREATE TABLE connection_groups AS SELECT {key}, "
        f"CASE WHEN opened_b <> opened_a THEN {HAND} ELSE 0 END::UTINYINT AS method, opened_b AS b_serves, "
        f"protocol IN ({PORTED_TEXT}) AS ported, "
        f"a_packets > 0 AND b_packets > 0 AND NOT ({probe}) AS talked, reached_a, reached_b "
        f"FROM (SELECT {key}, (bit_or(evidence) & {to_b}) <> 0 AS opened_b, "
        f"(bit_or(evidence) & {to_a}) <> 0 AS opened_a, "
        f"bool_or(a_packets > 0) AS reached_b, bool_or(b_packets > 0) AS reached_a, {sums} "
        f"FROM merged_connections GROUP BY {key})"
    )


def _end(side: str, alias: str, other: str) -> str:
    """Join condition: the end `side` of `alias` is the end in `other`."""
    return (
        f"{other}.network = {alias}.network AND {other}.hi = {alias}.{side}_hi AND {other}.lo = {alias}.{side}_lo "
        f"AND {other}.port = {alias}.{side}_port AND {other}.protocol = {alias}.protocol"
    )


def _listening(connection: duckdb.DuckDBPyConnection) -> None:
    """Step 2: an end that served by handshake elsewhere, when the other end did not."""
    shaken = int(Evidence.SYN | Evidence.SYN_ACK)
    served = f"method = {HAND} AND ported AND talked"
    connection.execute(
        "CREATE TABLE listening_ends AS "
        "SELECT network, server_hi AS hi, server_lo AS lo, port, protocol FROM merged_flows "
        f"WHERE evidence & {shaken} <> 0 AND (evidence & {int(Evidence.SYN_ACK)} <> 0 OR reply_packets > 0) "
        "AND verdict <> 2 "
        f"UNION SELECT network, b_hi, b_lo, b_port, protocol FROM connection_groups WHERE {served} AND b_serves "
        f"UNION SELECT network, a_hi, a_lo, a_port, protocol FROM connection_groups WHERE {served} AND NOT b_serves"
    )
    found = "g.method = 0 AND g.ported AND (la.hi IS NULL) <> (lb.hi IS NULL)"
    key = ", ".join(f"g.{name}" for name in GROUP)
    _replace(
        connection,
        "connection_groups",
        f"SELECT {key}, CASE WHEN {found} THEN {LISTENER} ELSE g.method END::UTINYINT AS method, "
        f"CASE WHEN {found} THEN lb.hi IS NOT NULL ELSE g.b_serves END AS b_serves, "
        "g.ported, g.talked, g.reached_a, g.reached_b FROM connection_groups g "
        f"LEFT JOIN listening_ends la ON {_end('a', 'g', 'la')} LEFT JOIN listening_ends lb ON {_end('b', 'g', 'lb')}",
    )
    connection.execute("DROP TABLE listening_ends")


def _replace(connection: duckdb.DuckDBPyConnection, table: str, query: str) -> None:
    """`table` becomes what the query makes of it."""
    connection.execute(f"CREATE TABLE replacement AS {query}")
    connection.execute(f"DROP TABLE {table}")
    connection.execute(f"ALTER TABLE replacement RENAME TO {table}")


def _fan_in(connection: duckdb.DuckDBPyConnection) -> None:
    """Step 3: table `fanned` (row of connection_groups, b_serves), by the loop of direction._fan_in.

    Only ends that two connections meet get a number; every other end's fan is 1 as long as its connection is open.
    A connection without an end that FAN_IN of them meet can never be decided: fans only shrink.
    """
    open_ = "method = 0 AND ported AND talked"
    connection.execute("CREATE TABLE fanned (place BIGINT, b_serves BOOLEAN)")
    ends = " UNION ALL ".join(
        f"SELECT network, {side}_hi AS hi, {side}_lo AS lo, {side}_port AS port, protocol FROM connection_groups "
        f"WHERE {open_}"
        for side in ("a", "b")
    )
    connection.execute(
        "CREATE TABLE busy_ends AS SELECT network, hi, lo, port, protocol, count(*) AS fan, "
        f"row_number() OVER () AS id FROM ({ends}) GROUP BY network, hi, lo, port, protocol HAVING count(*) >= 2"
    )
    connection.execute(
        "CREATE TABLE candidates AS SELECT g.rowid AS place, coalesce(ea.id, 0) AS a, coalesce(eb.id, 0) AS b, "
        "g.reached_a, g.reached_b FROM connection_groups g "
        f"LEFT JOIN busy_ends ea ON {_end('a', 'g', 'ea')} LEFT JOIN busy_ends eb ON {_end('b', 'g', 'eb')} "
        f"WHERE {open_} AND (ea.fan >= {FAN_IN} OR eb.fan >= {FAN_IN})"
    )
    highest = whole_number(connection, "SELECT coalesce(max(fan), 0) FROM busy_ends")
    # of connections that are no candidates, their ends keep what they hold: it never leaves
    connection.execute(
        "CREATE TABLE steady AS SELECT id, fan - coalesce(mine, 0) AS fan FROM busy_ends LEFT JOIN "
        "(SELECT id, count(*) AS mine FROM (SELECT a AS id FROM candidates UNION ALL SELECT b FROM candidates) "
        "GROUP BY id) USING (id) WHERE fan > coalesce(mine, 0)"
    )
    connection.execute("DROP TABLE busy_ends")
    level = float(highest)
    while True:
        level = max(level, FAN_IN)
        decided = _fan_in_round(connection, level)
        if level <= FAN_IN and not decided:
            break
        level /= 4
    for table in ("candidates", "steady"):
        connection.execute(f"DROP TABLE {table}")


def _fan_in_round(connection: duckdb.DuckDBPyConnection, level: float) -> int:
    """Decide what this level decides and take it out of `candidates`; how many."""
    connection.execute(
        "CREATE TABLE fans AS SELECT id, sum(n)::BIGINT AS fan FROM (SELECT a AS id, 1 AS n FROM candidates "
        "UNION ALL SELECT b, 1 FROM candidates UNION ALL SELECT id, fan FROM steady) WHERE id <> 0 GROUP BY id"
    )
    fan_a, fan_b = "coalesce(fa.fan, 1)", "coalesce(fb.fan, 1)"
    serves = {
        "b": f"({fan_b} >= {level!r} AND {fan_b} >= {FAN_IN_RATIO} * {fan_a} AND c.reached_b)",
        "a": f"({fan_a} >= {level!r} AND {fan_a} >= {FAN_IN_RATIO} * {fan_b} AND c.reached_a)",
    }
    connection.execute(
        f"CREATE TABLE judged AS SELECT c.*, {serves['b']} AS b_serves, {serves['a']} AS a_serves FROM candidates c "
        "LEFT JOIN fans fa ON fa.id = c.a LEFT JOIN fans fb ON fb.id = c.b"
    )
    decided = whole_number(connection, "SELECT count(*) FROM judged WHERE a_serves OR b_serves")
    if decided:
        connection.execute("INSERT INTO fanned SELECT place, b_serves FROM judged WHERE a_serves OR b_serves")
        connection.execute("DROP TABLE candidates")
        connection.execute(
            "CREATE TABLE candidates AS SELECT place, a, b, reached_a, reached_b FROM judged "
            "WHERE NOT (a_serves OR b_serves)"
        )
    connection.execute("DROP TABLE judged")
    connection.execute("DROP TABLE fans")
    return decided


def _decide(connection: duckdb.DuckDBPyConnection) -> None:
    """Steps 3 to 5 put together: table `decided`, one row a connection: key, method, forward (b serves), mutual."""
    key = ", ".join(f"g.{name}" for name in GROUP)
    known_a, known_b = "da.hi IS NOT NULL", "db.hi IS NOT NULL"
    open_ = "g.method = 0 AND f.place IS NULL AND g.ported"
    mutual = f"({open_} AND {known_a} AND {known_b} AND g.a_port = g.b_port)"
    one_known = f"({open_} AND ({known_a}) <> ({known_b}))"
    ranked = f"({open_} AND ra.rank <> rb.rank)"

    def case(handled: str, fanned: str, both: str, one: str, rank: str, unknown: str) -> str:
        return (
            f"CASE WHEN g.method <> 0 THEN {handled} WHEN f.place IS NOT NULL THEN {fanned} WHEN {mutual} THEN {both} "
            f"WHEN {one_known} THEN {one} WHEN {ranked} THEN {rank} ELSE {unknown} END"
        )

    declared: Callable[[str], str] = lambda side: (  # noqa: E731  (a sentence, twice)
        f"d{side}.hi = g.{side}_hi AND d{side}.lo = g.{side}_lo AND d{side}.port = g.{side}_port "
        f"AND d{side}.protocol = g.protocol"
    )
    method = case("g.method", str(FAN), str(DECLARED), str(DECLARED), str(WELL_KNOWN), "0")
    forward = case("g.b_serves", "f.b_serves", "true", known_b, "rb.rank > ra.rank", "true")
    connection.execute(
        f"CREATE TABLE decided AS SELECT {key}, {method}::UTINYINT AS method, {forward} AS forward, {mutual} AS mutual "
        "FROM connection_groups g LEFT JOIN fanned f ON f.place = g.rowid "
        f"LEFT JOIN declared_ends da ON {declared('a')} LEFT JOIN declared_ends db ON {declared('b')} "
        "JOIN port_ranks ra ON ra.port = g.a_port JOIN port_ranks rb ON rb.port = g.b_port"
    )
    for table in ("connection_groups", "fanned", "declared_ends", "port_ranks"):
        connection.execute(f"DROP TABLE {table}")


def _folded(*, mutual: bool) -> str:
    """SELECT of FlowTable columns, one row a service key, observer, method and stretch of ownership; `mutual`: of the
    connections that either end may serve, the other way round. See direction._columns and _fold."""
    forward = "false" if mutual else "d.forward"

    def pick(ahead: str, back: str) -> str:
        return f"CASE WHEN {forward} THEN {ahead} ELSE {back} END"

    evidence = " | ".join(
        f"(CASE WHEN r.evidence & ({pick(str(int(ahead)), str(int(back)))}) <> 0 THEN {int(meaning)} ELSE 0 END)"
        for ahead, back, meaning in (
            (t.SYN_A, t.SYN_B, Evidence.SYN),
            (t.SYN_ACK_B, t.SYN_ACK_A, Evidence.SYN_ACK),
            (t.FIN_A, t.FIN_B, Evidence.CLIENT_FIN),
        )
    )
    port = f"CASE WHEN d.method = 0 OR r.protocol NOT IN ({PORTED_TEXT}) THEN 0 ELSE {pick('r.b_port', 'r.a_port')} END"
    keys = {
        "network": "r.network", "client_hi": pick("r.a_hi", "r.b_hi"), "client_lo": pick("r.a_lo", "r.b_lo"),
        "server_hi": pick("r.b_hi", "r.a_hi"), "server_lo": pick("r.b_lo", "r.a_lo"), "port": f"({port})::USMALLINT",
        "protocol": "r.protocol", "verdict": "r.verdict", "observer": "r.observer", "direction": "d.method",
    }  # fmt: skip
    sums = {
        "records": "r.records", "packets": pick("r.a_packets", "r.b_packets"), "bytes": pick("r.a_bytes", "r.b_bytes"),
        "reply_packets": pick("r.b_packets", "r.a_packets"), "reply_bytes": pick("r.b_bytes", "r.a_bytes"),
    }  # fmt: skip
    match = " AND ".join(f"d.{name} = r.{name}" for name in GROUP)
    listed = ", ".join(f"{what} AS {name}" for name, what in keys.items())
    summed = ", ".join(f"(sum({what}) % 18446744073709551616)::UBIGINT AS {name}" for name, what in sums.items())
    grouped = ", ".join(str(i + 1) for i in range(len(keys)))
    where = "WHERE d.mutual" if mutual else ""
    return (
        f"SELECT {listed}, bit_or({evidence})::UTINYINT AS evidence, {summed}, "
        'min(r."first") AS "first", max(r."last") AS "last" '
        f"FROM merged_connections r JOIN decided d ON {match} {where} GROUP BY {grouped}, r.a_stretch, r.b_stretch"
    )
