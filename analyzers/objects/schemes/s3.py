"""`s3://`: Amazon S3 and what speaks its protocol, by s3fs.

Credentials, region and endpoint come from where the AWS tools take them (AWS_PROFILE, AWS_ENDPOINT_URL_S3, instance
roles, ...); FSSPEC_S3_ANON=true reads public buckets without any.
"""

from __future__ import annotations

import asyncio
from typing import Any

from analyzers.objects.object_store import Fault, ObjectStore, Page, StoredObject, missing_library, split_url

PIECE = 256 * 1024
TEMPORARY = frozenset(
    ("SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "Throttling", "ThrottlingException",
     "RequestLimitExceeded", "TooManyRequestsException", "OperationAborted")
)  # fmt: skip
# "Error responses", Amazon S3 API Reference


def connect(scheme: str) -> ObjectStore:
    """The store. Raises ObjectStoreError without s3fs."""
    try:
        return S3Store()
    except ImportError as problem:
        raise missing_library(scheme, "S3", "s3fs", "s3") from problem


class S3Store:
    """Requests go through s3fs' client, whose own retries are off: it would begin a range again, not go on in it."""

    def __init__(self) -> None:
        import s3fs

        self._files = s3fs.S3FileSystem(
            skip_instance_cache=True,
            use_listings_cache=False,
            config_kwargs={
                "retries": {"total_max_attempts": 1},
                "connect_timeout": 10,
                "read_timeout": 30,
                "max_pool_connections": 64,
            },
        )
        self.loop: asyncio.AbstractEventLoop = self._files.loop

    async def _client(self, bucket: str) -> Any:
        await self._files.set_session()
        return await self._files.get_s3(bucket)

    async def page(self, prefix: str, following: str) -> Page:
        """One ListObjectsV2 request: up to 1,000 keys and prefixes."""
        scheme, bucket, key = split_url(prefix)
        client = await self._client(bucket)
        after = {"ContinuationToken": following} if following else {}
        answer = await client.list_objects_v2(Bucket=bucket, Prefix=key, Delimiter="/", **after)
        root = f"{scheme}://{bucket}/"
        return Page(
            tuple(root + found["Prefix"] for found in answer.get("CommonPrefixes") or ()),
            tuple(
                StoredObject(root + found["Key"], found["Size"], found["ETag"])
                for found in answer.get("Contents") or ()
                if not found["Key"].endswith("/")
            ),
            answer.get("NextContinuationToken", "") if answer.get("IsTruncated") else "",
        )

    async def read(self, wanted: StoredObject, start: int, end: int, into: bytearray) -> None:
        """One ranged GetObject with If-Match."""
        _, bucket, key = split_url(wanted.url)
        client = await self._client(bucket)
        condition = {"IfMatch": wanted.version} if wanted.version else {}
        answer = await client.get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{end - 1}", **condition)
        body = answer["Body"]
        try:
            while piece := await body.read(PIECE):
                into += piece
        finally:
            body.close()

    async def write(self, url: str, content: bytes, *, unless_there: bool) -> bool:
        """One PutObject, with If-None-Match where it must be new."""
        _, bucket, key = split_url(url)
        client = await self._client(bucket)
        try:
            await client.put_object(
                Bucket=bucket, Key=key, Body=content, **({"IfNoneMatch": "*"} if unless_there else {})
            )
        except Exception as problem:
            if unless_there and _status(problem) in (409, 412):
                return False
            raise
        return True

    async def delete(self, url: str) -> None:
        """One DeleteObject."""
        _, bucket, key = split_url(url)
        client = await self._client(bucket)
        await client.delete_object(Bucket=bucket, Key=key)

    def fault(self, problem: BaseException) -> Fault:
        """By error code, then by status; whatever the HTTP layer raises is a connection that was cut."""
        import aiohttp
        from botocore import exceptions as boto

        cut = (
            boto.HTTPClientError, boto.ResponseStreamingError, boto.IncompleteReadError, aiohttp.ClientError,
            asyncio.TimeoutError, ConnectionError, asyncio.IncompleteReadError,
        )  # fmt: skip
        if isinstance(problem, (boto.NoCredentialsError, boto.PartialCredentialsError)):
            return Fault.DENIED
        if isinstance(problem, cut):
            return Fault.TEMPORARY
        status = _status(problem)
        if _code(problem) in TEMPORARY or status == 429 or status >= 500:
            return Fault.TEMPORARY
        if status == 416:  # the object became shorter than it was
            return Fault.CHANGED
        return {404: Fault.GONE, 412: Fault.CHANGED, 403: Fault.DENIED, 401: Fault.DENIED}.get(status, Fault.FINAL)


def _status(problem: BaseException) -> int:
    response = getattr(problem, "response", None) or {}
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _code(problem: BaseException) -> str:
    response = getattr(problem, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))
