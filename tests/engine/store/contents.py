"""Entries for tests of the store."""

from __future__ import annotations

import hashlib
from pathlib import Path

from stagegraph.errors import Fault
from stagegraph.store import Store


def put(store: Store, name: str, *contents: bytes) -> None:
    """Store an entry of these objects."""
    objects = {hashlib.sha256(content).hexdigest(): [content] for content in contents}
    store.put(name, [hashlib.sha256(content).hexdigest() for content in contents], objects)


def get(store: Store, name: str, told: list[Fault] | None = None) -> tuple[bytes, ...] | None:
    """The objects of an entry; None if there is none, or if it was damaged, which is added to what was told."""
    entry = store.get(name)
    if isinstance(entry, Fault):
        assert told is not None, str(entry)
        told.append(entry)
        return None
    return entry and tuple(bytes(entry.objects[digest]) for digest in entry.trees)


def file_of(store: Store, content: bytes) -> Path:
    """Where an object that is not in the index is."""
    digest = hashlib.sha256(content).hexdigest()
    return store.folder / "objects" / digest[:2] / digest


def files(store: Store) -> list[Path]:
    """Every file below `objects`."""
    return sorted(path for path in (store.folder / "objects").rglob("*") if path.is_file())
