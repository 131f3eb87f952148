"""CSV with a header, one row a change; the witnesses in one column."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from flowctl.diff_formats import witness_text
from flowctl.diffing import Diff

_HEADER = ("diff-type", "source", "destination", "ref1", "ref2", "workloads-diff-info", "witness")


def lines(diff: Diff) -> Iterator[str]:
    """The changes between pods of one workload have that workload at both ends."""
    rows = [_HEADER]
    for change in (*diff.changes, *diff.within):
        ends = (str(change.source), str(change.destination))
        sets = (str(change.before), str(change.after))
        rows.append((change.kind, *ends, *sets, change.workloads, "; ".join(map(witness_text, change.witnesses))))
    for row in rows:
        text = io.StringIO()
        csv.writer(text, lineterminator="").writerow(row)
        yield text.getvalue()
