"""Shelves: where records stand, by folder and name. Memory and a folder of files; `remote` has the rest."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from io import FileIO
from pathlib import Path
from typing import Final, Protocol

from stagegraph.durable import sync_folder, write
from stagegraph.store.failures import told
from stagegraph.tensorfile import Chunk

#: Seconds after which a draft that nobody finished is taken for the remains of a process that died.
DRAFT_AGE: Final = 3600.0
_DRAFT: Final = ".draft"


class Shelf(Protocol):
    """Records by folder and name, which are both hex digits that the caller has checked.

    Every method may raise `StoreError` for what the system refuses. Threads and processes may share a shelf.
    """

    def write(self, folder: str, name: str, chunks: Sequence[Chunk]) -> None:
        """Put a record there, whole or not at all; it takes the place of the one before."""
        ...

    def create(self, folder: str, name: str, data: bytes) -> None:
        """Put a record there unless there is one."""
        ...

    def read(self, folder: str, name: str, size: int) -> bytes | None:
        """The first `size` bytes of a record, or as many as it has; None if there is none."""
        ...

    def remove(self, folder: str, name: str) -> None:
        """Remove a record, if it is there."""
        ...

    def names(self, folder: str) -> list[tuple[str, int]]:
        """The names and sizes of the records in a folder."""
        ...

    def folders(self) -> list[str]:
        """The folders that have records."""
        ...


class MemoryShelf:
    """In this process, for as long as it lives."""

    def __init__(self) -> None:
        self._records: dict[str, dict[str, bytes]] = {}
        self._lock = threading.Lock()

    def write(self, folder: str, name: str, chunks: Sequence[Chunk]) -> None:
        """See `Shelf`."""
        record = b"".join(chunks)
        with self._lock:
            self._records.setdefault(folder, {})[name] = record

    def create(self, folder: str, name: str, data: bytes) -> None:
        """See `Shelf`."""
        with self._lock:
            self._records.setdefault(folder, {}).setdefault(name, data)

    def read(self, folder: str, name: str, size: int) -> bytes | None:
        """See `Shelf`."""
        with self._lock:
            record = self._records.get(folder, {}).get(name)
        return None if record is None else record[:size]

    def remove(self, folder: str, name: str) -> None:
        """See `Shelf`."""
        with self._lock:
            records = self._records.get(folder, {})
            records.pop(name, None)
            if not records:
                self._records.pop(folder, None)

    def names(self, folder: str) -> list[tuple[str, int]]:
        """See `Shelf`."""
        with self._lock:
            return [(name, len(record)) for name, record in self._records.get(folder, {}).items()]

    def folders(self) -> list[str]:
        """See `Shelf`."""
        with self._lock:
            return list(self._records)


class FolderShelf:
    """Files. What was written is there after the power has gone; what was being written is not there at all."""

    def __init__(self, root: Path) -> None:
        self._root = root
        with told(root):
            root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def write(self, folder: str, name: str, chunks: Sequence[Chunk]) -> None:
        """See `Shelf`."""
        with self._drafted(folder, name, chunks) as (draft, target):
            draft.replace(target)

    def create(self, folder: str, name: str, data: bytes) -> None:
        """See `Shelf`."""
        with self._drafted(folder, name, [data]) as (draft, target), contextlib.suppress(FileExistsError):
            os.link(draft, target)

    def read(self, folder: str, name: str, size: int) -> bytes | None:
        """See `Shelf`."""
        with (
            told(self._root),
            contextlib.suppress(FileNotFoundError),
            open(self._root / folder / name, "rb", buffering=0, opener=_opener) as file,
        ):
            found = os.fstat(file.fileno())
            if stat.S_ISREG(found.st_mode):
                return _read(file.fileno(), min(size, found.st_size))
        return None

    def remove(self, folder: str, name: str) -> None:
        """See `Shelf`."""
        with told(self._root):
            (self._root / folder / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # others are still in it
                (self._root / folder).rmdir()

    def names(self, folder: str) -> list[tuple[str, int]]:
        """See `Shelf`; removes what writers that died have left, too."""
        found = []
        with told(self._root):
            for path, size, age in _files(self._root / folder):
                if path.name.endswith(_DRAFT):
                    if age > DRAFT_AGE:
                        path.unlink(missing_ok=True)
                else:
                    found.append((path.name, size))
        return found

    def folders(self) -> list[str]:
        """See `Shelf`."""
        with told(self._root):
            return [path.name for path in self._root.iterdir() if path.is_dir()]

    @contextlib.contextmanager
    def _drafted(self, folder: str, name: str, chunks: Sequence[Chunk]) -> Iterator[tuple[Path, Path]]:
        """A file with this content, down to the disk, beside where it is to be; and that place."""
        home = self._root / folder
        draft = home / f"{secrets.token_hex(8)}{_DRAFT}"
        with told(self._root):
            file = _opened(home, draft)
            try:
                with file:
                    for chunk in chunks:
                        write(file.fileno(), chunk)
                    os.fsync(file.fileno())
                yield draft, home / name
                _sync(home)
                _sync(self._root)
            finally:
                draft.unlink(missing_ok=True)


def _opened(home: Path, draft: Path) -> FileIO:
    while True:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            return draft.open("xb", buffering=0)
        except FileNotFoundError:  # somebody has just removed the last file and its folder
            continue


def _opener(path: str, flags: int) -> int:
    # a symbolic link would lead out of the shelf, a FIFO would be waited for
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _read(descriptor: int, size: int) -> bytes:
    content = bytearray(size)
    view, done = memoryview(content), 0
    while done < size and (count := os.readv(descriptor, [view[done:]])):
        done += count
    return bytes(view[:done])


def _files(home: Path) -> Iterator[tuple[Path, int, float]]:
    """Every file in a folder, its size, and the seconds since it was written."""
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(home):
            with contextlib.suppress(FileNotFoundError):
                found = entry.stat(follow_symlinks=False)
                yield Path(entry.path), found.st_size, time.time() - found.st_mtime


def _sync(folder: Path) -> None:
    with contextlib.suppress(FileNotFoundError):  # removed with what was in it
        sync_folder(folder)
