"""What the user named, as a sorted list of things to read, and byte streams out of them."""

from __future__ import annotations

import contextlib
import glob
import gzip
import io
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import BinaryIO, cast

import zstandard
from isal import igzip_lib, isal_zlib

from analyzers.objects.key_layout import Window
from analyzers.objects.object_store import ObjectStoreError, StoredObject, is_url

INFLATE_ERROR = cast(type[Exception], igzip_lib.IsalError)  # its type stub says that it is an instance
_GzipReader = getattr(isal_zlib, "_GzipReader", None)  # not documented, but what all of isal's reading goes through
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
SHORTER = "the file became shorter while it was read"
READ_BYTES = 1024 * 1024
INFLATE_BYTES = READ_BYTES  # small enough to stay in a cache until it is parsed
SMALL_TEXT_BYTES = 4 << 20
PACKED = (GZIP_MAGIC, ZSTD_MAGIC, b"PAR1")
"""How content begins that is read otherwise where it is not compressed once more."""

ZSTD_WINDOW = 128 * 1024 * 1024
"""Largest zstd window that is accepted: memory per stream. `zstd` itself refuses more without --memory."""


class InputError(ValueError):
    """Something the user named cannot be used; the message says what, where and what to do."""


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """One file, object, or standard input ("-"), as the user sees it. `stored`: of objects, as they were listed."""

    name: str
    stored: StoredObject | None = field(default=None, compare=False)

    @property
    def is_stdin(self) -> bool:
        """Whether it is standard input."""
        return self.name == "-"

    @property
    def read_once(self) -> bool:
        """Whether it can be read only once, from its beginning on: standard input, and what a pipe brings."""
        if self.is_stdin or self.stored is not None:
            return self.is_stdin
        try:
            mode = os.stat(self.name).st_mode  # noqa: PTH116  (of many small files)
        except OSError:
            return False
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))

    @property
    def local_path(self) -> str:
        """Its path where it is a file of this machine, else ""."""
        return "" if self.is_stdin or self.stored is not None else self.name

    @property
    def size(self) -> int:
        """Bytes on disk or in the store; 0 for standard input."""
        if self.stored is not None:
            return self.stored.size
        return 0 if self.is_stdin else os.stat(self.name).st_size  # noqa: PTH116


class StreamDamage(Exception):
    """A compressed stream that ends early or is corrupt. What came before it has been delivered."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(f"{reason} (offset {offset} of the compressed file)")
        self.reason = reason
        self.offset = offset


def expand(names: Sequence[str], window: Window | None = None) -> tuple[list[Source], list[str]]:
    """Files behind paths, directories (recursively), globs, URLs and "-": sorted, each once; and notes.

    With a `window`, directories, prefixes, files and objects whose names say that they hold nothing of it are left out.
    Raises InputError for a name that leads nowhere.
    """
    window = window or Window()
    found: dict[str, str] = {}
    folders: dict[str, str] = {}
    stored: dict[str, StoredObject] = {}
    notes: list[str] = []
    for name in names:
        if name == "-":
            found.setdefault("-", "-")
            continue
        if is_url(name):
            objects, remarks = _objects(name, window)
            stored.update((wanted.url, wanted) for wanted in objects)
            notes += remarks
            continue
        files, outside = _files(name, window)
        if outside:
            notes.append(f"{name}: {outside} files and directories lie outside of the window by their names: not read")
        for file in files:
            real = _real_path(str(file), folders)
            if real in found and found[real] != str(file):
                first, second = sorted((found[real], str(file)))
                notes.append(f"{second} is the same file as {first}: read once")
                found[real] = first
            else:
                found.setdefault(real, str(file))
    sources = [Source(name) for name in found.values()] + [Source(url, wanted) for url, wanted in stored.items()]
    return sorted(sources), sorted(set(notes))


def _real_path(file: str, folders: dict[str, str]) -> str:
    """Its path without symbolic links; `folders` are those that are known."""
    if os.path.islink(file):  # noqa: PTH114  (of many small files)
        return os.path.realpath(file)
    folder, name = os.path.split(file)
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    return f"{folders[folder]}/{name}"


def _objects(url: str, window: Window) -> tuple[list[StoredObject], list[str]]:
    from analyzers.objects.listing import list_objects

    try:
        listing = list_objects(url, window)
    except ObjectStoreError as problem:
        raise InputError(str(problem)) from problem
    if not (listing.objects_outside or listing.prefixes_outside):
        return listing.objects, []
    return listing.objects, [
        f"{url}: outside of the window by their names: {listing.objects_outside} objects not read, "
        f"{listing.prefixes_outside} prefixes not listed"
    ]


def _files(name: str, window: Window) -> tuple[list[Path], int]:
    """(files, how many files and directories lie outside of the window). A file that is named itself is always in."""
    path = Path(name)
    if path.is_dir():
        return _below(path, window)
    if path.exists():
        return [path], 0
    files = sorted(Path(p) for p in glob.glob(name, recursive=True) if Path(p).is_file())  # noqa: PTH207  (absolute patterns)
    if not files:
        raise InputError(f"{name}: no such file, directory or pattern; name flow logs, captures, or - for stdin")
    kept = [file for file in files if window.may_hold(str(file.absolute()))]
    return kept, len(files) - len(kept)


def _below(folder: Path, window: Window) -> tuple[list[Path], int]:
    files: list[Path] = []
    outside = 0
    for place, folders, names in os.walk(folder):
        within = Path(place).absolute().as_posix()
        kept = [name for name in folders if window.may_hold(f"{within}/{name}/")]
        outside += len(folders) - len(kept)
        folders[:] = kept
        for name in names:
            if name.startswith("."):
                continue
            if window.may_hold(f"{within}/{name}"):
                files.append(Path(place) / name)
            else:
                outside += 1
    return sorted(file for file in files if file.is_file()), outside


def open_source(source: Source) -> BinaryIO:
    """The raw bytes; of a regular file, a FileIO. Raises InputError when it cannot be opened."""
    if source.is_stdin:
        return sys.stdin.buffer
    if source.stored is not None:
        from analyzers.objects.object_stream import ObjectStream

        return cast(BinaryIO, ObjectStream(source.stored))
    try:
        # a pipe brings little at a time, of which its format could not be told
        return Path(source.name).open("rb") if source.read_once else Path(source.name).open("rb", buffering=0)
    except OSError as problem:
        raise InputError(f"cannot be read: {problem.strerror or problem}") from problem


def open_small(source: Source) -> BinaryIO:
    """A small file from memory: the text of a compressed one, where that is small as well. Raises InputError."""
    try:
        with open(source.name, "rb", buffering=0) as file:  # noqa: PTH123  (of many)
            raw = file.read()
    except OSError as problem:
        raise InputError(f"cannot be read: {problem.strerror or problem}") from problem
    if not raw.startswith((GZIP_MAGIC, ZSTD_MAGIC)):
        return io.BytesIO(raw)
    pieces: list[bytes] = []
    with contextlib.suppress(StreamDamage):  # found again, and told, by who reads what is there
        for piece in inflate(io.BytesIO(), raw, SMALL_TEXT_BYTES):
            pieces.append(piece)
            if sum(map(len, pieces)) >= SMALL_TEXT_BYTES:
                break
        else:
            text = b"".join(pieces)
            if text and not text.startswith(PACKED):
                return io.BytesIO(text)
    return io.BytesIO(raw)


def inflate(stream: BinaryIO, first: bytes = b"", piece_bytes: int = INFLATE_BYTES) -> Iterator[bytes]:
    """Decompressed pieces of a gzip (any number of members) or zstd stream, or the bytes themselves.

    `first`: bytes already taken from `stream`; `piece_bytes`: the most that a piece of gzip has. Raises StreamDamage
    after the last good piece.
    """
    head = first or stream.read(READ_BYTES)
    if head.startswith(GZIP_MAGIC):
        yield from _gunzip(stream, head, piece_bytes)
    elif head.startswith(ZSTD_MAGIC):
        yield from _unzstd(stream, head)
    else:
        while head:
            yield head
            head = stream.read(READ_BYTES)


def inflate_into(stream: BinaryIO, first: bytes, free: Callable[[], memoryview]) -> Iterator[int]:
    """The bytes that `inflate` gives, put into the memory that `free` gives, which is not empty; how many each time."""
    given = 0
    if _GzipReader is not None and isinstance(stream, FileIO) and stream.read(len(GZIP_MAGIC)) == GZIP_MAGIC:
        stream.seek(0)
        reader = _GzipReader(stream, READ_BYTES)
        try:
            while count := reader.readinto(free()[:INFLATE_BYTES]):
                given += count
                yield count
            return
        except (EOFError, gzip.BadGzipFile, INFLATE_ERROR):
            pass  # what is the matter, and where, `inflate` tells; it also has what came before in the same piece
    if isinstance(stream, FileIO):
        stream.seek(0)
    for piece in inflate(stream, first):
        known = min(given, len(piece))
        given -= known
        yield from put_into(piece[known:], free)


def put_into(piece: bytes, free: Callable[[], memoryview]) -> Iterator[int]:
    """Put a piece into the memory that `free` gives, which is not empty; how many bytes each time."""
    at = 0
    while at < len(piece):
        room = free()
        count = min(len(piece) - at, len(room))
        room[:count] = piece[at : at + count]
        at += count
        yield count


def _gunzip(stream: BinaryIO, head: bytes, piece_bytes: int) -> Iterator[bytes]:
    offset = 0
    data = head
    while True:
        member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        while not member.eof:
            try:
                piece = member.decompress(data if member.needs_input else b"", piece_bytes)
            except INFLATE_ERROR as problem:
                raise StreamDamage(f"corrupt gzip data: {problem}", offset) from problem
            if piece:
                yield piece
            if member.needs_input and not member.eof:
                offset += len(data)
                data = stream.read(READ_BYTES)
                if not data:
                    raise StreamDamage("gzip member cut short", offset)
        rest = member.unused_data or b""
        while True:
            rest = rest.lstrip(b"\0")  # padding between members is legal, see gzip(1)
            if rest:
                break
            offset += len(data)
            data = rest = stream.read(READ_BYTES)
            if not rest:
                return
        if len(rest) < 2:
            rest += stream.read(READ_BYTES)
        if not rest.startswith(GZIP_MAGIC):
            raise StreamDamage("bytes after the gzip data that are no gzip member", offset)
        data = rest


def _unzstd(stream: BinaryIO, head: bytes) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
    frame = decompressor.decompressobj()
    begun = False  # whether the present frame holds any bytes yet
    offset = 0
    data = head
    while data:
        # zstd expands a block to at most 128 KiB, so small inputs keep the output small, whatever the ratio
        pending = [data[at : at + 4096] for at in range(0, len(data), 4096)][::-1]
        while pending:
            part = pending.pop()
            if frame.eof:
                frame = decompressor.decompressobj()
            try:
                piece = frame.decompress(part)
            except zstandard.ZstdError as problem:
                raise StreamDamage(f"corrupt zstd data: {problem}", offset) from problem
            begun = not frame.eof
            if frame.eof and frame.unused_data:
                pending.append(frame.unused_data)
            for start in range(0, len(piece), READ_BYTES):
                yield piece[start : start + READ_BYTES]
        offset += len(data)
        data = stream.read(READ_BYTES)
    if begun:
        raise StreamDamage("zstd frame cut short", offset)
