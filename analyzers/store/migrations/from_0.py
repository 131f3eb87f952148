"""Layout 0 told neither how a row's direction was found, nor whose rows had been merged, nor what records lack and
what times they cover."""

from __future__ import annotations

import duckdb


def migrate(connection: duckdb.DuckDBPyConnection) -> None:
    """`flows.direction` follows from the evidence (SYN 1 or SYN-ACK 2: a handshake); nothing was merged yet."""
    connection.execute("ALTER TABLE flows ADD COLUMN direction UTINYINT DEFAULT 5")
    connection.execute("UPDATE flows SET direction = 1 WHERE evidence & 3 <> 0")
    connection.execute("ALTER TABLE sources ADD COLUMN merged BIGINT DEFAULT 0")
    connection.execute("ALTER TABLE sources ADD COLUMN unit VARCHAR DEFAULT 'offset'")
    connection.execute("ALTER TABLE sources ADD COLUMN plain BOOLEAN DEFAULT false")
    connection.execute(
        "CREATE TABLE windows (source UINTEGER NOT NULL, observer UINTEGER NOT NULL, seconds BIGINT NOT NULL, "
        "slice BIGINT NOT NULL, covered UBIGINT NOT NULL, lost UBIGINT NOT NULL, nodata UBIGINT NOT NULL, "
        "skipdata UBIGINT NOT NULL)"
    )
    connection.execute(
        "CREATE TABLE losses (source UINTEGER NOT NULL, attachment VARCHAR NOT NULL, reason VARCHAR NOT NULL, "
        "packets UBIGINT NOT NULL)"
    )
