"""The objects behind a URL or a pattern: one directory level a request, prefixes outside the window never asked for."""

from __future__ import annotations

import asyncio
import errno
import fnmatch
import logging
import re
from dataclasses import dataclass, field

from analyzers.objects.key_layout import Window
from analyzers.objects.object_store import (
    ObjectStore,
    ObjectStoreError,
    Page,
    StoredObject,
    split_url,
    store_of,
    wait_for,
)
from analyzers.objects.patience import ObjectFailure, ObjectGone, insist

AT_ONCE = 16
"""Listing requests under way: accounts, regions and days are listed side by side."""

log = logging.getLogger("flowctl.objects")
_WILD = re.compile(r"[*?\[]")


@dataclass
class Listing:
    """What was found, and what was spared."""

    objects: list[StoredObject] = field(default_factory=list)
    requests: int = 0  # pages asked for
    prefixes_outside: int = 0  # of the window: not listed
    objects_outside: int = 0  # of the window, going by their names


def list_objects(url: str, window: Window) -> Listing:
    """Objects at or below `url`, sorted by URL; `*`, `?`, `[...]` match within one directory level, `**` any number.

    An object whose last name begins with "." or "_" is left out, as Spark and Hive do, unless it is named exactly.
    Raises ObjectStoreError when the store cannot be listed, and when nothing is there at all.
    """
    store = store_of(url)
    listing = Listing()
    try:
        wait_for(store, _walk(store, url, window, listing))
    except ObjectFailure as problem:
        raise ObjectStoreError(f"{problem.url}: {_advice(problem)}") from problem
    listing.objects.sort(key=lambda found: found.url)
    if not (listing.objects or listing.prefixes_outside or listing.objects_outside):
        raise ObjectStoreError(f"{url}: no object has this name, begins with it or matches it")
    log.info("%s: %d objects, %d listing requests", url, len(listing.objects), listing.requests)
    return listing


def _advice(problem: ObjectFailure) -> str:
    if problem.errno == errno.EACCES:
        cause = problem.__cause__
        return f"the store denies listing ({cause}); check the credentials, and the permission to list the bucket"
    if isinstance(problem, ObjectGone):
        return "there is no such bucket or container"
    return f"cannot be listed: {problem.strerror}"


async def _walk(store: ObjectStore, url: str, window: Window, listing: Listing) -> None:
    fixed, pattern = _fixed_part(url)
    limit = asyncio.Semaphore(AT_ONCE)

    async def level(prefix: str) -> tuple[list[str], list[StoredObject]]:
        prefixes: list[str] = []
        objects: list[StoredObject] = []
        following = ""
        while True:
            async with limit:
                listing.requests += 1
                page: Page = await insist(store, prefix, lambda after=following: store.page(prefix, after))  # type: ignore[misc]
            prefixes += page.prefixes
            objects += page.objects
            following = page.following
            if not following:
                return prefixes, objects

    async def descend(prefix: str) -> None:
        prefixes, objects = await level(prefix)
        for found in objects:
            if pattern is None and not fixed.endswith("/") and prefix == fixed and found.url != fixed:
                continue  # "s3://b/logs" also lists "s3://b/logs2"
            if not _wanted(found.url, pattern, fixed):
                continue
            if window.may_hold(found.url):
                listing.objects.append(found)
            else:
                listing.objects_outside += 1
        below: list[str] = []
        for name in prefixes:
            if pattern is None and not fixed.endswith("/") and prefix == fixed and name != fixed + "/":
                continue
            if pattern is not None and not _leads_to(name, pattern):
                continue
            if window.may_hold(name):
                below.append(name)
            else:
                listing.prefixes_outside += 1
        await asyncio.gather(*(descend(name) for name in below))

    await descend(fixed)


def _fixed_part(url: str) -> tuple[str, str | None]:
    """(where listing begins, the whole pattern): the last "/" before the first wildcard; None without one."""
    found = _WILD.search(url)
    if found is None:
        bucket_only = not split_url(url)[2] and not url.endswith("/")
        return (url + "/" if bucket_only else url), None
    return url[: found.start()].rpartition("/")[0] + "/", url


def _wanted(url: str, pattern: str | None, fixed: str) -> bool:
    if url == fixed:
        return True
    if url.rpartition("/")[2].startswith((".", "_")):
        return False
    return pattern is None or _matches(url.split("/"), pattern.rstrip("/").split("/"))


def _matches(parts: list[str], pattern: list[str]) -> bool:
    """Whether the pattern leads to a name or to a directory above it."""
    if not pattern:
        return True
    if pattern[0] == "**":
        return any(_matches(parts[skip:], pattern[1:]) for skip in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _leads_to(prefix: str, pattern: str) -> bool:
    """Whether something below `prefix` can match."""
    for part, expected in zip(prefix.rstrip("/").split("/"), pattern.rstrip("/").split("/"), strict=False):
        if expected == "**":
            return True
        if not fnmatch.fnmatchcase(part, expected):
            return False
    return True
