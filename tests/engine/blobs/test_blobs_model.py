"""Blobs against a model: any order of puts, gets, drops, damages and passing time, from two sides of every shelf."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from stagegraph.blobs import Blobs, FolderShelf, MemoryShelf, Shelf
from stagegraph.blobs.remote import RemoteShelf
from stagegraph.errors import ContinuationError

OWNERS = st.sampled_from(["a", "b", ""])
DATA = st.sampled_from([b"", b"x", b"y" * 300, b"z" * 70_000])
MIMES = st.sampled_from(["image/png", "application/octet-stream"])
SIDES = st.integers(0, 1)
TTL = 100


def machine(make: Callable[[Path], list[Shelf]]) -> type[RuleBasedStateMachine]:
    """A machine over a shelf that is opened twice."""

    class Machine(RuleBasedStateMachine):
        """`wanted`: (owner, id) -> content, and when it expires; `damaged`: those whose record was changed."""

        def __init__(self) -> None:
            super().__init__()
            self.folder = Path(tempfile.mkdtemp())
            self.now = 1e9
            self.sides = [Blobs(shelf, ttl=TTL, clock=lambda: self.now) for shelf in make(self.folder)]
            self.wanted: dict[tuple[str, str], tuple[bytes, float]] = {}
            self.ids: dict[tuple[str, str, bytes], str] = {}
            self.damaged: set[tuple[str, str]] = set()

        def teardown(self) -> None:
            shutil.rmtree(self.folder)

        @rule(side=SIDES, owner=OWNERS, data=DATA, mime=MIMES)
        def put(self, side: int, owner: str, data: bytes, mime: str) -> None:
            blob_id = self.sides[side].for_owner(owner).put(data, mime)
            assert self.ids.setdefault((owner, mime, data), blob_id) == blob_id
            self.wanted[owner, blob_id] = (data, self.now + TTL)
            self.damaged.discard((owner, blob_id))

        @rule(side=SIDES, owner=OWNERS, which=st.integers(0, 30))
        def get(self, side: int, owner: str, which: int) -> None:
            ids = [*self.ids.values(), "0" * 32]
            blob_id = ids[which % len(ids)]
            store = self.sides[side].for_owner(owner)
            data, expires = self.wanted.get((owner, blob_id), (b"", 0.0))
            lives = self.now < int(expires)
            try:
                found = store.get(blob_id)
            except ContinuationError as error:
                damaged = (owner, blob_id) in self.damaged and lives
                assert error.code == ("bad_blob" if damaged else "unknown_blob")  # noqa: PT017
                assert damaged or not lives
            else:
                assert found == data
                assert lives
                assert blob_id in store

        @rule(side=SIDES, owner=OWNERS, which=st.integers(0, 30))
        def drop(self, side: int, owner: str, which: int) -> None:
            ids = [*self.ids.values(), "0" * 32]
            self.sides[side].for_owner(owner).drop(ids[which % len(ids)])
            self.forget(owner, ids[which % len(ids)])

        @rule(side=SIDES, owner=OWNERS, keep=st.booleans())
        def retain(self, side: int, owner: str, keep: bool) -> None:
            of_owner = [blob_id for name, blob_id in self.wanted if name == owner]
            kept = of_owner[:1] if keep else []
            gone = self.sides[side].for_owner(owner).retain(kept)
            assert gone == len(of_owner) - len(kept)
            for blob_id in of_owner[len(kept) :]:
                self.forget(owner, blob_id)

        @rule(seconds=st.sampled_from([1.0, 60.0, 101.0]))
        def wait(self, seconds: float) -> None:
            self.now += seconds

        @rule(side=SIDES)
        def expire(self, side: int) -> None:
            over = [key for key, (_, expires) in self.wanted.items() if self.now >= int(expires)]
            assert self.sides[side].expire() == len(over)
            for key in over:
                self.forget(*key)

        @rule(side=SIDES, which=st.integers(0, 30), at=st.integers(30, 400))
        def damage(self, side: int, which: int, at: int) -> None:
            if self.wanted:
                owner, blob_id = list(self.wanted)[which % len(self.wanted)]
                store = self.sides[side].for_owner(owner)
                record = bytearray(store.blobs.shelf.read(store.folder, blob_id, 10**6) or b"")
                record[17 + at % (len(record) - 17)] ^= 1  # behind the head, whose time only shortens a life
                store.blobs.shelf.write(store.folder, blob_id, [bytes(record)])
                if (owner, blob_id) in self.damaged:  # changed back, perhaps
                    store.drop(blob_id)
                    self.forget(owner, blob_id)
                else:
                    self.damaged.add((owner, blob_id))

        def forget(self, owner: str, blob_id: str) -> None:
            self.wanted.pop((owner, blob_id), None)
            self.damaged.discard((owner, blob_id))

        @invariant()
        def both_sides_count_the_same(self) -> None:
            for owner in ("a", "b", ""):
                expected = sum(name == owner for name, _ in self.wanted)
                assert [len(side.for_owner(owner)) for side in self.sides] == [expected] * 2

    return Machine


SHELVES: dict[str, Callable[[Path], list[Shelf]]] = {
    "memory": lambda _: [MemoryShelf()] * 2,
    "folder": lambda folder: [FolderShelf(folder), FolderShelf(folder)],
    "fsspec": lambda _: [RemoteShelf(f"memory://{name}") for name in [uuid.uuid4().hex] * 2],
    "fsspec of files": lambda folder: [RemoteShelf(f"local://{folder}", {"auto_mkdir": True}) for _ in range(2)],
}


@pytest.mark.parametrize("kind", SHELVES)
def test_any_order_of_calls_is_as_the_model_says(kind: str) -> None:
    """Whatever happened before, a blob is what its owner put, or is not there."""
    examples = settings.get_profile("nightly").max_examples // 50 if settings.default.max_examples > 100 else 25
    rules = settings(
        max_examples=examples, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(machine(SHELVES[kind]), settings=rules)
