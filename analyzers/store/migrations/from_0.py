"""Layout 0 told neither how a row's direction was found nor whose rows had been merged."""

from __future__ import annotations

import duckdb


def migrate(connection: duckdb.DuckDBPyConnection) -> None:
    """`flows.direction` follows from the evidence (SYN 1 or SYN-ACK 2: a handshake); nothing was merged yet."""
    connection.execute("ALTER TABLE flows ADD COLUMN direction UTINYINT DEFAULT 5")
    connection.execute("UPDATE flows SET direction = 1 WHERE evidence & 3 <> 0")
    connection.execute("ALTER TABLE sources ADD COLUMN merged BIGINT DEFAULT 0")
