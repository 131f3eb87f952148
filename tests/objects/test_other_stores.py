"""The same reading through other schemes: Google's by an emulator, any other by what fsspec brings itself."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from analyzers.ingest.aggregate import IngestOptions, aggregate
from analyzers.ingest.sources import InputError
from analyzers.objects.key_layout import Window
from analyzers.objects.listing import list_objects
from analyzers.objects.object_store import forget_connections, store_of, wait_for
from analyzers.objects.object_stream import ObjectStream
from analyzers.objects.patience import ObjectChanged, ObjectGone
from tests.objects.flow_log_tree import moment, write_tree
from tests.objects.flow_rows import rows_of
from tests.objects.s3_server import free_ports


@pytest.fixture(params=["memory", "gs"])
def prefix(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A place to write to: a URL that ends in "/"."""
    if request.param == "memory":
        import fsspec

        fsspec.filesystem("memory").store.clear()
        forget_connections()
        yield "memory://logs/"
        return
    from gcp_storage_emulator.server import create_server

    (port,) = free_ports(1)
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket="logs")
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    forget_connections()
    yield "gs://logs/"
    server.stop()
    forget_connections()


def put(url: str, content: bytes, *, unless_there: bool = False) -> bool:
    """Write one object through the product's own store."""
    store = store_of(url)
    return wait_for(store, store.write(url, content, unless_there=unless_there))


def test_reads_like_files(tmp_path: Path, prefix: str) -> None:
    keys = write_tree(tmp_path, "2026-01-28T00:00", "2026-02-02T00:00", step_minutes=240)
    for key in keys:
        put(prefix + key, (tmp_path / key).read_bytes())
    options = IngestOptions(threads=2, window=Window(moment("2026-01-31"), moment("2026-02-01T12:00")))
    here, about = aggregate([str(tmp_path)], options)
    there, report = aggregate([prefix + "AWSLogs"], options)
    assert rows_of(there) == rows_of(here)
    assert report.records == about.records == 9 * 60
    listing = list_objects(prefix + "AWSLogs/", options.window)
    assert listing.prefixes_outside == 2 and len(listing.objects) == 10


def test_gone_and_replaced(prefix: str) -> None:
    for name in ("gone", "replaced"):
        put(prefix + name, b"the first version, of some length")
    gone, replaced = list_objects(prefix, Window()).objects
    store = store_of(prefix)
    wait_for(store, store.delete(gone.url))
    with pytest.raises(ObjectGone):
        ObjectStream(gone).read(10)
    put(replaced.url, b"the second version, of another length")
    if prefix.startswith("gs"):
        pytest.skip("the emulator ignores ifGenerationMatch on downloads")
    with pytest.raises(ObjectChanged):
        ObjectStream(replaced).read(10)


def test_writes_only_what_is_new(prefix: str) -> None:
    url = prefix + "commits/1"
    assert put(url, b"one", unless_there=True)
    if prefix.startswith("gs"):
        pytest.skip("the emulator ignores ifGenerationMatch on uploads")
    assert not put(url, b"two", unless_there=True)
    (found,) = list_objects(url, Window()).objects
    assert ObjectStream(found).read(10) == b"one"


@pytest.mark.parametrize(
    ("scheme", "library", "extra"), [("s3", "s3fs", "s3"), ("gs", "gcsfs", "gcs"), ("az", "adlfs", "azure")]
)
def test_a_missing_library_is_named_with_its_extra(
    scheme: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert importlib.util.find_spec(library) is not None
    monkeypatch.setitem(sys.modules, library, None)
    forget_connections()
    with pytest.raises(InputError, match=rf"needs {library} .* pip install 'flowctl-microseg\[{extra}\]'"):
        aggregate([f"{scheme}://bucket/logs/"])


def test_an_unknown_scheme() -> None:
    with pytest.raises(InputError, match="nonsense"):
        aggregate(["nonsense://bucket/logs/"])
