"""gzip files inflated into memory that is there already give what `inflate` gives: the same bytes, the same damage."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from analyzers.ingest.sources import StreamDamage, inflate, inflate_into

Outcome = tuple[bytes, str, int]


def pieces_of(path: Path) -> Outcome:
    found = bytearray()
    with path.open("rb", buffering=0) as stream:
        try:
            for piece in inflate(stream):
                found += piece
        except StreamDamage as damage:
            return bytes(found), damage.reason, damage.offset
    return bytes(found), "", 0


def put_of(path: Path, room: int) -> Outcome:
    found = bytearray()
    memory = bytearray(room)
    with path.open("rb", buffering=0) as stream:
        try:
            for count in inflate_into(stream, b"", lambda: memoryview(memory)):
                found += memory[:count]
        except StreamDamage as damage:
            return bytes(found), damage.reason, damage.offset
    return bytes(found), "", 0


def text(chance: np.random.Generator, size: int) -> bytes:
    return b" ".join(b"%d" % number for number in chance.integers(0, 1 << 20, size))


def files(chance: np.random.Generator) -> dict[str, bytes]:
    """Files of one member and of three with padding between, whole and damaged in the ways that happen."""
    one = gzip.compress(text(chance, 60_000), 6)
    several = b"".join(gzip.compress(text(chance, 20_000), 1) + bytes(17) for _ in range(3))
    found = {"plain": text(chance, 1000), "nothing in it": gzip.compress(b""), "two bytes": one[:2]}
    for name, whole in (("one", one), ("several", several)):
        found[name] = whole
        found[f"{name}, junk behind"] = whole + b"junk"
        for at in chance.integers(3, len(whole), 12).tolist():
            found[f"{name}, cut at {at}"] = whole[:at]
            flipped = bytearray(whole)
            flipped[at] ^= 1 << int(chance.integers(8))
            found[f"{name}, flipped at {at}"] = bytes(flipped)
    return found


FILES = files(np.random.default_rng(7))


@pytest.mark.parametrize("name", FILES)
def test_the_same_bytes_and_the_same_damage(name: str, tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    path.write_bytes(FILES[name])
    expected, reason, offset = pieces_of(path)
    for room in (4096, 1 << 20):
        found = put_of(path, room)
        assert found[1:] == (reason, offset)
        # a sum that is wrong is found out with the last piece, which is there already
        assert found[0] == expected if not reason else found[0].startswith(expected)


def test_bytes_taken_before_are_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"0123456789")
    with path.open("rb") as stream:  # buffered, as standard input is
        first = stream.read(4)
        memory = bytearray(3)
        found = b"".join(bytes(memory[:count]) for count in inflate_into(stream, first, lambda: memoryview(memory)))
    assert found == b"0123456789"
