"""The S3 server of tests.objects, for stores that Spark writes."""

from tests.objects.conftest import bucket, proxy, server

__all__ = ["bucket", "proxy", "server"]
