"""Every other scheme that fsspec knows and has a library for: `memory://`, `hdfs://`, `sftp://`, ..."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from analyzers.objects.object_store import Fault, ObjectStore, ObjectStoreError, Page, StoredObject


def connect(scheme: str) -> ObjectStore:
    """The store. Raises ObjectStoreError for a scheme that fsspec does not know, or whose library is missing."""
    try:
        import fsspec

        return AnyStore(scheme, fsspec.filesystem(scheme, use_listings_cache=False))
    except (ImportError, ValueError) as problem:
        raise ObjectStoreError(
            f"{scheme}://: {problem}; s3://, gs:// and az:// need flowctl-microseg with [s3], [gcs] or [azure]"
        ) from problem


class AnyStore:
    """Through fsspec's own calls, in threads. What is read is not pinned to a version by the store, so size and
    time of change are compared before each range."""

    def __init__(self, scheme: str, files: Any) -> None:
        from fsspec.asyn import get_loop

        self._scheme = scheme
        self._files = files
        self.loop: asyncio.AbstractEventLoop = get_loop()

    def _path(self, url: str) -> str:
        return str(self._files._strip_protocol(url))

    async def page(self, prefix: str, following: str) -> Page:  # noqa: ARG002  (everything is on one page)
        """One directory."""
        return await asyncio.to_thread(self._list, prefix)

    def _list(self, prefix: str) -> Page:
        folder, _, begin = prefix.rpartition("/")
        above = folder + "/"
        prefixes: list[str] = []
        objects: list[StoredObject] = []
        try:
            entries = self._files.ls(self._path(above), detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return Page((), ())
        for entry in entries:
            name = str(entry["name"]).rstrip("/").rpartition("/")[2]
            if not name.startswith(begin):
                continue
            if entry["type"] == "directory":
                prefixes.append(above + name + "/")
            else:
                objects.append(StoredObject(above + name, int(entry["size"]), _version(entry)))
        return Page(tuple(sorted(prefixes)), tuple(sorted(objects, key=lambda found: found.url)))

    async def read(self, wanted: StoredObject, start: int, end: int, into: bytearray) -> None:
        """One range."""

        def fetch() -> bytes:
            path = self._path(wanted.url)
            entry = self._files.info(path)
            if int(entry["size"]) != wanted.size or _version(entry) != wanted.version:
                raise FileExistsError(wanted.url)
            content: bytes = self._files.cat_file(path, start=start, end=end)
            return content

        into += await asyncio.to_thread(fetch)

    async def write(self, url: str, content: bytes, *, unless_there: bool) -> bool:
        """Only for one writer at a time: fsspec has no call that creates a file unless it is there."""

        def put() -> bool:
            path = self._path(url)
            if unless_there and self._files.exists(path):
                return False
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(path, content)
            return True

        return await asyncio.to_thread(put)

    async def delete(self, url: str) -> None:
        """Remove one file."""

        def remove() -> None:
            path = self._path(url)
            if self._files.exists(path):
                self._files.rm_file(path)

        await asyncio.to_thread(remove)

    def fault(self, problem: BaseException) -> Fault:
        """By the exception that Python has for it."""
        if isinstance(problem, FileNotFoundError):
            return Fault.GONE
        if isinstance(problem, FileExistsError):
            return Fault.CHANGED
        if isinstance(problem, PermissionError):
            return Fault.DENIED
        if isinstance(problem, (ConnectionError, TimeoutError, asyncio.TimeoutError)):
            return Fault.TEMPORARY
        return Fault.FINAL


def _version(entry: dict[str, Any]) -> str:
    for name in ("ETag", "etag", "mtime", "created", "last_modified"):
        found = entry.get(name)
        if found:
            return str(found.timestamp() if isinstance(found, datetime) else found)
    return ""
