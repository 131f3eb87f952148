"""An object as a file: parts are fetched ahead in ranges while the part before them is worked on."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from analyzers.objects.object_store import StoredObject, store_of

if TYPE_CHECKING:
    from concurrent.futures import Future

PART_BYTES = 4 << 20
PARTS_AHEAD = 2
"""A stream holds the part it is in and this many behind it: 12 MiB, whatever the object's size."""

WAITING_BYTES = 32 << 20
"""First parts of objects whose turn has not come: small objects arrive before a worker asks for them."""

WAITING_OBJECTS = 32


class ObjectStream(io.RawIOBase):
    """Readable and seekable. Raises analyzers.objects.patience.ObjectFailure (an OSError) from read calls."""

    def __init__(self, wanted: StoredObject) -> None:
        self._wanted = wanted
        self._store = store_of(wanted.url)
        self._parts: dict[int, Future[bytes]] = {}
        self._at = 0
        self._last = max(0, wanted.size - 1) // PART_BYTES

    def begin(self) -> int:
        """Ask for the first part without waiting for it; returns its size in bytes."""
        self._ask_for(0)
        return min(self._wanted.size, PART_BYTES)

    def _ask_for(self, number: int) -> None:
        if number in self._parts or number > self._last or not self._wanted.size:
            return
        import asyncio

        from analyzers.objects.patience import read_range

        start = number * PART_BYTES
        end = min(start + PART_BYTES, self._wanted.size)
        self._parts[number] = asyncio.run_coroutine_threadsafe(
            read_range(self._store, self._wanted, start, end), self._store.loop
        )

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always; parts near the new place are fetched again when they are no longer held."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As of any file."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._wanted.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """As of any file."""
        return self._at

    def readinto(self, target: Any) -> int:
        """Fill `target` with what the present part still holds; 0 at the end."""
        if self._at >= self._wanted.size:
            return 0
        number = self._at // PART_BYTES
        self._ask_for(number)
        for ahead in range(number + 1, number + 1 + PARTS_AHEAD):
            self._ask_for(ahead)
        for held in [held for held in self._parts if not number <= held <= number + PARTS_AHEAD]:
            self._parts.pop(held).cancel()
        part = self._parts[number].result()
        view = memoryview(target)
        begin = self._at - number * PART_BYTES
        count = min(len(view), len(part) - begin)
        view[:count] = memoryview(part)[begin : begin + count]
        self._at += count
        return count

    def close(self) -> None:
        """Drop what is held and what is under way."""
        for part in self._parts.values():
            part.cancel()
        self._parts.clear()
        super().close()


I = TypeVar("I")  # noqa: E741


def begun_ahead(items: Iterable[I], waiting_objects: int = WAITING_OBJECTS) -> Iterator[I]:
    """The items; the first parts of the next ones' objects (`.stream`) are already asked for, within WAITING_BYTES."""
    waiting: deque[tuple[I, int]] = deque()
    held = 0
    for item in items:
        stream = getattr(item, "stream", None)
        size = stream.begin() if isinstance(stream, ObjectStream) else 0
        waiting.append((item, size))
        held += size
        while len(waiting) > 1 and (held > WAITING_BYTES or len(waiting) > waiting_objects):
            ready, size = waiting.popleft()
            held -= size
            yield ready
    while waiting:
        yield waiting.popleft()[0]
