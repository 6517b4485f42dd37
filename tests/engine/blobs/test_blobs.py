"""Blobs belong to their owner, are what was put, and go when their time is over; on every shelf alike."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stagegraph.blobs import Blobs, FolderShelf, MemoryShelf, Shelf, open_blobs
from stagegraph.blobs.remote import RemoteShelf
from stagegraph.errors import ContinuationError, MissingError, StoreError

Open = Callable[..., Blobs]


@pytest.fixture(params=["memory", "folder", "fsspec"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Shelf:
    """An empty shelf of each kind."""
    kinds: dict[str, Callable[[], Shelf]] = {
        "memory": MemoryShelf,
        "folder": lambda: FolderShelf(tmp_path / "blobs"),
        "fsspec": lambda: RemoteShelf(f"memory://{uuid.uuid4().hex}"),
    }
    return kinds[request.param]()


def told(function: Callable[..., Any], *arguments: Any) -> str:
    with pytest.raises(ContinuationError) as caught:
        function(*arguments)
    return str(caught.value)


def test_what_is_put_is_got_until_it_is_dropped(shelf: Shelf) -> None:
    """Any bytes, none included; under ids of 32 hex digits."""
    store = Blobs(shelf).for_owner("a")
    for data in (b"", b"x", os.urandom(100_000), bytearray(b"y"), memoryview(b"zz")):
        blob_id = store.put(data, "image/png")
        assert len(blob_id) == 32
        assert int(blob_id, 16) >= 0
        assert blob_id == blob_id.lower()
        assert blob_id in store
        assert store.get(blob_id) == bytes(data)
        store.drop(blob_id)
        assert blob_id not in store
        store.drop(blob_id)


def test_the_same_bytes_get_the_same_id(shelf: Shelf) -> None:
    """So that encoding a state again leaves nothing behind; another type, owner or shelf has another."""
    blobs = Blobs(shelf)
    store = blobs.for_owner("a")
    blob_id = store.put(b"x", "image/png")
    assert store.put(b"x", "image/png") == Blobs(shelf).for_owner("a").put(b"x", "image/png") == blob_id
    assert len(store) == 1
    others = {
        store.put(b"x"),
        blobs.for_owner("b").put(b"x", "image/png"),
        Blobs(MemoryShelf()).for_owner("a").put(b"x"),
    }
    assert len(others | {blob_id}) == 4


def test_a_foreign_blob_looks_like_one_that_never_was(shelf: Shelf) -> None:
    """The same code and the same text but for the id; it cannot be dropped either."""
    blobs = Blobs(shelf)
    owner, other = blobs.for_owner("a"), blobs.for_owner("b")
    other.put(b"own")
    blob_id, never = owner.put(b"x"), "0" * 32
    assert told(other.get, blob_id).replace(blob_id, never) == told(other.get, never)
    assert told(other.get, never).startswith("error[unknown_blob]: there is no blob 0000")
    assert blob_id not in other
    other.drop(blob_id)
    other.retain([])
    assert owner.get(blob_id) == b"x"


def test_a_foreign_blob_takes_as_long_as_one_that_never_was(tmp_path: Path) -> None:
    """The same look-up in the owner's own folder; the middle times of alternating pairs are close."""
    blobs = open_blobs(tmp_path)
    other = blobs.for_owner("b")
    other.put(b"own")
    foreign = blobs.for_owner("a").put(os.urandom(200_000))
    seconds: dict[str, list[float]] = {foreign: [], "0" * 32: []}
    for _ in range(400):
        for blob_id, spent in seconds.items():
            start = time.thread_time_ns()
            told(other.get, blob_id)
            spent.append(time.thread_time_ns() - start)
    one, two = map(statistics.median, seconds.values())
    assert abs(one - two) / max(one, two) < 0.25  # a read of the foreign blob would take several times as long


@pytest.mark.parametrize("blob_id", ["../x", "", "a" * 31, "A" * 32, f"{'a' * 32}\n", "０" * 32, 7, None, ["a" * 32]])
def test_ids_are_looked_at_before_the_shelf_is(blob_id: Any) -> None:
    """Nothing of another shape becomes a path."""
    store = Blobs(MemoryShelf()).for_owner("a")
    store.blobs.shelf = None  # type: ignore[assignment]
    assert told(store.get, blob_id).startswith("error[invalid_value]")
    assert blob_id not in store
    store.drop(blob_id)


def test_blobs_outlive_their_time_only_until_they_are_looked_for(shelf: Shelf) -> None:
    """An expired one is as if it had never been; putting it again gives it a new lease; `expire` frees the space."""
    now = [1000.0]
    blobs = Blobs(shelf, ttl=100, clock=lambda: now[0])
    store = blobs.for_owner("a")
    one, two = store.put(b"one"), store.put(b"two")
    now[0] = 1060.0
    assert store.put(b"two") == two
    now[0] = 1120.0
    assert one not in store
    assert told(store.get, one).startswith("error[unknown_blob]")
    assert store.get(two) == b"two"
    assert len(store) == 2
    assert blobs.expire() == 1
    assert len(store) == 1
    now[0] = 1200.0
    assert blobs.expire() == 1
    assert shelf.folders() == ["key"]


def test_a_session_keeps_what_its_state_needs(shelf: Shelf) -> None:
    """Replacing a state, and ending the session, free the rest; others' blobs stay."""
    blobs = Blobs(shelf)
    store, other = blobs.for_owner("a"), blobs.for_owner("b")
    foreign = other.put(b"foreign")
    for number in range(50):
        current = store.put(b"%d" % number)
        store.retain([current])
        assert len(store) == 1
    assert store.get(current) == b"49"
    assert store.end() == 1
    assert len(store) == 0
    assert other.get(foreign) == b"foreign"


def test_sizes_are_limited(shelf: Shelf) -> None:
    """Of one blob and of all of one owner; put again, a blob does not count twice."""
    store = Blobs(shelf, max_blob=100, max_owner=400).for_owner("a")
    assert "a blob has 101 bytes" in told(store.put, bytes(101))
    kept = [store.put(bytes([number]) * 100) for number in range(3)]
    assert "a blob of 100 bytes does not fit" in told(store.put, b"x" * 100)
    assert store.put(bytes(100)) == kept[0]
    store.drop(kept[1])
    store.put(b"x" * 100)


@pytest.mark.parametrize("mime", ["", "a b", "é/x", "a" * 128, "a\n", None])
def test_types_are_short_words(mime: Any) -> None:
    """They stand in the record."""
    assert "is no MIME type" in told(Blobs(MemoryShelf()).for_owner("a").put, b"", mime)


@pytest.mark.parametrize("damage", ["flip", "cut", "more", "empty", "swap", "type", "garbage"])
def test_damage_is_found_when_a_blob_is_read(shelf: Shelf, damage: str) -> None:
    """Never are other bytes given than were put."""
    store = Blobs(shelf).for_owner("a")
    blob_id, other = store.put(b"x" * 1000, "image/png"), store.put(b"y" * 1000, "image/png")
    record = shelf.read(store.folder, blob_id, 10_000)
    swapped = shelf.read(store.folder, other, 10_000)
    assert record
    assert swapped
    damaged = {
        "flip": record[:-1] + bytes([record[-1] ^ 1]),
        "cut": record[:-1],
        "more": record + b"x",
        "empty": b"\0",
        "swap": swapped,
        "type": record.replace(b"image/png", b"image/gif"),
        "garbage": os.urandom(200),
    }
    shelf.write(store.folder, blob_id, [damaged[damage]])
    assert told(store.get, blob_id).startswith(f"error[bad_blob]: the blob {blob_id} is not what was put")
    assert store.put(b"x" * 1000, "image/png") == blob_id
    assert store.get(blob_id) == b"x" * 1000


def test_a_record_that_grew_is_not_read_to_its_end(tmp_path: Path) -> None:
    """No more than a blob may have is taken into memory, whatever is there."""
    blobs = open_blobs(tmp_path, max_blob=1000)
    store = blobs.for_owner("a")
    blob_id = store.put(b"x")
    path = tmp_path / store.folder / blob_id
    os.truncate(path, 2**40)
    assert told(store.get, blob_id).startswith("error[bad_blob]")


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_is_no_file_is_not_followed_or_waited_for(tmp_path: Path, kind: str) -> None:
    """A link that somebody planted leads nowhere."""
    blobs = open_blobs(tmp_path / "blobs")
    store = blobs.for_owner("a")
    blob_id = store.put(b"x")
    path = tmp_path / "blobs" / store.folder / blob_id
    path.unlink()
    secret = tmp_path / "secret"
    secret.write_text("secret")
    {"link": lambda: path.symlink_to(secret), "fifo": lambda: os.mkfifo(path), "folder": path.mkdir}[kind]()
    with pytest.raises((ContinuationError, StoreError)):
        store.get(blob_id)


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    """As an error of the store, with its place."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError) as caught:
        open_blobs(tmp_path / "file")
    assert caught.value.code == "store_failed"
    assert caught.value.faults[0].where == str(tmp_path / "file")


def test_a_key_that_is_damaged_is_told(shelf: Shelf) -> None:
    """Without it no blob can be known for what it is."""
    shelf.write("key", "key", [b"short"])
    with pytest.raises(StoreError, match="the key of the blobs has 5 bytes, not 32"):
        Blobs(shelf)


def test_places_have_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory, a folder, a URL; and what to install where a library is missing."""
    assert isinstance(open_blobs("memory:").shelf, MemoryShelf)
    assert isinstance(open_blobs(tmp_path).shelf, FolderShelf)
    assert isinstance(open_blobs(f"file://{tmp_path}").shelf, FolderShelf)
    assert isinstance(open_blobs("memory://blobs").shelf, RemoteShelf)
    with pytest.raises(StoreError, match="Protocol not known"):
        open_blobs("nowhere://blobs")
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(MissingError) as caught:
        open_blobs("gs://bucket")
    assert caught.value.faults[0].fix == 'pip install "stagegraph[blobs]"'


def _work(root: str, number: int, rounds: int) -> None:
    blobs = open_blobs(root)
    shared, own = blobs.for_owner("shared"), blobs.for_owner(f"own-{number}")
    for turn in range(rounds):
        blob_id = shared.put(b"the same" * 1000)
        try:
            assert shared.get(blob_id) == b"the same" * 1000
        except ContinuationError as error:  # another process has just dropped it
            assert error.code == "unknown_blob"  # noqa: PT017
        mine = own.put(b"%d %d" % (number, turn))
        own.retain([mine])
        assert own.get(mine) == b"%d %d" % (number, turn)
        if turn % 3 == number % 3:
            shared.drop(blob_id)
        blobs.expire()
    own.end()


def test_processes_share_a_folder(tmp_path: Path) -> None:
    """Four of them put, get, drop and expire the same and other blobs; nothing is torn, nothing is left."""
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_work, args=(str(tmp_path), number, 40)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    open_blobs(tmp_path).for_owner("shared").end()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "key" / "key"]
