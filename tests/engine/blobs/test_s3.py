"""Blobs in S3, over HTTP: a server that speaks the protocol runs in this process."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from stagegraph.blobs import Blobs, open_blobs
from stagegraph.errors import ContinuationError, StoreError

pytest.importorskip("s3fs")
server = pytest.importorskip("moto.server")
pytest.importorskip("flask_cors")


@pytest.fixture(scope="module")
def options() -> Iterator[dict[str, Any]]:
    """Options for fsspec, to reach the server."""
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield {"key": "test", "secret": "test", "endpoint_url": f"http://{host}:{port}"}
    running.stop()


@pytest.fixture
def blobs(options: dict[str, Any]) -> Blobs:
    """Blobs in a bucket of their own."""
    import s3fs

    bucket = f"bucket-{uuid.uuid4().hex}"
    s3fs.S3FileSystem(**options).mkdir(bucket)
    return open_blobs(f"s3://{bucket}/blobs", options)


def test_blobs_are_put_got_and_dropped_over_http(blobs: Blobs, options: dict[str, Any]) -> None:
    """And are there for another process that opens the same URL."""
    store = blobs.for_owner("a")
    large = bytes(range(256)) * 4096
    ids = [store.put(large, "image/png"), store.put(b"", "image/png")]
    again = open_blobs(blobs.shelf._url, options).for_owner("a")  # type: ignore[attr-defined]
    assert [again.get(blob_id) for blob_id in ids] == [large, b""]
    assert again.put(large, "image/png") == ids[0]
    assert len(again) == len(store) == 2
    with pytest.raises(ContinuationError, match="there is no blob"):
        blobs.for_owner("b").get(ids[0])
    again.drop(ids[0])
    assert ids[0] not in store
    assert store.end() == 1


def test_blobs_in_s3_expire(blobs: Blobs) -> None:
    """Their heads are read, not the whole of them."""
    now = [0.0]
    later = Blobs(blobs.shelf, ttl=10, clock=lambda: now[0])
    store = later.for_owner("a")
    blob_id = store.put(b"x" * 100_000)
    assert later.expire() == 0
    now[0] = 11.0
    assert blob_id not in store
    assert later.expire() == 1
    assert len(store) == 0


def test_many_who_begin_at_once_agree_on_the_key(options: dict[str, Any]) -> None:
    """One of them makes it, the others read it: all of them give the same ids."""
    import s3fs

    bucket = f"bucket-{uuid.uuid4().hex}"
    s3fs.S3FileSystem(**options).mkdir(bucket)

    def begin(number: int) -> str:
        fresh = {
            **options,
            "client_kwargs": {"region_name": "us-east-1"},
            "config_kwargs": {"retries": {"max_attempts": number + 1}},
        }
        return open_blobs(f"s3://{bucket}", fresh).for_owner("a").put(b"x")

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(begin, range(8)))) == 1


def test_a_bucket_that_is_not_there_is_told(options: dict[str, Any]) -> None:
    """As an error of the store, with the URL."""
    with pytest.raises(StoreError) as caught:
        open_blobs("s3://no-such-bucket/blobs", options)
    assert caught.value.faults[0].where == "s3://no-such-bucket/blobs"
