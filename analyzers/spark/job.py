"""The driver: which objects to take, one Spark job that takes them, one commit that makes them part of the store.

    groups of objects -mapInArrow-> partial rows -groupBy-> merged rows -mapInArrow-> Parquet files -collect-> commit

Everything is one action, so that Spark runs each task to success once; what repeated attempts wrote is never named.
"""

from __future__ import annotations

import heapq
import json
import logging
import os
import sys
import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from analyzers.flows import IngestReport
from analyzers.ingest.aggregate import IngestOptions
from analyzers.ingest.coverage import SkipCounts, merge_skips
from analyzers.ingest.sources import InputError, Source
from analyzers.objects.object_store import StoredObject, is_url
from analyzers.spark.object_group import GroupOptions, read_group
from analyzers.spark.partial_rows import KEYS, MERGES, SPARK_SCHEMA, TEXTS
from analyzers.spark.store_files import DONE_SPARK_SCHEMA, LEFT, write_files
from analyzers.store.commits import Commit, CommittedStore
from analyzers.store.identity import Change, change_since, identifiable_sources, key_of
from analyzers.store.objects import IntakeSummary
from analyzers.store.parquet_files import facts_of_sources
from analyzers.store.places import place_of

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

GROUP_BYTES = 256 << 20
"""Objects of about so many bytes make a task: long enough to be worth starting, short enough to be repeated."""

log = logging.getLogger("flowctl.spark")


def take_with_spark(
    names: Sequence[str], store: str, options: IngestOptions, master: str | None, slice_seconds: int | None
) -> IntakeSummary:
    """Take everything that is not in the store yet. Raises InputError for names that lead nowhere, a store that cannot
    be used, a missing library, and a Spark job that failed: then nothing was added."""
    _require_spark()
    sources, notes = identifiable_sources(names, options.window)
    if not is_url(store):
        os.makedirs(store, exist_ok=True)  # noqa: PTH103  (a path or nothing)
    committed = CommittedStore(place_of(store), slice_seconds)
    left: list[SkipCounts] = []
    wanted = [source for source in sources if _is_new(source, committed, left)]
    files: dict[str, list[str]] = {}
    if wanted:
        group_options = GroupOptions(options, committed.slice_seconds)
        files = _run(wanted, store, group_options, master, committed, left)
    return _summary(len(sources), len(sources) - len(wanted), files, committed, notes, left)


def _require_spark() -> None:
    try:
        import pyarrow  # noqa: F401
        import pyspark  # noqa: F401
    except ImportError as problem:
        raise InputError("--engine spark needs pyspark and pyarrow: pip install 'flowctl-microseg[spark]'") from problem


def _is_new(source: Source, committed: CommittedStore, left: list[SkipCounts]) -> bool:
    then = committed.taken.get(key_of(source))
    try:
        if then is None:
            return True
        if change_since(source, then) is Change.NONE:
            return False
        reason = "changed since it was taken, left as it was: its earlier rows are merged with other objects'"
    except OSError as problem:
        reason = f"cannot be read: {problem.strerror or problem}"
    refused = SkipCounts(source.name)
    refused.add(reason, 1, [(0, "")])
    left.append(refused)
    return False


def _run(
    sources: Sequence[Source],
    store: str,
    options: GroupOptions,
    master: str | None,
    committed: CommittedStore,
    left: list[SkipCounts],
) -> dict[str, list[str]]:
    """The job and its commit; returns the files that are in the store now."""
    from pyspark.sql import SparkSession

    job = uuid.uuid4().hex
    running = SparkSession.getActiveSession()  # somebody's notebook, or a test: not ours to stop
    session = open_session(master)
    try:
        cores = session.sparkContext.defaultParallelism
        groups = [[_pack(source) for source in group] for group in balanced(sources, cores)]
        session.conf.set("spark.sql.shuffle.partitions", str(max(2 * cores, len(groups))))
        done = written(merged(partials(session, groups, options)), store, job).collect()
        files: dict[str, list[str]] = {}
        keys: set[str] = set()
        for table, file, about in done:
            if table == LEFT:
                refused = SkipCounts(file)
                refused.add(about[0], 1, [(0, "")])
                left.append(refused)
            else:
                files.setdefault(table, []).append(file)
                keys.update(about)
        for found in files.values():
            found.sort()
        if keys:
            committed.add(Commit(job, files), keys)
        return files
    except BaseException as problem:
        _remove_files(committed, job)
        if isinstance(problem, (InputError, KeyboardInterrupt)):
            raise
        if type(problem).__module__.startswith(("pyspark", "py4j")):
            raise InputError(f"the Spark job failed, nothing was added to {store}: {_first_line(problem)}") from problem
        raise
    finally:
        if running is None:
            session.stop()


def open_session(master: str | None) -> SparkSession:
    """Spark with this Python in its workers. `master`: None for what spark-submit or the environment says.

    Sums wrap at 2^64 as the kernels' do; Spark's ANSI mode would fail instead.
    """
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("flowctl ingest")
    builder = builder.config("spark.ui.showConsoleProgress", str(sys.stderr.isatty()).lower())
    if master:
        builder = builder.master(master)
    if (master or "").startswith("local"):  # one machine: nobody else is to reach it
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        builder = builder.config("spark.ui.enabled", "false")
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("FATAL")  # what fails is raised, and said once
    session.conf.set("spark.sql.ansi.enabled", "false")
    session.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(1 << 17))
    return session


def balanced(sources: Sequence[Source], cores: int) -> list[list[Source]]:
    """Groups of about equal bytes, as many for each core, in the order of names; the same input gives the same groups.

    Few and large ones: what a task adds up, Spark needs not.
    """
    total = sum(source.size for source in sources)
    rounds = max(1, round(total / GROUP_BYTES / cores))
    count = min(len(sources), rounds * cores)
    heap = [(0, number) for number in range(count)]
    groups: list[list[Source]] = [[] for _ in range(count)]
    for source in sorted(sources, key=lambda one: (-one.size, one.name)):
        size, number = heapq.heappop(heap)
        groups[number].append(source)
        heapq.heappush(heap, (size + source.size, number))
    return [sorted(group) for group in groups]


def _pack(source: Source) -> list[Any]:
    stored = source.stored
    return [source.name, None if stored is None else [stored.size, stored.version]]


def _unpack(packed: list[Any]) -> Source:
    name, stored = packed
    return Source(name, None if stored is None else StoredObject(name, *stored))


def partials(session: SparkSession, groups: Sequence[Sequence[list[Any]]], options: GroupOptions) -> DataFrame:
    """Partial rows of all groups, a task for each. The groups travel with their tasks, not with the code."""
    rows = [(json.dumps(group),) for group in groups]
    listed = session.sparkContext.parallelize(rows, len(rows)).toDF("objects string")

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for text in batch.column("objects").to_pylist():
                yield from read_group([_unpack(packed) for packed in json.loads(text)], options)

    return listed.mapInArrow(read, SPARK_SCHEMA)


def merged(rows: DataFrame) -> DataFrame:
    """One row a key: partial rows are sums, minima, maxima and OR-ed bits, so any order gives the same."""
    from pyspark.sql import functions

    merges = [getattr(functions, how)(name).alias(name) for name, how in MERGES.items()]
    return rows.groupBy(*TEXTS, *KEYS).agg(*merges)


def written(rows: DataFrame, store: str, job: str) -> DataFrame:
    """Files of the store, and what is in them."""

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from write_files(batches, store, job)

    return rows.mapInArrow(write, DONE_SPARK_SCHEMA)


def _remove_files(committed: CommittedStore, job: str) -> None:
    """What a failed job wrote, as far as it can be reached: nobody reads it, but it takes space."""
    try:
        committed.refresh()
    except InputError:
        return  # it may have been committed, and only the answer was lost
    if any(commit.job == job for commit in committed.commits):
        return
    for table in ("flows", "connections", "sources", "skips", "losses", "windows"):
        try:
            for name in committed.place.names(table):
                if name.startswith(f"{table}/{job}-"):
                    committed.place.delete(name)
        except OSError as problem:
            log.info("%s: files of the failed job %s stay: %s", committed.place.path, job, problem)


def _first_line(problem: BaseException) -> str:
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    python = [line for line in lines if "Error: " in line or "Exception: " in line]
    return (python or lines or [type(problem).__name__])[-1 if python else 0][:400]


def _summary(
    objects: int,
    not_wanted: int,
    files: dict[str, list[str]],
    committed: CommittedStore,
    notes: list[str],
    left: list[SkipCounts],
) -> IntakeSummary:
    taken = facts_of_sources(committed.place, files)
    skips, coverage, remarks = merge_skips([part for one in taken for part in one.skips])
    refused, _, _ = merge_skips(left)
    formats: dict[str, int] = {}
    for one in taken:
        if one.format:
            formats[one.format] = formats.get(one.format, 0) + 1
    times = [(one.first, one.last) for one in taken if one.records]
    report = IngestReport(
        sources=len(taken),
        bytes_read=sum(one.bytes_read for one in taken),
        records=sum(one.records for one in taken),
        skips=skips,
        coverage=coverage,
        notes=tuple(sorted({*notes, *remarks})),
        formats=dict(sorted(formats.items())),
        first=min(t[0] for t in times) if times else None,
        last=max(t[1] for t in times) if times else None,
        plain_sources=sum(any(part.plain for part in one.skips) for one in taken),
    )
    unchanged = not_wanted - sum("since it was taken" in r or "cannot be" in r for one in left for r in one.counts)
    return IntakeSummary(len(taken), 0, unchanged, objects, refused, report)
