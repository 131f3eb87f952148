"""Layout 0 told neither how a row's direction was found nor whose rows had been merged."""

from __future__ import annotations

import duckdb


def migrate(connection: duckdb.DuckDBPyConnection) -> None:
    """`flows.direction` follows from the evidence (SYN 1 or SYN-ACK 2: a handshake); nothing was merged yet."""
    connection.execute("ALTER TABLE flows ADD COLUMN direction UTINYINT")
    connection.execute("UPDATE flows SET direction = CASE WHEN evidence & 3 <> 0 THEN 1 ELSE 5 END")
    connection.execute("ALTER TABLE flows ALTER COLUMN direction SET NOT NULL")
    connection.execute("ALTER TABLE sources ADD COLUMN merged BIGINT DEFAULT 0")
    connection.execute("ALTER TABLE sources ALTER COLUMN merged SET NOT NULL")
