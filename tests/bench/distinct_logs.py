"""Flow logs in which every record is a key of its own: what fills tables fastest. Written at disk speed by numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TEMPLATE = (
    b"2 123456789012 eni-0123456789abcdef0 10.100.100.100 10.200.100.100 40000 00443 6 10 1000 "
    b"1700000000 1700000060 ACCEPT OK\n"
)
CLIENTS = 1_000_000
AT_ONCE = 500_000


def write_distinct(path: Path, rows: int, kind: str = "services") -> None:
    """`rows` records of about 113 bytes.

    services: as many distinct (client, server, 443), whose direction the ports settle. connections: as many distinct
    5-tuples of 50,000 clients with servers on port 50051, whose direction only fan-in settles.
    """
    line = TEMPLATE
    places = {
        "client": (line.index(b"10.100") + 4, line.index(b"10.100") + 8, line.index(b"10.100") + 12),
        "server": (line.index(b"10.200") + 8, line.index(b"10.200") + 12),
    }
    own = line.index(b" 40000 ") + 1
    time = line.index(b"1700000000")
    partial = path.with_suffix(".partial")
    with partial.open("wb") as out:
        for start in range(0, rows, AT_ONCE):
            count = min(AT_ONCE, rows - start)
            # a stride without a common factor with the number of rows: neighbours in the file are no neighbours as keys
            number = (np.arange(start, start + count, dtype=np.int64) * 7_368_787) % rows
            text = np.tile(np.frombuffer(line, np.uint8), (count, 1))
            if kind == "services":
                client, server, port = number % CLIENTS, number // CLIENTS, 32768 + number % 20_000
            else:
                client, server, port = number % 50_000, number % 50, 32768 + number // 50_000
                _digits(text, line.index(b" 00443 ") + 1, 5, np.full(count, 50051))
            for at, scale in zip(places["client"], (10_000, 100, 1), strict=True):
                _digits(text, at, 2, client // scale % 100)
            for at, scale in zip(places["server"], (100, 1), strict=True):
                _digits(text, at, 2, server // scale % 100)
            _digits(text, own, 5, port)
            begin = 1_700_000_000 + np.arange(start, start + count) // 20_000
            _digits(text, time, 10, begin)
            _digits(text, time + 11, 10, begin + 60)
            out.write(text.tobytes())
    partial.replace(path)


def _digits(text: NDArray[np.uint8], at: int, width: int, values: NDArray[np.int64]) -> None:
    """Decimal digits of `values` into columns [at, at + width)."""
    for place in range(width):
        text[:, at + width - 1 - place] = 48 + values // 10**place % 10
