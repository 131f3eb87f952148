"""Requests that are repeated: exponential waits with full jitter, and what is left to say when that did not help."""

from __future__ import annotations

import asyncio
import errno
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from analyzers.objects.object_store import Fault, ObjectStore, StoredObject

T = TypeVar("T")
TRIES = 8
"""Attempts in a row without a byte of progress before it is given up: about a minute of waiting in the worst case."""

FIRST_WAIT = 0.2
LONGEST_WAIT = 20.0

log = logging.getLogger("flowctl.objects")


class ObjectFailure(OSError):
    """An object that could not be read, or not to its end. `strerror` is the reason without the name."""

    def __init__(self, code: int, reason: str, url: str) -> None:
        super().__init__(code, reason)
        self.url = url


class ObjectGone(ObjectFailure):
    """It was listed, and is no longer there."""


class ObjectChanged(ObjectFailure):
    """Its content is no longer what was listed or what was read so far."""


async def pause(attempt: int) -> None:
    """Wait before attempt `attempt` + 1: anything up to a limit that doubles, so that clients don't come in step."""
    await asyncio.sleep(random.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2**attempt)))


async def insist(store: ObjectStore, url: str, request: Callable[[], Awaitable[T]]) -> T:
    """The answer to a request that may be repeated as it is. Raises ObjectFailure."""
    attempt = 0
    while True:
        try:
            return await request()
        except Exception as problem:
            failure = failure_of(store, url, problem)
            attempt += 1
            if failure is not None and (not isinstance(failure, TemporaryFailure) or attempt >= TRIES):
                raise failure from problem
            log.info("%s: %s, attempt %d", url, problem, attempt)
        await pause(attempt)


async def read_range(store: ObjectStore, wanted: StoredObject, start: int, end: int) -> bytes:
    """Bytes [start, end), going on at the offset reached after each fault. Raises ObjectFailure."""
    got = bytearray()
    attempt = 0
    while True:
        reached = len(got)
        problem: Exception | None = None
        try:
            await store.read(wanted, start + reached, end, got)
            if len(got) >= end - start:
                return bytes(got[: end - start])
        except Exception as found:
            problem = found
            failure = failure_of(store, wanted.url, found)
            if not isinstance(failure, TemporaryFailure):
                raise failure from found
        attempt = 1 if len(got) > reached else attempt + 1
        if attempt >= TRIES:
            raise TemporaryFailure(
                errno.EAGAIN, "the store did not answer, however often it was asked", wanted.url
            ) from problem
        log.info("%s: %s at offset %d, attempt %d", wanted.url, problem or "a short answer", start + len(got), attempt)
        await pause(attempt)


class TemporaryFailure(ObjectFailure):
    """Throttled, cut or failing on the server's side for longer than is waited."""


def failure_of(store: ObjectStore, url: str, problem: BaseException) -> ObjectFailure:
    """The failure as one of ours, its reason without names or numbers that would keep equal ones from being counted."""
    kind = store.fault(problem)
    if kind is Fault.TEMPORARY:
        return TemporaryFailure(errno.EAGAIN, "the store did not answer, however often it was asked", url)
    if kind is Fault.GONE:
        return ObjectGone(errno.ENOENT, "the object vanished between listing and reading", url)
    if kind is Fault.CHANGED:
        return ObjectChanged(errno.ESTALE, "the object was replaced between listing and reading", url)
    if kind is Fault.DENIED:
        return ObjectFailure(errno.EACCES, "the store denies access to the object", url)
    return ObjectFailure(errno.EIO, f"{type(problem).__name__}: {problem}"[:300], url)
