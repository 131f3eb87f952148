"""Files that hold flow logs, but not as they can be read: the refusal says what they are and what to do."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ingest.test_text_kernel import generated, read


def zipped(text: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("a.log", text)
    return made.getvalue()


@pytest.mark.parametrize(
    ("wrap", "told"),
    [
        (lambda text: gzip.compress(gzip.compress(text)), "compressed twice: gzip"),
        (bz2.compress, "bzip2 data"),
        (lzma.compress, "xz data"),
        (zipped, "a zip archive"),
        (lambda text: text.decode().encode("utf-16"), "UTF-16 text"),
    ],
)
def test_the_refusal_says_what_to_do(tmp_path: Path, wrap: Callable[[bytes], bytes], told: str) -> None:
    (tmp_path / "a.log").write_bytes(wrap(generated(5).encode()))
    (tmp_path / "b.log").write_text(generated(5))
    flows, report = read(tmp_path)
    assert report.records == 5 and len(flows)
    (skip,) = report.skips
    assert skip.reason.startswith(told) and any(word in skip.reason for word in ("compress", "unpack", "convert"))
