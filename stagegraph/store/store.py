"""`Store`: entries, which are names with artifacts behind them. What is put is durable; what is got is what was put."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import attrs

from stagegraph.errors import Fault, StoreError
from stagegraph.store import reserve
from stagegraph.store.failures import full, told
from stagegraph.store.index import Index, seal
from stagegraph.store.objects import ObjectFiles
from stagegraph.tensorfile import Chunk

#: Bytes that a store grows to before what was used least recently goes.
BUDGET: Final = 20 * 2**30
#: Bytes that a store which grows unasked leaves free on its disk, or a twentieth of the disk if that is less.
FREE: Final = 2 * 2**30
#: Bytes. Objects up to this size stand in the index: a file costs two synchronisations of the disk and an opening.
INLINE: Final = 4096
#: Seconds for which an unfinished run that records nothing keeps its entries from being removed.
HOLD: Final = 14 * 86400.0
#: The part of the budget that eviction leaves, so that it need not happen at every put.
_ROOM: Final = 0.9
#: Entries evicted in one transaction: on a full disk, its log must fit the reserve.
_BATCH: Final = 500

#: What else belongs into the transaction of a put: statements on the connection.
Also = Callable[[sqlite3.Connection], None]


@attrs.frozen(eq=False)
class Entry:
    """What stands behind a name: `trees` as they were put, and the content of each object that they mention."""

    trees: list[Any]
    objects: Mapping[str, bytearray]


@attrs.frozen
class _Damage:
    """What is wrong with an entry; `digest` is of the object that is bad, None if the entry itself is."""

    what: str
    digest: str | None = None


@attrs.frozen
class Freed:
    """What a collection removed, and what is left."""

    entries: int
    bytes: int
    left: int


def default_folder() -> Path:
    """`$XDG_CACHE_HOME/stagegraph/store`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "stagegraph" / "store"


class Store:
    """A store in a folder; made if it does not exist. Threads and processes may share it.

    Args:
        folder: where it is; `default_folder()` if None.
        budget: bytes of objects to which it grows before what was used least recently goes.
        free: bytes that it leaves free on its disk, or a twentieth of the disk if that is less; 0 to fill the disk.
        clock: seconds since 1970.

    Raises:
        StoreError: the folder cannot be used, or holds something else.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        budget: int = BUDGET,
        free: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = folder or default_folder()
        self.index = _opened(self.folder)
        self._files = ObjectFiles(self.folder)
        self._budget = budget
        self._free = free
        self._clock = clock
        self._touched: dict[str, float] = {}

    def put(
        self, name: str, trees: Sequence[Any], objects: Mapping[str, Sequence[Chunk]], also: Also | None = None
    ) -> None:
        """Store an entry; one of the same name is replaced.

        Args:
            name: what it is got by.
            trees: plain JSON.
            objects: content by SHA-256.
            also: what belongs into the same transaction.

        Raises:
            StoreError: nothing was stored, and what was there before is still there.
        """
        drafts: dict[str, Path] = {}
        sizes = {digest: sum(_size(chunk) for chunk in chunks) for digest, chunks in objects.items()}
        self._make_room(sum(sizes.values()))
        with told(self.folder):
            try:
                for digest, chunks in objects.items():
                    if sizes[digest] > INLINE and not self._files.has(digest, sizes[digest]):
                        drafts[digest] = self._files.draft(digest, chunks)
                orphans = self._commit(name, trees, objects, sizes, drafts, also)
            finally:
                for draft in drafts.values():
                    draft.unlink(missing_ok=True)
        self._sweep(orphans)
        self._keep_budget()

    def get(self, name: str) -> Entry | Fault | None:
        """The entry of a name, every byte checked; None if there is none.

        Of a damaged one, a Fault that says how: it has been dropped, and with a bad object every entry that has it.
        """
        found = self._read(name)
        return self._drop(name) if isinstance(found, _Damage) else found

    def has(self, name: str) -> bool:
        """Whether there is an entry of this name; its content is not looked at."""
        with self.index.reading() as connection:
            return connection.execute("SELECT 1 FROM entries WHERE name = ?", (name,)).fetchone() is not None

    def remove(self, name: str, also: Also | None = None) -> None:
        """Remove an entry if it is there, and the objects that no other has."""
        with self.index.writing() as connection:
            orphans = _forget(connection, name)
            if also is not None:
                also(connection)
        self._sweep(orphans)

    def size(self) -> int:
        """Bytes of all objects."""
        with self.index.reading() as connection:
            return _total(connection)

    def gc(self, budget: int | None = None) -> Freed:
        """Remove what was used least recently until the objects fit the budget, and the remains of crashes.

        What an unfinished run refers to stays, however much that is, for 14 days after the run last recorded anything.
        """
        with told(self.folder):
            reserve.free(self.folder)
            try:
                self._files.clean()
                with self.index.writing() as connection:  # should a disk have changed it
                    connection.execute("UPDATE total SET bytes = (SELECT coalesce(sum(size), 0) FROM objects)")
                freed = self._evict(self._budget if budget is None else budget)
                self._sweep(self._files)
            finally:
                reserve.keep(self.folder)
        return freed

    def close(self) -> None:
        """Write down what was used, and let go of the files."""
        if self._touched:
            with contextlib.suppress(StoreError), self.index.writing() as connection:  # it only orders evictions
                self._write_touched(connection)
        self.index.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _commit(
        self,
        name: str,
        trees: Sequence[Any],
        objects: Mapping[str, Sequence[Chunk]],
        sizes: Mapping[str, int],
        drafts: Mapping[str, Path],
        also: Also | None,
    ) -> list[str]:
        """Place the objects and record them, while no other process does or removes; gives what became unused."""
        text = json.dumps(trees, separators=(",", ":"), ensure_ascii=False)
        with self.index.writing() as connection:
            for digest, chunks in objects.items():
                if sizes[digest] > INLINE and not self._files.has(digest, sizes[digest]):
                    # without a draft it was there before, and another process has just removed it
                    self._files.place(digest, drafts.get(digest) or self._files.draft(digest, chunks))
            orphans = set(_forget(connection, name)) - objects.keys()
            for digest, chunks in objects.items():
                data = b"".join(chunks) if sizes[digest] <= INLINE else None
                connection.execute(
                    "INSERT INTO objects VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (digest, sizes[digest], data)
                )
            row = (name, text, seal(name, text), self._clock())
            connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?)", row)
            connection.executemany("INSERT INTO uses VALUES (?, ?)", [(name, digest) for digest in objects])
            self._write_touched(connection)
            if also is not None:
                also(connection)
        return sorted(orphans)

    def _read(self, name: str) -> Entry | _Damage | None:
        with self.index.reading() as connection:
            rows = connection.execute(_ENTRY, (name,)).fetchall()
        if not rows:
            return None
        trees, sealed, used = rows[0][:3]
        if sealed != seal(name, trees):
            return _Damage("the index says something else than was put into it")
        objects = {}
        for *_, digest, size, data in rows:
            if digest is not None:
                content = self._content(digest, size, data)
                if isinstance(content, str):
                    return _Damage(f"object {digest[:12]}: {content}", digest)
                objects[digest] = content
        now = self._clock()
        if not isinstance(used, float) or abs(now - used) > 3600:  # to the hour: not a transaction for every get
            self._touched[name] = now
        return Entry(json.loads(trees), objects)

    def _content(self, digest: str, size: int, data: bytes | None) -> bytearray | str:
        if data is not None:
            good = isinstance(data, bytes) and hashlib.sha256(data).hexdigest() == digest
            return bytearray(data) if good else "its content is not what its name says"
        with told(self.folder):
            try:
                return self._files.read(digest, size)
            except FileNotFoundError:
                return "its file is gone"

    def _drop(self, name: str) -> Entry | Fault | None:
        """Forget a bad entry, and with a bad object every entry that has it.

        It is looked at again while nobody writes: another process may have evicted it meanwhile, or put it anew.
        """
        with self.index.writing() as connection:
            found = self._read(name)
            if not isinstance(found, _Damage):
                return found
            names = [name]
            if found.digest is not None:
                self._files.quarantine(found.digest)
                users = connection.execute("SELECT entry FROM uses WHERE digest = ?", (found.digest,))
                names = [entry for (entry,) in users.fetchall()]
            orphans = [orphan for entry in names for orphan in _forget(connection, entry)]
        self._sweep(orphans)
        why = "a disk, or somebody, changed it; it was dropped and will be made again"
        return Fault("store_corrupt", f"a stored value is damaged: {found.what}", str(self.folder), why)

    def _make_room(self, needed: int) -> None:
        """Evict until the disk has room for some bytes and for what others may need.

        Raises:
            StoreError: it has not, whatever is evicted.
        """
        if not self._free or needed <= INLINE or self._spare() >= needed:
            return
        left = self.size() + self._spare() - needed
        if left >= 0:
            self._evict(left)
        if self._spare() < needed:
            raise full(self.folder, f"there is no room for {needed} bytes, beside what is left free for others")

    def _spare(self) -> int:
        """Bytes that the store may still take of its disk."""
        with told(self.folder):
            disk = shutil.disk_usage(self.folder)
        return disk.free - min(self._free, disk.total // 20)

    def _keep_budget(self) -> None:
        if self.size() > self._budget:
            self._evict(int(self._budget * _ROOM))

    def _evict(self, budget: int) -> Freed:
        entries, freed = 0, 0
        while True:
            orphans: list[str] = []
            with self.index.writing() as connection:
                self._write_touched(connection)
                before = left = _total(connection)
                names = connection.execute(_EVICTABLE, (self._clock() - HOLD, _BATCH)).fetchall()
                for (name,) in names if left > budget else ():
                    orphans += _forget(connection, name)
                    entries += 1
                    left = _total(connection)
                    if left <= budget:
                        break
            self._sweep(orphans)
            freed += before - left
            if left <= budget or len(names) < _BATCH:
                return Freed(entries, freed, left)

    def _sweep(self, digests: Iterable[str]) -> None:
        """Remove the files of objects that the index does not have.

        They go after the index has forgotten them, so that it never mentions what is not there, and while nobody
        writes, so that nobody has just put one back.
        """
        digests = list(digests)
        if not digests:
            return
        with self.index.writing() as connection:
            for digest in digests:
                found = connection.execute("SELECT data IS NULL FROM objects WHERE digest = ?", (digest,)).fetchone()
                if found is None or not found[0]:
                    self._files.remove(digest)

    def _write_touched(self, connection: sqlite3.Connection) -> None:
        touched, self._touched = self._touched, {}
        if touched:
            rows = [(used, name) for name, used in touched.items()]
            connection.executemany("UPDATE entries SET used = ? WHERE name = ?", rows)


_ENTRY: Final = """
SELECT trees, seal, used, uses.digest, size, data
FROM entries LEFT JOIN uses ON uses.entry = entries.name LEFT JOIN objects ON objects.digest = uses.digest
WHERE name = ?
"""

_EVICTABLE: Final = """
SELECT name FROM entries WHERE NOT EXISTS (
    SELECT 1 FROM holds JOIN runs ON runs.id = holds.run
    WHERE holds.entry = entries.name AND runs.status != 'finished' AND runs.updated > ?
) ORDER BY used LIMIT ?
"""


def _opened(folder: Path) -> Index:
    try:
        index = Index(folder)
    except StoreError as error:
        if error.code != "store_full":
            raise
        with told(folder):
            reserve.free(folder)
        return Index(folder)
    reserve.keep(folder)
    return index


def _total(connection: sqlite3.Connection) -> int:
    """Bytes of all objects; the index keeps count."""
    return int(connection.execute("SELECT CAST(bytes AS INTEGER) FROM total").fetchone()[0])


def _forget(connection: sqlite3.Connection, name: str) -> list[str]:
    """Take an entry out of the index, and the objects that no other entry has; gives their digests."""
    digests = [row[0] for row in connection.execute("SELECT digest FROM uses WHERE entry = ?", (name,))]
    connection.execute("DELETE FROM entries WHERE name = ?", (name,))
    gone = "DELETE FROM objects WHERE digest = ? AND NOT EXISTS (SELECT 1 FROM uses WHERE uses.digest = objects.digest)"
    return [digest for digest in digests if connection.execute(gone, (digest,)).rowcount]


def _size(chunk: Chunk) -> int:
    return chunk.nbytes if isinstance(chunk, memoryview) else len(chunk)
