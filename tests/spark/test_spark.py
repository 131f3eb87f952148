"""A real Spark, `local[2]`: what it writes is what one machine makes of the same objects, row for row, once."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from analyzers.ingest.aggregate import IngestOptions, aggregate
from analyzers.spark import job
from analyzers.spark.job import take_with_spark
from analyzers.store.commits import CommittedStore
from analyzers.store.database import StoreError
from analyzers.store.places import place_of
from tests.objects.conftest import Bucket
from tests.objects.fault_proxy import FaultProxy
from tests.objects.flow_log_tree import write_tree
from tests.objects.flow_rows import rows_of

pytestmark = pytest.mark.slow


def store_rows(path: str, table: str) -> list[tuple[object, ...]]:
    """Rows of a store with names instead of numbers, all columns but the source, merged over sources."""
    import duckdb

    from analyzers.store.merging import merge_expression
    from analyzers.store.parts import attach
    from analyzers.store.schema import CONNECTIONS, FLOWS

    declared = {"flows": FLOWS, "connections": CONNECTIONS}[table]
    import tempfile

    connection = duckdb.connect()
    with tempfile.TemporaryDirectory() as folder:
        part = attach(connection, 1, path, Path(folder))
        keys = [c.name for c in declared.keys if c.name not in ("source", "network", "observer")]
        listed = ", ".join(f'r."{name}"' for name in keys)
        values = ", ".join(merge_expression(c) for c in declared.values)
        found: list[tuple[object, ...]] = connection.execute(
            f"SELECT n.name, o.name, {listed}, {values} FROM {part.prefix}{table} r "
            f"JOIN {part.prefix}networks n ON n.id = r.network JOIN {part.prefix}observers o ON o.id = r.observer "
            f"GROUP BY n.name, o.name, {listed}"
        ).fetchall()
    return sorted(found)


def flowctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as a user runs it."""
    return subprocess.run(
        [sys.executable, "-m", "flowctl", *arguments], capture_output=True, text=True, check=False, timeout=900
    )


def test_spark_equals_one_machine(tmp_path: Path, bucket: Bucket, proxy: FaultProxy) -> None:
    """Objects in the S3 server and a table there, through the command; against the local engine on the same objects."""
    write_tree(tmp_path / "logs", "2026-01-01T00:00", "2026-01-01T05:00", step_minutes=20, records=300)
    (tmp_path / "logs" / "odd.log").write_text("no flow log at all\n")
    bucket.upload(tmp_path / "logs")
    source, table, single = f"{bucket.url}/AWSLogs/", f"{bucket.url}/table", str(tmp_path / "local.duckdb")
    bucket.put("AWSLogs/odd.log", b"no flow log at all\n")

    raw, about = aggregate([source])  # compiles the kernels that Spark's workers then load
    done = flowctl("ingest", source, "--engine", "spark", "--master", "local[2]", "--store", table)
    assert done.returncode == 0, done.stderr
    assert "taken now" in done.stdout
    local = flowctl("ingest", source, "--store", single)
    assert local.returncode == 0, local.stderr
    for name in ("flows", "connections"):
        there = store_rows(table, name)
        assert len(there) > 500
        assert there == store_rows(single, name)

    read, report = aggregate([], IngestOptions(stores=(table,)))
    assert rows_of(read) == rows_of(raw)
    assert report == aggregate([], IngestOptions(stores=(single,)))[1]
    assert (report.records, report.sources, report.formats) == (about.records, about.sources, about.formats)
    assert (report.skips, report.coverage) == (about.skips, about.coverage)

    # once more: nothing is new, and Spark is not even started
    commits = [r for r in proxy.seen if r.method == "PUT" and "commits" in r.target]
    again = flowctl("ingest", source, "--engine", "spark", "--master", "local[2]", "--store", table)
    assert again.returncode == 0, again.stderr
    assert [r for r in proxy.seen if r.method == "PUT" and "commits" in r.target] == commits
    assert rows_of(aggregate([], IngestOptions(stores=(table,)))[0]) == rows_of(raw)


@pytest.fixture
def session() -> Iterator[None]:
    """A Spark that outlives its jobs."""
    running = job.open_session("local[2]")
    yield
    running.stop()


@pytest.mark.usefixtures("session")
def test_a_failed_job_adds_nothing_and_a_later_one_everything_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after its files were written and before its commit; a task attempt that died; a rival that was faster."""
    keys = write_tree(tmp_path / "logs", "2026-01-01T00:00", "2026-01-01T02:00", step_minutes=20)
    store = str(tmp_path / "table")
    options = IngestOptions()
    logs = str(tmp_path / "logs")

    def die(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(CommittedStore, "add", die)
        dying.setattr(job, "_remove_files", lambda *_: None)  # kill -9 leaves no time to tidy up
        with pytest.raises(KeyboardInterrupt):
            take_with_spark([logs], store, options, "local[2]", None)
    orphans = list((tmp_path / "table" / "flows").glob("*.parquet"))
    assert orphans and not list((tmp_path / "table").glob("commits/*"))
    empty, report = aggregate([], IngestOptions(stores=(store,)))
    assert len(empty) == 0 and report.records == 0

    # a rival takes one object while this job is running: this job adds nothing, and says so
    rival = tmp_path / "rival"
    (rival / Path(keys[0]).parent).mkdir(parents=True)
    real_add = CommittedStore.add

    def beaten(self: CommittedStore, commit: object, taken: set[str]) -> int:
        monkeypatch.setattr(CommittedStore, "add", real_add)
        other = CommittedStore(place_of(store))
        add_by_hand(other, min(taken))
        return real_add(self, commit, taken)  # type: ignore[arg-type]

    monkeypatch.setattr(CommittedStore, "add", beaten)
    before = set((tmp_path / "table").rglob("*.parquet"))
    with pytest.raises(StoreError, match="another run took 1 of the same objects"):
        take_with_spark([logs], store, options, "local[2]", None)
    left_over = set((tmp_path / "table").rglob("*.parquet")) - before
    assert {p.parent.name for p in left_over} == {"sources"}  # the rival's own
    monkeypatch.setattr(CommittedStore, "add", real_add)

    summary = take_with_spark([logs], store, options, "local[2]", None)
    assert summary.taken == 5 and summary.unchanged == 1
    (tmp_path / "logs" / keys[0]).unlink()
    assert rows_of(aggregate([], IngestOptions(stores=(store,)))[0]) == rows_of(aggregate([logs])[0])


def add_by_hand(store: CommittedStore, key: str) -> None:
    """What another job would do that found nothing in an object."""
    from analyzers.ingest.sources import Source
    from analyzers.spark.object_group import fact_text
    from analyzers.spark.partial_rows import fact_batch
    from analyzers.spark.store_files import write_files
    from analyzers.store.commits import Commit
    from analyzers.store.identity import identity_of
    from analyzers.store.write import SourceFacts

    text = fact_text(identity_of(Source(key)), SourceFacts(key))
    files: dict[str, list[str]] = {}
    for batch in write_files([fact_batch([text])], store.place.path, "rival"):
        for row in batch.to_pylist():
            files.setdefault(row["table"], []).append(row["file"])
    store.add(Commit("rival", files), {key})


def test_commits_are_a_chain(tmp_path: Path) -> None:
    """Without Spark: numbers without gaps, an exported store that is not added to, a marker of another layout."""
    from analyzers.store.commits import Commit

    place = place_of(str(tmp_path))
    store = CommittedStore(place, 600)
    assert CommittedStore(place).slice_seconds == 600
    with pytest.raises(StoreError, match="600 s long, not 60"):
        CommittedStore(place, 60)
    assert store.add(Commit("a"), set()) == 1
    assert CommittedStore(place).add(Commit("b"), set()) == 2
    assert store.add(Commit("c"), set()) == 3  # finds that "b" was faster
    assert [c.job for c in CommittedStore(place).commits] == ["a", "b", "c"]
    (tmp_path / "commits" / "00000002.json").unlink()
    with pytest.raises(StoreError, match=r"00000002\.json is missing"):
        CommittedStore(place)
    (tmp_path / "_flowctl_store.json").write_text(json.dumps({"schema": 1, "slice_seconds": 3600}))
    with pytest.raises(StoreError, match="was exported"):
        CommittedStore(place)
    (tmp_path / "_flowctl_store.json").write_text(json.dumps({"schema": 99, "slice_seconds": 3600}))
    with pytest.raises(StoreError, match="layout 99"):
        CommittedStore(place)


def test_damage_is_reported_not_fatal(tmp_path: Path) -> None:
    """The group that a task reads holds damaged and empty objects: facts with reasons, as one machine reports them."""
    from analyzers.spark.object_group import GroupOptions, read_group
    from analyzers.spark.partial_rows import facts_of

    write_tree(tmp_path, "2026-01-01T00:00", "2026-01-01T01:00", step_minutes=20)
    (tmp_path / "cut.log.gz").write_bytes(
        gzip.compress(b"2 1 eni-1 10.0.0.1 10.0.0.2 40000 443 6 1 40 1 2 ACCEPT OK\n" * 99)[:-9]
    )
    (tmp_path / "empty.log").write_bytes(b"")
    from analyzers.ingest.sources import expand

    sources, _ = expand([str(tmp_path)])
    batches = list(read_group(sources, GroupOptions(IngestOptions(), 3600)))
    facts = [json.loads(text) for batch in batches for text in facts_of(batch)]
    told = {(f["facts"]["name"], reason) for f in facts for s in f["skips"] for reason in s["counts"]}
    _, report = aggregate([str(tmp_path)])
    assert told == {(s.source, s.reason) for s in (*report.skips, *report.coverage)}
