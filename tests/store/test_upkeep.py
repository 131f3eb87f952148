"""info, forget, compact, export: what they leave is what was asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from analyzers.store.database import StoreError
from analyzers.store.upkeep import compact, export_parquet, forget, store_info
from analyzers.store.write import FlowStore
from tests.store.logs import START, read, take, write_logs

MEMORY, THREADS = 256 << 20, 1
HOUR = START - START % 3600


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Three objects of 200 records over three hours, taken in two runs; the last has the records of the first."""
    first, second, third = write_logs(tmp_path / "in", 3, 200, 11)
    third.write_bytes(first.read_bytes())
    take(tmp_path / "x.duckdb", [str(second)])
    take(tmp_path / "x.duckdb", [str(first), str(third)])
    return tmp_path / "x.duckdb"


def test_info_tells_what_plain_sql_tells(store: Path, tmp_path: Path) -> None:
    found = store_info(str(store), MEMORY, THREADS)
    _, report = read([str(tmp_path / "in")])
    assert found.objects == (
        ("aws-vpc", 3, sum(p.stat().st_size for p in (tmp_path / "in").iterdir()), report.records),
    )
    assert (found.first, found.last) == (report.first, report.last)
    assert sum(records for _, _, records in found.days) == report.records
    assert [day for day, _, _ in found.days] == sorted(
        {datetime.fromtimestamp(HOUR + 3600 * i, UTC).strftime("%Y-%m-%d") for i in range(4)}
    )
    assert found.skipped == sum(s.count for s in (*report.skips, *report.coverage))


@pytest.mark.parametrize("pattern", ["{folder}/part-1.log", "*part-1*", "part-[1].log"])
def test_a_forgotten_object_is_gone_and_may_be_taken_again(store: Path, tmp_path: Path, pattern: str) -> None:
    everything = read([], stores=(str(store),))
    pattern = pattern.format(folder=tmp_path / "in")
    if "[" in pattern:
        pattern = f"{tmp_path}/in/{pattern}"
    done = forget(str(store), [pattern], None, MEMORY, THREADS)
    assert done.objects == 1 and done.rows > 0 and not done.kept
    rest = [str(tmp_path / "in" / f"part-{i}.log") for i in (0, 2)]
    assert read([], stores=(str(store),)) == read(rest)
    assert take(store, [str(tmp_path / "in")]).taken == 1
    assert read([], stores=(str(store),)) == everything


def test_a_directory_names_all_objects_below_it(store: Path, tmp_path: Path) -> None:
    assert forget(str(store), [str(tmp_path / "in")], None, MEMORY, THREADS).objects == 3
    assert read([], stores=(str(store),))[0] == []


def test_forgotten_times_are_gone_and_are_not_taken_again(store: Path, tmp_path: Path) -> None:
    forget(str(store), [], (HOUR + 3600, HOUR + 7200), MEMORY, THREADS)
    with duckdb.connect(str(store), read_only=True) as connection:
        left = connection.execute("SELECT DISTINCT slice FROM flows ORDER BY 1").fetchall()
    assert (HOUR + 3600,) not in left and (HOUR,) in left and (HOUR + 7200,) in left
    _, report = read([], stores=(str(store),))
    assert report.records < read([str(tmp_path / "in")])[1].records
    assert take(store, [str(tmp_path / "in")]).unchanged == 3


def test_times_between_slices_are_refused(store: Path) -> None:
    with pytest.raises(StoreError, match="3600 s long"):
        forget(str(store), [], (HOUR + 10, HOUR + 7200), MEMORY, THREADS)


def test_compacting_changes_the_size_only(store: Path, tmp_path: Path) -> None:
    before = read([], stores=(str(store),))
    assert compact(str(store), None, MEMORY, THREADS)[1] > 0
    assert read([], stores=(str(store),)) == before
    assert take(store, [str(tmp_path / "in")]).unchanged == 3
    forget(str(store), [str(tmp_path / "in")], None, MEMORY, THREADS)
    compact(str(store), None, MEMORY, THREADS)
    assert store_info(str(store), MEMORY, THREADS).flow_rows == 0
    assert [p.name for p in store.parent.iterdir() if p.name.startswith((".", "x"))] == ["x.duckdb"]


def test_merged_slices_keep_the_sums_and_forget_by_time_only(store: Path, tmp_path: Path) -> None:
    before = read([], stores=(str(store),))
    rows, fewer = compact(str(store), HOUR + 3600, MEMORY, THREADS)
    assert fewer < rows
    assert read([], stores=(str(store),)) == before
    done = forget(str(store), ["*part-0*"], None, MEMORY, THREADS)
    assert done.objects == 0 and done.kept == (str(tmp_path / "in" / "part-0.log"),)
    (tmp_path / "in" / "part-0.log").write_text((tmp_path / "in" / "part-0.log").read_text() + "more\n")
    assert "merged" in take(store, [str(tmp_path / "in")]).left[0].reason
    forget(str(store), [], (HOUR, HOUR + 3600), MEMORY, THREADS)
    with duckdb.connect(str(store), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM flows WHERE source = 0").fetchall() == [(0,)]


def test_parquet_holds_the_same_and_is_a_store(store: Path, tmp_path: Path) -> None:
    take(store, [str(tmp_path / "in" / "part-0.log")])
    rows = export_parquet(str(store), tmp_path / "pq", MEMORY, THREADS)
    assert rows == sum(getattr(store_info(str(store), MEMORY, THREADS), n) for n in ("flow_rows", "connection_rows"))
    assert read([], stores=(str(tmp_path / "pq"),)) == read([], stores=(str(store),))
    types = dict(
        duckdb.sql(f"SELECT column_name, column_type FROM (DESCRIBE FROM '{tmp_path}/pq/flows/*.parquet')").fetchall()
    )
    assert types["client_hi"] == "BIGINT" and types["port"] == "INTEGER" and types["source"] == "VARCHAR"
    assert not any(kind.startswith("U") for kind in types.values())  # Spark and others have no unsigned types
    assert store_info(str(tmp_path / "pq"), MEMORY, THREADS).slice_seconds == 3600
    with pytest.raises(StoreError, match="not empty"):
        export_parquet(str(store), tmp_path / "pq", MEMORY, THREADS)


def test_a_cut_short_export_is_no_store(store: Path, tmp_path: Path) -> None:
    export_parquet(str(store), tmp_path / "pq", MEMORY, THREADS)
    (tmp_path / "pq" / "_flowctl_store.json").unlink()
    with pytest.raises(StoreError, match="no flow store"):
        read([], stores=(str(tmp_path / "pq"),))


def test_a_store_of_parquet_files_may_lie_in_an_object_store(store: Path, tmp_path: Path) -> None:
    import fsspec

    export_parquet(str(store), tmp_path / "pq", MEMORY, THREADS)
    bucket = fsspec.filesystem("memory")
    bucket.put(str(tmp_path / "pq"), "/bucket/table", recursive=True)
    url = "memory://bucket/table"
    assert read([], stores=(url,)) == read([], stores=(str(store),))
    assert store_info(url, MEMORY, THREADS).objects == store_info(str(store), MEMORY, THREADS).objects
    with pytest.raises(StoreError, match="no flow store"):
        read([], stores=("memory://bucket/none",))
    with pytest.raises(StoreError, match=r"\[s3\], \[gcs\] or \[azure\]"):
        read([], stores=("nowhere://bucket/none",))
    with pytest.raises(StoreError, match="exported"):
        FlowStore(url)


VERSION_0 = """
CREATE TABLE meta (name VARCHAR NOT NULL, value VARCHAR NOT NULL);
INSERT INTO meta VALUES ('schema', '0'), ('slice_seconds', '3600');
CREATE TABLE networks (id UINTEGER NOT NULL, name VARCHAR NOT NULL);
INSERT INTO networks VALUES (0, ''), (1, 'vpc-1');
CREATE TABLE observers (id UINTEGER NOT NULL, name VARCHAR NOT NULL);
INSERT INTO observers VALUES (0, ''), (1, 'eni-1');
CREATE TABLE sources (
    id UINTEGER NOT NULL, key VARCHAR NOT NULL, name VARCHAR NOT NULL, size UBIGINT NOT NULL, digest VARCHAR NOT NULL,
    modified BIGINT NOT NULL, format VARCHAR NOT NULL, bytes_read UBIGINT NOT NULL, records UBIGINT NOT NULL,
    "first" BIGINT NOT NULL, "last" BIGINT NOT NULL, notes VARCHAR[] NOT NULL
);
INSERT INTO sources VALUES (1, '/logs/a', 'a', 345, 'd0', 5, 'aws-vpc', 345, 3, 1700000000, 1700000120, []);
CREATE TABLE skips (
    source UINTEGER NOT NULL, reason VARCHAR NOT NULL, count UBIGINT NOT NULL, offsets BIGINT[] NOT NULL,
    samples VARCHAR[] NOT NULL
);
INSERT INTO skips VALUES (1, 'a port that is no number up to 65535', 1, [7], ['2 eni-1 ...']);
CREATE TABLE flows (
    source UINTEGER NOT NULL, slice BIGINT NOT NULL, network UINTEGER NOT NULL, client_hi UBIGINT NOT NULL,
    client_lo UBIGINT NOT NULL, server_hi UBIGINT NOT NULL, server_lo UBIGINT NOT NULL, client_stretch BIGINT NOT NULL,
    server_stretch BIGINT NOT NULL, port USMALLINT NOT NULL, protocol UTINYINT NOT NULL, verdict UTINYINT NOT NULL,
    observer UINTEGER NOT NULL, evidence UTINYINT NOT NULL, records UBIGINT NOT NULL, packets UBIGINT NOT NULL,
    bytes UBIGINT NOT NULL, reply_packets UBIGINT NOT NULL, reply_bytes UBIGINT NOT NULL, "first" BIGINT NOT NULL,
    "last" BIGINT NOT NULL
);
INSERT INTO flows VALUES
    (1, 1699999200, 1, 0, 281470849515521, 0, 281470849515522, 0, 0, 443, 6, 1, 1, 1, 1, 5, 500, 0, 0, 1700000000, 1700000060),
    (1, 1699999200, 1, 0, 281470849515521, 0, 281470849515523, 0, 0, 53, 17, 1, 1, 8, 1, 2, 100, 0, 0, 1700000000, 1700000060);
CREATE TABLE connections (
    source UINTEGER NOT NULL, slice BIGINT NOT NULL, network UINTEGER NOT NULL, a_hi UBIGINT NOT NULL,
    a_lo UBIGINT NOT NULL, b_hi UBIGINT NOT NULL, b_lo UBIGINT NOT NULL, a_stretch BIGINT NOT NULL,
    b_stretch BIGINT NOT NULL, a_port USMALLINT NOT NULL, b_port USMALLINT NOT NULL, protocol UTINYINT NOT NULL,
    verdict UTINYINT NOT NULL, observer UINTEGER NOT NULL, evidence USMALLINT NOT NULL, records UBIGINT NOT NULL,
    a_packets UBIGINT NOT NULL, a_bytes UBIGINT NOT NULL, b_packets UBIGINT NOT NULL, b_bytes UBIGINT NOT NULL,
    "first" BIGINT NOT NULL, "last" BIGINT NOT NULL
);
INSERT INTO connections VALUES
    (1, 1699999200, 1, 0, 281470849515521, 0, 281470849515524, 0, 0, 40000, 50051, 6, 1, 1, 0, 1, 5, 500, 4, 400, 1700000060, 1700000120);
"""  # noqa: E501  (rows as they stand in the tables)


def test_a_store_of_the_first_layout_is_refused_with_the_command_that_migrates_it(tmp_path: Path) -> None:
    from analyzers.store.migrations import migrate, steps
    from analyzers.store.schema import VERSION

    store = tmp_path / "old.duckdb"
    with duckdb.connect(str(store)) as connection:
        connection.execute(VERSION_0)
    for refused in (
        lambda: read([], stores=(str(store),)),
        lambda: take(store, [__file__]),
        lambda: store_info(str(store), MEMORY, THREADS),
    ):
        with pytest.raises(StoreError, match=f"layout 0.*flowctl store migrate {store}"):
            refused()
    assert steps() == list(range(VERSION))
    assert migrate(str(store), MEMORY, THREADS) == (0, VERSION)
    assert migrate(str(store), MEMORY, THREADS) == (VERSION, VERSION)
    (tmp_path / "new.log").write_text("2 1 eni-1 10.0.0.1 10.0.0.2 40000 443 6 1 100 1700003600 1700003660 ACCEPT OK\n")
    assert take(store, [str(tmp_path / "new.log")]).taken == 1
    rows, report = read([], stores=(str(store),))
    ends = ("vpc-1", 0, 281470849515521, 0)
    own = ("", *ends[1:], 281470849515522, 443, 6, 1, "eni-1", 5, 8, 1, 1, 100, 0, 0, 1700003600, 1700003660)
    assert rows == [
        own,
        (*ends, 281470849515522, 443, 6, 1, "eni-1", 1, 1, 1, 5, 500, 0, 0, 1700000000, 1700000060),
        (*ends, 281470849515523, 53, 17, 1, "eni-1", 5, 8, 1, 2, 100, 0, 0, 1700000000, 1700000060),
        (*ends, 281470849515524, 50051, 6, 1, "eni-1", 5, 0, 1, 5, 500, 4, 400, 1700000060, 1700000120),
    ]
    assert report.records == 4 and report.skips[0].samples == ("offset 7: 2 eni-1 ...",)
    compact(str(store), None, MEMORY, THREADS)
    assert read([], stores=(str(store),))[0] == rows


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from analyzers.store.migrations import from_0, migrate

    store = tmp_path / "old.duckdb"
    with duckdb.connect(str(store)) as connection:
        connection.execute(VERSION_0)
    real = from_0.migrate

    def fails(connection: duckdb.DuckDBPyConnection) -> None:
        real(connection)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(from_0, "migrate", fails)
    with pytest.raises(StoreError, match="no space left"):
        migrate(str(store), MEMORY, THREADS)
    with duckdb.connect(str(store), read_only=True) as connection:
        assert connection.execute("SELECT value FROM meta WHERE name = 'schema'").fetchall() == [("0",)]
        assert len(connection.execute("SELECT * FROM flows").description or ()) == 21
