"""A store of Parquet files that jobs add to: what is in it is what its commits name, nothing else.

    _flowctl_store.json            {"schema": 1, "slice_seconds": 3600, "commits": true}
    commits/00000001.json          {"job": "...", "files": {"flows": ["flows/<job>-00000-<attempt>.parquet", ...], ...}}
    flows/, connections/, sources/, skips/, losses/, windows/

A job writes its files under names of its own, then creates the next commit, which names them and, in its `sources`,
the objects whose rows they hold. Creating a commit is atomic and fails when another job was faster. So a job that dies
leaves files that no commit names: nobody reads them. A task that Spark runs twice leaves such a file too. And a job
that is run again finds in the committed `sources` what it needs not take.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from analyzers.store.database import StoreError
from analyzers.store.identity import Identity
from analyzers.store.places import Place
from analyzers.store.schema import CONNECTIONS, FLOWS, LOSSES, MARKER, SKIPS, SLICE_SECONDS, SOURCES, VERSION, WINDOWS

TABLES = (SOURCES, SKIPS, LOSSES, WINDOWS, FLOWS, CONNECTIONS)
FOLDER = "commits"


@dataclass(frozen=True)
class Commit:
    """`files`: table name -> names of files relative to the store."""

    job: str
    files: dict[str, list[str]] = field(default_factory=dict)


class CommittedStore:
    """The store at a place, opened for adding to it."""

    def __init__(self, place: Place, slice_seconds: int | None = None) -> None:
        """Makes the store when nothing is there. Raises StoreError."""
        self.place = place
        try:
            marker = read_marker(place)
            if marker is None:
                marker = {"schema": VERSION, "slice_seconds": slice_seconds or SLICE_SECONDS, "commits": True}
                if not place.create(MARKER, json.dumps(marker).encode()):
                    marker = read_marker(place) or marker
        except OSError as problem:
            raise StoreError(f"{place.path}: {problem}") from problem
        if not marker.get("commits"):
            raise StoreError(f"{place.path}: was exported from another store, nothing can be added; name another place")
        self.slice_seconds = int(str(marker["slice_seconds"]))
        if slice_seconds not in (None, self.slice_seconds):
            raise StoreError(
                f"{place.path}: its slices are {self.slice_seconds} s long, not {slice_seconds}; leave --slice out"
            )
        self.commits: list[Commit] = []
        self.taken: dict[str, Identity] = {}
        self.refresh()

    def refresh(self) -> list[str]:
        """Read commits that are new since the last time; returns the keys of the objects that they took."""
        fresh = committed(self.place, len(self.commits))
        self.commits += fresh
        found = identities(self.place, fresh)
        self.taken.update(found)
        return list(found)

    def add(self, commit: Commit, keys: set[str]) -> int:
        """Make a job's files part of the store; `keys`: the objects whose rows they hold. Returns the commit's number.

        Raises StoreError when another job took one of them since the store was opened: then nothing is added.
        """
        content = json.dumps({"job": commit.job, "files": commit.files}, indent=1, sort_keys=True).encode()
        while True:
            number = len(self.commits) + 1
            if self.place.create(commit_name(number), content):
                self.commits.append(commit)
                return number
            both = keys.intersection(self.refresh())
            if both:
                raise StoreError(
                    f"{self.place.path}: another run took {len(both)} of the same objects meanwhile "
                    f"({min(both)}, ...); nothing of this run was added: run it again for the others"
                )


def commit_name(number: int) -> str:
    """The file of a commit; numbers begin at 1."""
    return f"{FOLDER}/{number:08d}.json"


def read_marker(place: Place) -> dict[str, object] | None:
    """What makes a place a store; None when nothing does. Raises StoreError for a layout that is not ours."""
    try:
        marker: dict[str, object] = json.loads(place.read(MARKER))
        version = marker["schema"]
        int(str(marker["slice_seconds"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as problem:
        raise StoreError(f"{place.path}/{MARKER}: cannot be read: {problem}") from problem
    if version != VERSION:
        raise StoreError(f"{place.path}: a Parquet store of layout {version}, this version reads {VERSION}")
    return marker


def committed(place: Place, after: int = 0) -> list[Commit]:
    """The commits behind number `after`, in order. Raises StoreError when one cannot be read or is missing."""
    found = []
    try:
        names = [name for name in place.names(FOLDER) if name.endswith(".json")]
        for number, name in enumerate(names[after:], after + 1):
            if name != commit_name(number):
                raise StoreError(f"{place.path}: {commit_name(number)} is missing; without it the store is not whole")
            document = json.loads(place.read(name))
            found.append(Commit(str(document["job"]), dict(document["files"])))
    except (OSError, ValueError, KeyError, TypeError) as problem:
        if isinstance(problem, StoreError):
            raise
        raise StoreError(f"{place.path}/{FOLDER}: cannot be read: {problem}") from problem
    return found


def identities(place: Place, commits: list[Commit]) -> dict[str, Identity]:
    """The objects that commits took, by key."""
    import io

    import pyarrow.parquet as parquet

    found: dict[str, Identity] = {}
    for commit in commits:
        for name in commit.files.get(SOURCES.name, ()):
            columns = ["key", "size", "digest", "modified"]
            try:
                table = parquet.read_table(io.BytesIO(place.read(name)), columns=columns).to_pydict()
            except OSError as problem:
                raise StoreError(f"{place.path}/{name}: cannot be read: {problem}") from problem
            rows = zip(*(table[column] for column in columns), strict=True)
            found.update((key, Identity(key, size, digest, modified)) for key, size, digest, modified in rows)
    return found
