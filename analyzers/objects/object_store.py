"""What every object store can do for us, whatever its scheme; `schemes/<name>.py` does it for one of them."""

from __future__ import annotations

import importlib
import pkgutil
import re
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from analyzers.objects import schemes

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")
ALIASES = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfs": "az", "abfss": "az"}


class ObjectStoreError(ValueError):
    """An object store cannot be used at all; the message says what, where and what to do."""


class Fault(Enum):
    """What a failed request means."""

    TEMPORARY = "temporary"  # throttled, a server error, a connection that was cut: the same request may work later
    GONE = "gone"
    CHANGED = "changed"  # there, but no longer the version that was listed
    DENIED = "denied"
    FINAL = "final"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object as it was listed. `version`: etag or generation, "" where the store has none."""

    url: str
    size: int
    version: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Part of one directory level: prefixes (ending in "/") and objects, and where the next part begins ("": last)."""

    prefixes: tuple[str, ...]
    objects: tuple[StoredObject, ...]
    following: str = ""


class ObjectStore(Protocol):
    """One scheme. Coroutines run on `loop`, one request each, and raise what the client library raises."""

    loop: asyncio.AbstractEventLoop

    async def page(self, prefix: str, following: str) -> Page:
        """What is directly below `prefix` (a URL; objects and prefixes that begin with it up to the next "/")."""

    async def read(self, wanted: StoredObject, start: int, end: int, into: bytearray) -> None:
        """Append bytes [start, end) of the version that was listed; what arrived before a fault stays in `into`."""

    async def write(self, url: str, content: bytes, *, unless_there: bool) -> bool:
        """Create or replace; with `unless_there` create or leave alone, atomically: False when something is there."""

    async def delete(self, url: str) -> None:
        """Remove it; nothing happens when it is not there."""

    def fault(self, problem: BaseException) -> Fault:
        """What an exception of one of the above means."""


def is_url(name: str) -> bool:
    """Whether a name is an object's or a prefix's URL, not a path."""
    return re.match(r"[a-z][a-z0-9+.-]+://", name) is not None


def split_url(url: str) -> tuple[str, str, str]:
    """(scheme as written, bucket or container, key)."""
    scheme, rest = url.split("://", 1)
    bucket, _, key = rest.partition("/")
    return scheme, bucket, key


_stores: dict[str, ObjectStore] = {}
_lock = threading.Lock()


def store_of(url: str) -> ObjectStore:
    """The store behind a URL, one for each scheme and process. Raises ObjectStoreError when its library is missing."""
    scheme = split_url(url)[0]
    name = ALIASES.get(scheme, scheme)
    with _lock:
        if name not in _stores:
            known = {module.name for module in pkgutil.iter_modules(schemes.__path__)}
            module: Any = importlib.import_module(f"{schemes.__name__}.{name if name in known else 'other'}")
            _stores[name] = module.connect(name)
        return _stores[name]


def forget_connections() -> None:
    """Connect anew at the next use: other credentials, another endpoint."""
    with _lock:
        _stores.clear()


def wait_for(store: ObjectStore, request: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine of the store from any thread but its own."""
    import asyncio  # takes longer to import than all that is imported where no object is read

    return asyncio.run_coroutine_threadsafe(request, store.loop).result()


def missing_library(scheme: str, what: str, library: str, extra: str) -> ObjectStoreError:
    """The message for a scheme whose extra is not installed."""
    return ObjectStoreError(
        f"{scheme}:// needs {library} to talk to {what}, and it is not installed: "
        f"pip install 'flowctl-microseg[{extra}]'"
    )
