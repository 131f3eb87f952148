"""Which object is this, and is it the one that was taken before?"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from analyzers.ingest.sources import InputError, Source, expand
from analyzers.objects.key_layout import Window
from analyzers.store.database import is_store_file, plain_text

EDGE_BYTES = 64 * 1024
SAMPLE_BYTES = 4096
SAMPLES = 32


@dataclass(frozen=True, slots=True)
class Identity:
    """`key`: absolute path or URL; `size` in bytes; `digest`: an object store's etag, or `fingerprint`;
    `modified`: ns UTC of the last change, 0 where it is not known."""

    key: str
    size: int
    digest: str
    modified: int = 0


class Change(Enum):
    """What became of an object since it was taken."""

    NONE = "the same"
    GREW = "grew, its beginning is the same"
    OTHER = "changed"


def identifiable_sources(names: Sequence[str], window: Window) -> tuple[list[Source], list[str]]:
    """`expand`, for what is to be known again later. Raises InputError for flow stores and pipes too."""
    for name in names:
        if is_store_file(name):
            raise InputError(f"{name} is a flow store: other commands read it with --store; name logs or captures")
    sources, notes = expand(names, window)
    for source in sources:
        if source.read_once:
            raise InputError(
                f"{source.name}: what comes from standard input or a pipe has no identity: save it to a file first"
            )
    return sources, notes


def key_of(source: Source) -> str:
    """The name that tells the object from every other, whichever way the user wrote it."""
    return plain_text(source.name if source.stored is not None else os.path.realpath(source.name))


def identity_of(source: Source, key: str = "") -> Identity:
    """The object as it is now; `key`: where its `key_of` is known. Raises OSError when it cannot be read."""
    key = key or key_of(source)
    if source.stored is not None:
        return Identity(key, source.stored.size, source.stored.version)
    path = Path(source.name)
    now = path.stat()
    return Identity(key, now.st_size, fingerprint(path, now.st_size), now.st_mtime_ns)


def fingerprint(path: Path, size: int) -> str:
    """Digest of a file's first `size` bytes by parts: both ends and 32 pieces between, so that it costs no second read.

    Both ends of a gzip file tell its content (the last member's CRC and length); a log that is appended to changes its
    size; what this cannot see is a plain file that was edited in place, between the pieces, to the same length.
    """
    made = hashlib.blake2b(size.to_bytes(8, "little"), digest_size=16)
    with path.open("rb", buffering=0) as file:
        places = [(0, EDGE_BYTES), (max(0, size - EDGE_BYTES), EDGE_BYTES)]
        if size > 2 * EDGE_BYTES:
            step = size // (SAMPLES + 1)
            places += [(step * (i + 1), SAMPLE_BYTES) for i in range(SAMPLES)]
        for start, length in places:
            file.seek(start)
            made.update(file.read(min(length, size - start)))
    return made.hexdigest()


def change_since(source: Source, then: Identity) -> Change:
    """Whether the object is still the one that was taken as `then`. Raises OSError when it cannot be read."""
    if source.stored is not None:
        same = (source.stored.size, source.stored.version) == (then.size, then.digest)
        return Change.NONE if same else Change.OTHER
    path = Path(source.name)
    now = path.stat()
    if now.st_size == then.size and now.st_mtime_ns == then.modified:
        return Change.NONE
    if now.st_size >= then.size and fingerprint(path, then.size) == then.digest:
        return Change.NONE if now.st_size == then.size else Change.GREW
    return Change.OTHER
