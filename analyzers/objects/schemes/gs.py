"""`gs://`: Google Cloud Storage, by gcsfs.

Credentials as Google's own tools find them; STORAGE_EMULATOR_HOST points to another endpoint.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any
from urllib.parse import quote

from analyzers.objects.object_store import Fault, ObjectStore, Page, StoredObject, missing_library, split_url


def connect(scheme: str) -> ObjectStore:
    """The store. Raises ObjectStoreError without gcsfs."""
    try:
        return GoogleStore()
    except ImportError as problem:
        raise missing_library(scheme, "Google Cloud Storage", "gcsfs", "gcs") from problem


class GoogleStore:
    """The version of an object is its generation, which every write raises."""

    def __init__(self) -> None:
        import gcsfs

        # the variable of Google's own clients says where an emulator is; those ask no credentials
        emulated = {"token": "anon"} if os.environ.get("STORAGE_EMULATOR_HOST") else {}
        self._files = gcsfs.GCSFileSystem(skip_instance_cache=True, use_listings_cache=False, **emulated)
        self.loop: asyncio.AbstractEventLoop = self._files.loop

    async def page(self, prefix: str, following: str) -> Page:
        """One Objects: list request."""
        scheme, bucket, key = split_url(prefix)
        answer: dict[str, Any] = await self._files._call(
            "GET", "b/{}/o", bucket, json_out=True, prefix=key or None, delimiter="/", pageToken=following or None
        )
        root = f"{scheme}://{bucket}/"
        return Page(
            tuple(root + found for found in answer.get("prefixes") or ()),
            tuple(
                StoredObject(root + found["name"], int(found["size"]), str(found.get("generation", "")))
                for found in answer.get("items") or ()
                if not found["name"].endswith("/")
            ),
            answer.get("nextPageToken", ""),
        )

    async def read(self, wanted: StoredObject, start: int, end: int, into: bytearray) -> None:
        """One ranged download with ifGenerationMatch."""
        _, bucket, key = split_url(wanted.url)
        address = self._files.url(f"{bucket}/{key}")
        condition = {"ifGenerationMatch": wanted.version} if wanted.version else {}
        _, content = await self._files._call("GET", address, headers={"Range": f"bytes={start}-{end - 1}"}, **condition)
        into += content

    async def write(self, url: str, content: bytes, *, unless_there: bool) -> bool:
        """One upload; generation 0 is that of an object that is not there."""
        _, bucket, key = split_url(url)
        condition = "&ifGenerationMatch=0" if unless_there else ""
        address = f"{self._files._location}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(key, safe='')}"
        try:
            await self._files._call("POST", address + condition, data=content)
        except FileExistsError:  # what gcsfs makes of a failed precondition
            return False
        return True

    async def delete(self, url: str) -> None:
        """One Objects: delete request."""
        _, bucket, key = split_url(url)
        try:
            await self._files._call("DELETE", "b/{}/o/{}", bucket, key)
        except FileNotFoundError:
            return

    def fault(self, problem: BaseException) -> Fault:
        """gcsfs turns statuses into exceptions; it has repeated temporary ones a few times already."""
        import aiohttp
        import requests
        from gcsfs.retry import HttpError, is_retriable

        if isinstance(problem, FileNotFoundError):
            return Fault.GONE
        if isinstance(problem, FileExistsError):
            return Fault.CHANGED
        if isinstance(problem, OSError) and str(problem).startswith("Forbidden"):
            return Fault.DENIED
        if isinstance(problem, HttpError) and problem.code in (401, 403):
            return Fault.DENIED
        if isinstance(problem, HttpError) and problem.code == 416:
            return Fault.CHANGED
        cut = (aiohttp.ClientError, asyncio.TimeoutError, ConnectionError, requests.exceptions.ConnectionError)
        return Fault.TEMPORARY if isinstance(problem, cut) or is_retriable(problem) else Fault.FINAL
