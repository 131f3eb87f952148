"""Where a store of Parquet files lies: a directory, or a prefix in an object store; whole files, named below it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from analyzers.objects.key_layout import Window
from analyzers.objects.object_store import ObjectStoreError, StoredObject, is_url, store_of, wait_for
from analyzers.objects.object_stream import PART_BYTES, ObjectStream
from analyzers.objects.patience import ObjectGone, insist
from analyzers.store.database import StoreError


class Place(Protocol):
    """Files by their names relative to the place, "/" between parts. Raises OSError from all of it."""

    path: str

    def names(self, folder: str) -> list[str]:
        """All files below `folder` (which may not exist), sorted."""

    def read(self, name: str) -> bytes:
        """A file's content. Raises FileNotFoundError."""

    def write(self, name: str, content: bytes) -> None:
        """The whole file at once, or nothing."""

    def create(self, name: str, content: bytes) -> bool:
        """The same, unless there is one already: then False, and nothing happened. Atomic among many writers."""

    def delete(self, name: str) -> None:
        """Remove a file; nothing happens when there is none."""


def place_of(path: str) -> Place:
    """The place at a path or URL; it need not exist. Raises StoreError when the library for its scheme is missing."""
    try:
        return ObjectPlace(path) if is_url(path) else DirectoryPlace(path)
    except ObjectStoreError as problem:
        raise StoreError(str(problem)) from problem


class DirectoryPlace:
    """A directory on disk."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._root = Path(path)

    def names(self, folder: str) -> list[str]:
        """See Place."""
        found = (self._root / folder).rglob("*")
        return sorted(p.relative_to(self._root).as_posix() for p in found if p.is_file() and p.name[0] not in "._")

    def read(self, name: str) -> bytes:
        """See Place."""
        return (self._root / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """See Place."""
        partial = self._partial(name, content)
        partial.replace(self._root / name)

    def create(self, name: str, content: bytes) -> bool:
        """See Place. A second name for a finished file: the system refuses it when the name is taken."""
        partial = self._partial(name, content)
        try:
            os.link(partial, self._root / name)
        except FileExistsError:
            return self.read(name) == content
        finally:
            partial.unlink()
        return True

    def _partial(self, name: str, content: bytes) -> Path:
        target = self._root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".", delete=False) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return Path(file.name)

    def delete(self, name: str) -> None:
        """See Place."""
        (self._root / name).unlink(missing_ok=True)


class ObjectPlace:
    """A prefix in an object store."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._root = path.rstrip("/") + "/"
        self._store = store_of(path)

    def names(self, folder: str) -> list[str]:
        """See Place."""
        return [self.name_of(found) for found in self.objects(folder)]

    def name_of(self, found: StoredObject) -> str:
        """A listed object's name in this place."""
        return found.url.removeprefix(self._root)

    def pieces(self, wanted: StoredObject) -> Iterator[bytes]:
        """A listed object's content, never held as a whole."""
        stream = ObjectStream(wanted)
        while piece := stream.read(PART_BYTES):
            yield piece
        stream.close()

    def objects(self, folder: str) -> list[StoredObject]:
        """The same as they were listed."""
        from analyzers.objects.listing import list_objects

        try:
            return list_objects(f"{self._root}{folder.rstrip('/')}/", Window()).objects
        except ObjectStoreError as problem:
            if problem.__cause__ is None:  # nothing there
                return []
            raise OSError(str(problem)) from problem

    def read(self, name: str) -> bytes:
        """See Place."""
        url = self._root + name
        page = wait_for(self._store, insist(self._store, url, lambda: self._store.page(url, "")))
        found = next((one for one in page.objects if one.url == url), None)
        if found is None:
            raise FileNotFoundError(url)
        return b"".join(self.pieces(found))

    def write(self, name: str, content: bytes) -> None:
        """See Place."""
        url = self._root + name
        wait_for(self._store, insist(self._store, url, lambda: self._store.write(url, content, unless_there=False)))

    def create(self, name: str, content: bytes) -> bool:
        """See Place. When an answer was lost and the request repeated, what is there may well be ours."""
        url = self._root + name
        made = wait_for(
            self._store, insist(self._store, url, lambda: self._store.write(url, content, unless_there=True))
        )
        return made or self.read(name) == content

    def delete(self, name: str) -> None:
        """See Place."""
        url = self._root + name
        try:
            wait_for(self._store, insist(self._store, url, lambda: self._store.delete(url)))
        except ObjectGone:
            return
