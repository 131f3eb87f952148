"""What one task makes of its objects, without Spark: added up in Python, it is what one machine reads."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest

from analyzers.ingest.aggregate import IngestOptions, aggregate
from analyzers.ingest.sources import Source, expand
from analyzers.spark import object_group
from analyzers.spark.job import balanced
from analyzers.spark.object_group import GroupOptions, read_fact, read_group
from analyzers.spark.partial_rows import FACT, KEYS, MERGES, SUMS, TEXTS, WINDOW
from tests.objects.flow_log_tree import write_tree

SLICE = 3600


def merged_rows(sources: list[Source], groups: int) -> tuple[dict[tuple[object, ...], dict[str, int]], list[str], int]:
    """Rows by key, merged one at a time; the facts; how many partial rows there were."""
    rows: dict[tuple[object, ...], dict[str, int]] = {}
    facts: list[str] = []
    count = 0
    for part in range(groups):
        for batch in read_group(sources[part::groups], GroupOptions(IngestOptions(), SLICE)):
            for row in batch.to_pylist():
                if row["meta"] >> 16 == FACT:
                    facts.append(row["observer"])
                    continue
                count += 1
                key = tuple(row[name] for name in (*TEXTS, *KEYS))
                there = rows.get(key)
                if there is None:
                    rows[key] = {name: row[name] for name in MERGES}
                    continue
                for name, how in MERGES.items():
                    pair = (there[name], row[name])
                    there[name] = (
                        sum(pair) if how == "sum" else pair[0] | pair[1] if how == "bit_or"
                        else min(pair) if how == "min" else max(pair)
                    )  # fmt: skip
    return rows, facts, count


@pytest.mark.parametrize("held", [1, 1 << 20])
def test_any_grouping_gives_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    """One row a key whatever the groups and the memory, each in the slice of its first record in its object."""
    monkeypatch.setattr(object_group, "ROWS_HELD", held)
    write_tree(tmp_path, "2026-01-01T00:00", "2026-01-01T04:00", step_minutes=10, records=200)
    sources, _ = expand([str(tmp_path)])
    alone, facts, _ = merged_rows(sources, len(sources))
    assert alone and len(facts) == len(sources)
    for groups in (1, 3):
        rows, told, count = merged_rows(sources, groups)
        assert rows == alone
        assert sorted(told) == sorted(facts)
        assert (count == len(rows)) == (groups == 1 and held > 1)
    kind = (*TEXTS, *KEYS).index("meta")
    assert any(int(str(key[kind])) >> 16 == WINDOW for key in alone)  # of NODATA records, which are in no other row
    alone = {key: row for key, row in alone.items() if int(str(key[kind])) >> 16 != WINDOW}
    place = (*TEXTS, *KEYS).index("slice")
    assert {row["first"] // SLICE * SLICE for row in alone.values()} >= {key[place] for key in alone}
    slices = {key[(*TEXTS, *KEYS).index("slice")] for key in alone}
    assert len(slices) >= 4 and all(int(str(begin)) % SLICE == 0 for begin in slices)
    flows, report = aggregate([str(tmp_path)])
    sums = {name: sum(row[name] for row in alone.values()) for name in SUMS}
    assert sums["records"] == report.records
    assert sums["forward_bytes"] + sums["backward_bytes"] == int(flows["bytes"].sum() + flows["reply_bytes"].sum())


def test_an_object_that_fails_leaves_no_row(tmp_path: Path) -> None:
    """Gone before it is opened, or in the middle: its fact says why, the others' rows are as without it."""
    keys = write_tree(tmp_path, "2026-01-01T00:00", "2026-01-01T02:00", step_minutes=20)
    sources, _ = expand([str(tmp_path)])
    without, facts, _ = merged_rows([s for s in sources if not s.name.endswith(keys[2])], 1)
    broken = [Source(s.name + "-gone") if s.name.endswith(keys[2]) else s for s in sources]
    rows, told, _ = merged_rows(broken, 1)
    # a file that is not there is refused when it is planned, and its identity cannot be taken
    assert rows == without
    left = [json.loads(text) for text in told if "left" in json.loads(text)]
    assert [one["left"] for one in left] == [sources[2].name + "-gone"]
    assert "No such file" in left[0]["reason"]
    assert sorted(t for t in told if "left" not in json.loads(t)) == sorted(facts)


def test_facts_survive_the_journey(tmp_path: Path) -> None:
    write_tree(tmp_path, "2026-01-01T00:00", "2026-01-01T00:20", step_minutes=20)
    sources, _ = expand([str(tmp_path)])
    _, facts, _ = merged_rows(sources, 1)
    identity, about = read_fact(json.loads(facts[0]))
    assert identity.key == sources[0].name and identity.size == sources[0].size
    assert about.records == 60 and about.format == "aws-vpc"
    reasons: dict[str, int] = defaultdict(int)
    for part in about.skips:
        for reason, count in part.counts.items():
            reasons[reason] += count
    assert reasons == {"NODATA: no traffic in the window": 1}


def test_groups_are_balanced() -> None:
    from analyzers.objects.object_store import StoredObject

    sources = [Source(f"s3://b/{i:03d}", StoredObject(f"s3://b/{i:03d}", (i % 17) << 20)) for i in range(200)]
    groups = balanced(sources, 4)
    sizes = [sum(one.size for one in group) for group in groups]
    assert len(groups) % 4 == 0 and max(sizes) - min(sizes) <= 17 << 20
    assert sorted(one for group in groups for one in group) == sorted(sources)
    assert balanced(list(reversed(sources)), 4) == groups
