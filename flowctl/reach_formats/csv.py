"""CSV with a header: src,dst,conn."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from policygen.verify.reachability import Pair


def lines(pairs: Iterable[Pair]) -> Iterator[str]:
    """One row a pair."""
    yield "src,dst,conn"
    for pair in pairs:
        row = io.StringIO()
        csv.writer(row, lineterminator="").writerow(map(str, pair))
        yield row.getvalue()
