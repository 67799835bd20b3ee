"""A real S3 server on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

#: The secret key with which the server is used.
SECRET = "a-very-secret-key"


@contextmanager
def s3_server() -> Iterator[str]:
    """Run a server for the body; yield its URL."""
    moto = pytest.importorskip("moto.server")
    running = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        running.stop()


@contextmanager
def s3_bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Yield the system of a server, with the empty bucket `events`; the environment has what is needed for access."""
    pytest.importorskip("s3fs")
    fsspec: Any = pytest.importorskip("fsspec")
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    system = fsspec.filesystem("s3", use_listings_cache=False)
    if system.exists("events"):
        system.rm("events", recursive=True)
    system.mkdir("events")
    yield system
    fsspec.get_filesystem_class("s3").clear_instance_cache()
