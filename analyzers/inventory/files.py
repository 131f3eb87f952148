"""The files an inventory is given as: which they are, and their text, unpacked within bounds."""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import zstandard
from isal import isal_zlib

from analyzers.inventory.fields import clean
from analyzers.inventory.safe_yaml import MAX_BYTES

_CHUNK = 1 << 20
_ISAL_ERROR = cast(type[Exception], isal_zlib.error)


class InventoryError(ValueError):
    """The inventory cannot be read as asked: a path that does not exist."""


class _Stream(Protocol):
    def read1(self, size: int, /) -> bytes:
        """Some bytes, b"" at the end: what can be had without waiting for `size` of them, so that damage loses less."""


@dataclass(frozen=True, slots=True, order=True)
class InventoryFile:
    """One file to read. `network` "" and not `forced`: what lives in it says where itself."""

    network: str
    path: Path
    forced: bool = False


def find_files(paths: Sequence[str | Path], network: str = "") -> tuple[list[InventoryFile], list[tuple[str, str]]]:
    """All files of `paths`, each once, sorted, and (path, reason) of what was passed over.

    A text `NETWORK=path` puts everything in it into that network; a path that exists as it stands is taken as it
    stands. Directories are walked; links to directories are not followed. Raises InventoryError.
    """
    found: dict[tuple[str, bool, str], InventoryFile] = {}
    passed: list[tuple[str, str]] = []
    for given in paths:
        named, path = _split(given)
        forced = bool(named)
        for file in sorted(_walk(path, passed)):
            key = (named or network, forced, os.path.realpath(file))
            candidate = InventoryFile(named or network, file, forced)
            found[key] = min(candidate, found.get(key, candidate))  # the same file by two names: the smaller one
    return sorted(found.values()), sorted(set(passed))


def _split(given: str | Path) -> tuple[str, Path]:
    """(network, existing path) of an argument."""
    path = Path(given)
    if _exists(path):
        return "", path
    if isinstance(given, str) and "=" in given:
        named, _, rest = given.partition("=")
        if named and rest and _exists(Path(rest)):
            return clean(named), Path(rest)
    raise InventoryError(
        f"inventory {str(given)!r} does not exist; give a file or a directory, or NETWORK=path to name its network"
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long, or with a NUL
        return False


def _walk(path: Path, passed: list[tuple[str, str]]) -> list[Path]:
    if not path.is_dir():
        return [path]
    files: list[Path] = []
    unreadable: list[OSError] = []
    hidden = 0
    for folder, directories, names in os.walk(path, onerror=unreadable.append):
        shown = sorted(d for d in directories if not d.startswith("."))
        hidden += len(directories) - len(shown)
        directories[:] = shown
        for name in names:
            if name.startswith("."):
                hidden += 1
            elif Path(folder, name).is_file():
                files.append(Path(folder, name))
            else:
                passed.append((str(Path(folder, name)), "neither a file nor a directory"))
    passed.extend((str(e.filename), f"cannot be read: {e.strerror}") for e in unreadable)
    if hidden:
        passed.append((str(path), f"{hidden} hidden files or directories were not read; name them to have them read"))
    if not files:
        passed.append((str(path), "no files in this directory"))
    return files


def read_file(path: Path) -> tuple[bytes, str]:
    """The content, unpacked when it is gzip or zstd, and what is wrong with it ("" for nothing).

    Of a damaged archive, what could be unpacked is returned as well. Never more than MAX_BYTES.
    """
    try:
        with path.open("rb") as raw:
            magic = raw.read(4)
            raw.seek(0)
            if magic[:2] == b"\x1f\x8b":
                return _bounded(_Frames(raw, _gzip_member, feed=16384, padding=b"\0"), "gzip")
            if magic == b"\x28\xb5\x2f\xfd":
                return _bounded(_Frames(raw, _zstd_frame, feed=1024), "zstd")
            return _bounded(raw, "file")
    except OSError as error:
        return b"", f"cannot be read: {error.strerror or error}"


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def _gzip_member() -> _Decompressor:
    return cast(_Decompressor, isal_zlib.decompressobj(wbits=31))


def _zstd_frame() -> _Decompressor:
    return cast(_Decompressor, zstandard.ZstdDecompressor().decompressobj())


class _Frames:
    """Members of a gzip file or frames of a zstd file, one after another; a cut one is told from the end of the file.

    Feeds little at a time, for the library gives out all that the fed bytes stand for at once.
    """

    def __init__(
        self, raw: _Stream, decompressor: Callable[[], _Decompressor], feed: int, padding: bytes = b""
    ) -> None:
        self._raw = raw
        self._new = decompressor
        self._feed = feed
        self._padding = padding  # what may follow the last member
        self._frame = decompressor()
        self._ahead = b""
        self._inside = False

    def read1(self, size: int, /) -> bytes:
        while packed := self._ahead or self._raw.read1(min(size, self._feed)):
            self._ahead = b""
            if not self._inside and not (packed := packed.lstrip(self._padding) if self._padding else packed):
                continue
            content = self._frame.decompress(packed)
            self._inside = not self._frame.eof
            if self._frame.eof:
                self._ahead = self._frame.unused_data
                self._frame = self._new()
            if content:
                return content
        if self._inside:
            raise EOFError("its last part is not complete")
        return b""


def _bounded(stream: _Stream, kind: str) -> tuple[bytes, str]:
    content = io.BytesIO()
    try:
        while chunk := stream.read1(_CHUNK):
            content.write(chunk)
            if content.tell() > MAX_BYTES:
                return b"", f"more than {MAX_BYTES} bytes; split it into several files"
    except (OSError, EOFError, ValueError, zlib.error, _ISAL_ERROR, zstandard.ZstdError) as error:
        return content.getvalue(), f"damaged {kind} after {content.tell()} unpacked bytes: {clean(str(error))}"
    return content.getvalue(), ""
