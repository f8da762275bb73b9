"""Stand-ins for the services behind s3:// and gs://, in this process."""

import contextlib
import logging
from collections.abc import Iterator

import pytest

NAME = "runs-here"  # as `bucket_server` has it


@contextlib.contextmanager
def s3(monkeypatch: pytest.MonkeyPatch, bucket: str = NAME) -> Iterator[object]:
    """A file system of fsspec with one bucket; what the test starts and opens reaches it too."""
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    server_module = pytest.importorskip("moto.server", reason="moto's server is not installed")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = server_module.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    import s3fs

    files = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
    files.mkdir(bucket)
    try:
        yield files
    finally:
        server.stop()


@contextlib.contextmanager
def gs(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Likewise for gs://."""
    import bucket_server

    from arm_jax.system import buckets

    with bucket_server.running() as bucket:
        for name, value in bucket_server.environment(bucket).items():
            monkeypatch.setenv(name, value)
        buckets.filesystem.cache_clear()
        files = buckets.filesystem()
        files.bucket = bucket
        try:
            yield files
        finally:
            buckets.filesystem.cache_clear()
            type(files).clear_instance_cache()
