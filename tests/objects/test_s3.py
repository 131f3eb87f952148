"""Flow logs in a real S3 server, and everything that goes wrong between it and us."""

from __future__ import annotations

import gzip
import random
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from analyzers.flows import IngestReport
from analyzers.ingest.aggregate import IngestOptions, aggregate
from analyzers.ingest.sources import InputError
from analyzers.objects import object_stream
from analyzers.objects.key_layout import Window
from analyzers.objects.listing import list_objects
from analyzers.objects.patience import TRIES
from tests.objects.conftest import Bucket
from tests.objects.fault_proxy import FaultProxy, Request
from tests.objects.flow_log_tree import moment, write_tree
from tests.objects.flow_rows import rows_of

pytestmark = pytest.mark.flaky(reruns=2)  # a busy machine can outlast a reader's patience with a real server

TWO = IngestOptions(threads=2)


def as_objects(report: IngestReport, folder: Path, bucket: Bucket) -> IngestReport:
    """A report about files, as it reads when they are objects."""

    def renamed(text: str) -> str:
        return text.replace(str(folder), bucket.url)

    return replace(
        report,
        skips=tuple(replace(s, source=renamed(s.source)) for s in report.skips),
        coverage=tuple(replace(s, source=renamed(s.source)) for s in report.coverage),
        notes=tuple(renamed(n) for n in report.notes),
    )


def test_objects_read_like_the_files_they_are(tmp_path: Path, bucket: Bucket, proxy: FaultProxy) -> None:
    write_tree(tmp_path, "2026-01-01T00:00", "2026-01-02T00:00")
    bucket.upload(tmp_path)
    flows, report = aggregate([str(tmp_path)], TWO)
    there, about = aggregate([bucket.url + "/AWSLogs/"], TWO)
    assert report.records == 24 * 60 and len(report.coverage) == 24
    assert rows_of(there) == rows_of(flows)
    assert about == as_objects(report, tmp_path, bucket)
    # one request an object: its format is found in the bytes that are read anyway
    assert sum(r.method == "GET" and not r.lists for r in proxy.seen) == 24


def test_faults_change_nothing(
    tmp_path: Path, bucket: Bucket, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_stream, "PART_BYTES", 8 * 1024)
    write_tree(tmp_path, "2026-01-01T00:00", "2026-01-01T12:00", records=900)
    bucket.upload(tmp_path)
    flows, report = aggregate([str(tmp_path)], TWO)
    chance = random.Random(5)
    in_a_row: Counter[str] = Counter()

    def decide(request: Request) -> int | str | None:
        fault = chance.choice((None, None, None, 503, 429, 500, "reset", -chance.randrange(1, 8 * 1024)))
        # fewer in a row than anybody's patience: which thread asks when is not in the test's hands
        if fault is None or in_a_row[request.target] == TRIES - 3:
            in_a_row[request.target] = 0
            return None
        in_a_row[request.target] += 1
        return fault

    proxy.decide = decide
    there, about = aggregate([bucket.url + "/"], TWO)
    assert rows_of(there) == rows_of(flows)
    assert about == as_objects(report, tmp_path, bucket)
    assert proxy.faults > 20


def test_a_cut_range_goes_on_where_it_stopped(bucket: Bucket, proxy: FaultProxy) -> None:
    content = random.Random(1).randbytes(300_000)
    bucket.put("blob", content)
    proxy.decide = lambda r: -100_000 if not r.lists and r.offset < 250_000 else None
    (found,) = list_objects(bucket.url + "/blob", Window()).objects
    assert object_stream.ObjectStream(found).read(400_000) == content
    offsets = [r.offset for r in proxy.seen if not r.lists]
    assert offsets[0] == 0 and offsets == sorted(set(offsets)) and len(offsets) >= 3


def test_vanished_replaced_and_unreachable_objects_are_counted(
    tmp_path: Path, bucket: Bucket, proxy: FaultProxy
) -> None:
    keys = write_tree(tmp_path, "2026-01-01T00:00", "2026-01-01T08:00")
    bucket.upload(tmp_path)
    gone, replaced, dead = keys[1], keys[4], keys[6]

    def before(request: Request) -> None:
        if request.lists or not len(proxy.seen):
            return
        with one_at_a_time:  # objects are asked for ahead: none may slip through before the changes are made
            if not done:
                bucket.delete(gone)
                bucket.put(replaced, gzip.compress(b"something else altogether\n"))
                done.append(True)

    one_at_a_time = threading.Lock()
    done: list[bool] = []
    proxy.before = before
    proxy.decide = lambda r: 503 if dead.rpartition("_")[2] in r.target else None
    # the first request that reads comes after all listing is done
    flows, report = aggregate([bucket.url + "/AWSLogs"], IngestOptions(threads=1))
    reasons = {skip.source.removeprefix(bucket.url + "/"): skip.reason for skip in report.skips}
    assert reasons == {
        gone: "reading failed: the object vanished between listing and reading",
        replaced: "reading failed: the object was replaced between listing and reading",
        dead: "reading failed: the store did not answer, however often it was asked",
    }
    for key in (gone, replaced, dead):
        (tmp_path / key).unlink()
    assert rows_of(flows) == rows_of(aggregate([str(tmp_path)], TWO)[0])


@pytest.mark.parametrize(
    "layout", [{}, {"hourly": True}, {"hive": True}, {"hive": True, "hourly": True}, {"org": "o-abc123/"}], ids=str
)
def test_prefixes_outside_of_the_window_are_not_listed(
    tmp_path: Path, bucket: Bucket, proxy: FaultProxy, layout: dict[str, object]
) -> None:
    for year, day in (("2025", "12-31"), ("2026", "01-01"), ("2026", "02-10"), ("2026", "02-11"), ("2026", "02-12")):
        write_tree(tmp_path, f"{year}-{day}T00:00", f"{year}-{day}T23:30", step_minutes=240, **layout)
    bucket.upload(tmp_path)
    window = Window(moment("2026-02-11T04:00"), moment("2026-02-11T13:00"))
    everything = list_objects(bucket.url + "/AWSLogs/", Window())
    proxy.seen.clear()
    listing = list_objects(bucket.url + "/AWSLogs/", window)
    assert [o.url.split("_")[4][:13] for o in listing.objects] == ["20260211T0400", "20260211T0800", "20260211T1200"]
    # account, service, region, year, month, day, and the hours with a margin of one on either side
    levels = 7 + ("org" in layout)
    hours = 3 if layout.get("hourly") else 0
    asked = sum(request.lists for request in proxy.seen)
    assert asked == listing.requests == levels + hours
    assert everything.requests >= asked + 7
    assert not any("2025" in r.target for r in proxy.seen)
    # and the files on disk, pruned alike, give the same records: those that end in the window, each once
    options = IngestOptions(threads=2, window=window)
    here, about = aggregate([str(tmp_path)], options)
    there, also = aggregate([bucket.url + "/AWSLogs/"], options)
    assert rows_of(here) == rows_of(there)
    assert about.records == also.records == 180
    assert about.sources == also.sources == 3


def test_records_are_told_by_their_end(tmp_path: Path) -> None:
    write_tree(tmp_path, "2026-01-01T00:00", "2026-01-01T02:00", step_minutes=5)
    _, about = aggregate([str(tmp_path)], TWO)
    total = 0
    for begin in range(moment("2026-01-01T00:00"), moment("2026-01-01T02:30"), 600):
        flows, report = aggregate([str(tmp_path)], IngestOptions(window=Window(begin, begin + 600)))
        total += report.records
        assert (flows["last"] < begin + 600).all() and (flows["last"] >= begin).all()
    assert total == about.records == 24 * 60


@pytest.mark.usefixtures("proxy")
def test_patterns_and_neighbours(bucket: Bucket) -> None:
    for key in ("a/x.log", "a/b/y.log", "a2/z.log", "a/_temporary/t.log", "a/.hidden"):
        bucket.put(key, b"x")

    def keys(name: str) -> list[str]:
        return [o.url.removeprefix(bucket.url + "/") for o in list_objects(f"{bucket.url}/{name}", Window()).objects]

    assert keys("a") == keys("a/") == ["a/_temporary/t.log", "a/b/y.log", "a/x.log"]
    assert keys("a/x.log") == ["a/x.log"]
    assert keys("a*/*.log") == ["a/x.log", "a2/z.log"]
    assert keys("**/y.log") == ["a/b/y.log"]
    assert keys("*/b") == ["a/b/y.log"]
    with pytest.raises(InputError, match="no object has this name"):
        aggregate([bucket.url + "/nothing/here"])


@pytest.mark.usefixtures("proxy")
def test_captures_in_the_store(bucket: Bucket) -> None:
    for name in ("shop.pcap", "shop-v5.log.gz"):
        bucket.put(name, Path("pcaps", name).read_bytes())
    there, about = aggregate([bucket.url + "/"])
    here, report = aggregate(["pcaps/shop.pcap", "pcaps/shop-v5.log.gz"])
    assert about.formats == report.formats == {"aws-vpc": 1, "capture": 1}

    def without_observers(rows: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
        return sorted((*row[:8], *row[9:]) for row in rows)

    assert without_observers(rows_of(there)) == without_observers(rows_of(here))


@pytest.mark.usefixtures("proxy")
def test_no_bucket_no_permission(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no such bucket"):
        aggregate(["s3://there-is-no-such-bucket/"])
    from analyzers.objects.object_store import forget_connections

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    forget_connections()
    with pytest.raises(InputError, match="denies listing"):
        aggregate([bucket.url + "/"])
