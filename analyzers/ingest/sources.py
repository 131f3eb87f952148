"""What the user named, as a sorted list of things to read, and byte streams out of them."""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import zstandard
from isal import igzip_lib

INFLATE_ERROR = cast(type[Exception], igzip_lib.IsalError)  # its type stub says that it is an instance
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
READ_BYTES = 1024 * 1024
INFLATE_BYTES = 128 * 1024  # small enough to stay in the cache until it is parsed
ZSTD_WINDOW = 128 * 1024 * 1024
"""Largest zstd window that is accepted: memory per stream. `zstd` itself refuses more without --memory."""


class InputError(ValueError):
    """Something the user named cannot be used; the message says what, where and what to do."""


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """One file, or standard input ("-"), as the user sees it."""

    name: str

    @property
    def is_stdin(self) -> bool:
        """Whether it is read from standard input, once and without seeking."""
        return self.name == "-"

    @property
    def local_path(self) -> str:
        """Its path where it is a file of this machine, else ""."""
        return "" if self.is_stdin else self.name

    @property
    def size(self) -> int:
        """Bytes on disk; 0 for standard input."""
        return 0 if self.is_stdin else Path(self.name).stat().st_size


class StreamDamage(Exception):
    """A compressed stream that ends early or is corrupt. What came before it has been delivered."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(f"{reason} (offset {offset} of the compressed file)")
        self.reason = reason
        self.offset = offset


def expand(names: Sequence[str]) -> tuple[list[Source], list[str]]:
    """Files behind paths, directories (recursively), globs and "-": sorted, each file once; and notes on repeats.

    Raises InputError for a name that leads to no file.
    """
    found: dict[str, str] = {}
    notes: list[str] = []
    for name in names:
        if name == "-":
            found.setdefault("-", "-")
            continue
        path = Path(name)
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
        elif path.exists():
            files = [path]
        else:
            files = sorted(Path(p) for p in glob.glob(name, recursive=True) if Path(p).is_file())  # noqa: PTH207  (absolute patterns)
            if not files:
                raise InputError(
                    f"{name}: no such file, directory or pattern; name flow logs, captures, or - for stdin"
                )
        for file in files:
            real = str(file.resolve())
            if real in found and found[real] != str(file):
                first, second = sorted((found[real], str(file)))
                notes.append(f"{second} is the same file as {first}: read once")
                found[real] = first
            else:
                found.setdefault(real, str(file))
    return sorted(Source(name) for name in found.values()), sorted(set(notes))


def open_source(source: Source) -> BinaryIO:
    """The raw bytes. Raises InputError when it cannot be opened."""
    if source.is_stdin:
        return sys.stdin.buffer
    try:
        return Path(source.name).open("rb", buffering=0)
    except OSError as problem:
        raise InputError(f"{source.name}: {problem.strerror or problem}") from problem


def inflate(stream: BinaryIO, first: bytes = b"") -> Iterator[bytes]:
    """Decompressed pieces of a gzip (any number of members) or zstd stream, or the bytes themselves.

    `first`: bytes already taken from `stream`. Raises StreamDamage after the last good piece.
    """
    head = first or stream.read(READ_BYTES)
    if head.startswith(GZIP_MAGIC):
        yield from _gunzip(stream, head)
    elif head.startswith(ZSTD_MAGIC):
        yield from _unzstd(stream, head)
    else:
        while head:
            yield head
            head = stream.read(READ_BYTES)


def _gunzip(stream: BinaryIO, head: bytes) -> Iterator[bytes]:
    offset = 0
    data = head
    while True:
        member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        while not member.eof:
            try:
                piece = member.decompress(data if member.needs_input else b"", INFLATE_BYTES)
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
