"""`az://CONTAINER/PATH`: Azure Blob Storage, by adlfs.

The account and its credentials come from AZURE_STORAGE_CONNECTION_STRING, or from AZURE_STORAGE_ACCOUNT_NAME with
AZURE_STORAGE_ACCOUNT_KEY, a SAS token or whatever DefaultAzureCredential finds (adlfs reads these itself).
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from analyzers.objects.object_store import Fault, ObjectStore, Page, StoredObject, missing_library, split_url

PIECE = 256 * 1024


def connect(scheme: str) -> ObjectStore:
    """The store. Raises ObjectStoreError without adlfs, ValueError without an account."""
    try:
        return AzureStore()
    except ImportError as problem:
        raise missing_library(scheme, "Azure Blob Storage", "adlfs", "azure") from problem


class AzureStore:
    """Requests go through the client of Azure's own library that adlfs has set up; its retries are off."""

    def __init__(self) -> None:
        import adlfs

        anonymous = {"anon": False} if "AZURE_STORAGE_ANON" not in os.environ else {}
        self._files = adlfs.AzureBlobFileSystem(skip_instance_cache=True, use_listings_cache=False, **anonymous)
        self.loop: asyncio.AbstractEventLoop = self._files.loop

    def _container(self, container: str) -> Any:
        return self._files.service_client.get_container_client(container)

    async def page(self, prefix: str, following: str) -> Page:
        """One List Blobs request."""
        from azure.storage.blob import BlobPrefix

        scheme, container, key = split_url(prefix)
        root = f"{scheme}://{container}/"
        pages = self._container(container).walk_blobs(name_starts_with=key, delimiter="/", retry_total=0)
        pages = pages.by_page(continuation_token=following or None)
        prefixes: list[str] = []
        objects: list[StoredObject] = []
        async for blob in await anext(pages):
            if isinstance(blob, BlobPrefix):
                prefixes.append(root + blob.name)
            elif not blob.name.endswith("/"):
                objects.append(StoredObject(root + blob.name, blob.size, blob.etag or ""))
        return Page(tuple(prefixes), tuple(objects), pages.continuation_token or "")

    async def read(self, wanted: StoredObject, start: int, end: int, into: bytearray) -> None:
        """One ranged Get Blob with If-Match."""
        from azure.core import MatchConditions

        _, container, key = split_url(wanted.url)
        condition = {"etag": wanted.version, "match_condition": MatchConditions.IfNotModified} if wanted.version else {}
        answer = await self._container(container).download_blob(
            key, offset=start, length=end - start, max_concurrency=1, retry_total=0, **condition
        )
        async for piece in answer.chunks():
            into += piece

    async def write(self, url: str, content: bytes, *, unless_there: bool) -> bool:
        """One Put Blob; without `overwrite` the library sends If-None-Match: *."""
        from azure.core.exceptions import ResourceExistsError

        _, container, key = split_url(url)
        try:
            await self._container(container).upload_blob(key, content, overwrite=not unless_there)
        except ResourceExistsError:
            return False
        return True

    async def delete(self, url: str) -> None:
        """One Delete Blob."""
        from azure.core.exceptions import ResourceNotFoundError

        _, container, key = split_url(url)
        try:
            await self._container(container).delete_blob(key)
        except ResourceNotFoundError:
            return

    def fault(self, problem: BaseException) -> Fault:
        """By status; a request or an answer that did not get through is a connection that was cut."""
        from azure.core import exceptions as azure

        cut = (azure.ServiceRequestError, azure.ServiceResponseError, azure.IncompleteReadError)
        if isinstance(problem, (*cut, asyncio.TimeoutError, ConnectionError)):
            return Fault.TEMPORARY
        if isinstance(problem, azure.ClientAuthenticationError):
            return Fault.DENIED
        status = int(getattr(problem, "status_code", None) or 0)
        if status in (408, 429) or status >= 500:
            return Fault.TEMPORARY
        meanings = {404: Fault.GONE, 412: Fault.CHANGED, 416: Fault.CHANGED, 401: Fault.DENIED, 403: Fault.DENIED}
        return meanings.get(status, Fault.FINAL)
