"""One S3 server for all tests of this folder, a fault proxy and a fresh bucket for each of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from analyzers.objects import patience
from analyzers.objects.object_store import forget_connections
from tests.objects.fault_proxy import FaultProxy, fault_proxy
from tests.objects.s3_server import point_clients_at, s3_server

_numbers = count()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The S3 server's own port."""
    with s3_server(tmp_path_factory.mktemp("s3")) as port:
        yield port


@pytest.fixture
def proxy(server: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A proxy that AWS clients of this process talk to; waits between attempts are short."""
    before = dict(os.environ)
    monkeypatch.setattr(patience, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(patience, "LONGEST_WAIT", 0.1)
    with fault_proxy(server) as between:
        point_clients_at(between.port)
        yield between
    os.environ.clear()
    os.environ.update(before)
    forget_connections()


class Bucket:
    """A bucket of the real server, written to past the proxy."""

    def __init__(self, port: int) -> None:
        import botocore.session

        from tests.objects.s3_server import KEY, SECRET

        self.name = f"flow-logs-{next(_numbers)}"
        self.url = f"s3://{self.name}"
        self._client = botocore.session.get_session().create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=f"http://127.0.0.1:{port}",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
        )
        self._client.create_bucket(Bucket=self.name)

    def put(self, key: str, content: bytes) -> None:
        """Write one object."""
        self._client.put_object(Bucket=self.name, Key=key, Body=content)

    def delete(self, key: str) -> None:
        """Remove one object."""
        self._client.delete_object(Bucket=self.name, Key=key)

    def upload(self, folder: Path) -> None:
        """Every file below a directory, under its relative path."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(path.relative_to(folder).as_posix(), path.read_bytes())


@pytest.fixture
def bucket(server: int) -> Bucket:
    """An empty bucket."""
    return Bucket(server)
