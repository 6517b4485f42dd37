"""The store: what is got is what was put, or nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from stagegraph.errors import Fault, StoreError
from stagegraph.store import Store
from stagegraph.store.objects import DRAFT_AGE
from stagegraph.store.store import HOLD, INLINE

from .contents import file_of, files, get, put

BIG = b"big" * INLINE
OTHER = b"other" * INLINE
SMALL = b"small"


@pytest.fixture
def told() -> list[Fault]:
    """What `get` tells of damages."""
    return []


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as store:
        yield store


def test_an_entry_survives_its_process(store: Store) -> None:
    """Objects of any size come back from a store opened anew."""
    put(store, "a", BIG, SMALL, b"")
    store.close()
    with Store(store.folder) as again:
        assert get(again, "a") == (BIG, SMALL, b"")
        assert get(again, "b") is None


def test_equal_content_is_kept_once(store: Store) -> None:
    """Two entries with one object share its file; it goes with the last of them."""
    put(store, "a", BIG)
    put(store, "b", BIG, SMALL)
    assert files(store) == [file_of(store, BIG)]
    assert store.size() == len(BIG) + len(SMALL)
    store.remove("a")
    assert get(store, "b") == (BIG, SMALL)
    store.remove("b")
    assert (files(store), store.size()) == ([], 0)


def test_putting_again_replaces(store: Store) -> None:
    """An entry has the objects of the last put; those of the one before go."""
    put(store, "a", BIG)
    put(store, "a", OTHER)
    assert get(store, "a") == (OTHER,)
    assert files(store) == [file_of(store, OTHER)]


def damage_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def damage_length(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def damage_to_nothing(path: Path) -> None:
    os.truncate(path, 0)


def damage_absence(path: Path) -> None:
    path.unlink()


def damage_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def damage_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def damage_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = [damage_bit, damage_length, damage_to_nothing, damage_absence, damage_link, damage_fifo, damage_folder]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.__name__.removeprefix("damage_"))
def test_a_damaged_object_is_dropped_and_made_again(store: Store, told: list[Fault], damage: object) -> None:
    """It is never served: every entry that has it is forgotten, told once, and can be put again."""
    put(store, "a", BIG, SMALL)
    put(store, "b", BIG)
    damage(file_of(store, BIG))  # type: ignore[operator]
    assert get(store, "a", told) is None
    assert [fault.code for fault in told] == ["store_corrupt"]
    assert get(store, "b", told) is None
    assert (len(told), store.size()) == (1, 0)
    put(store, "b", BIG)
    assert get(store, "b", told) == (BIG,)
    store.gc()
    assert list((store.folder / "quarantine").glob("*")) == []


def test_two_files_swapped_are_both_dropped(store: Store, told: list[Fault]) -> None:
    """The name of a file is the digest of its content."""
    put(store, "a", BIG)
    put(store, "b", BIG[::-1])
    one, other, spare = file_of(store, BIG), file_of(store, BIG[::-1]), store.folder / "spare"
    one.rename(spare)
    other.rename(one)
    spare.rename(other)
    assert (get(store, "a", told), get(store, "b", told), len(told)) == (None, None, 2)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE objects SET data = x'00' WHERE data IS NOT NULL",
        "UPDATE entries SET trees = '[]'",
        "UPDATE entries SET trees = CAST(x'ff5b5d' AS TEXT)",
        "UPDATE entries SET name = 'b' WHERE name = 'a'",
    ],
)
def test_a_changed_index_is_not_believed(store: Store, told: list[Fault], change: str) -> None:
    """Small objects and the descriptions of entries are checked as files are."""
    put(store, "a", SMALL)
    with sqlite3.connect(store.folder / "index.sqlite") as connection:
        connection.execute(change)
    connection.close()
    assert (get(store, "a", told), get(store, "b", told)) == (None, None)
    assert len(told) == 1


def test_what_was_used_least_recently_goes_first(tmp_path: Path) -> None:
    """A get counts as use, to the hour, also of a process that ended."""
    now = 1e9
    folder = tmp_path / "store"
    with Store(folder, clock=lambda: now) as store:
        for name in "abc":
            put(store, name, BIG + name.encode())
            now += 7200
        get(store, "a")
    with Store(folder, clock=lambda: now) as store:
        freed = store.gc(2 * len(BIG) + 2)
        assert (freed.entries, freed.bytes, freed.left) == (1, len(BIG) + 1, 2 * len(BIG) + 2)
        assert [name for name in "abc" if get(store, name)] == ["a", "c"]


def test_a_store_keeps_to_its_budget(tmp_path: Path) -> None:
    """Putting more than the budget evicts what is old, not what was put."""
    now = 1e9
    with Store(tmp_path / "store", budget=5 * len(BIG), clock=lambda: now) as store:
        for number in range(20):
            put(store, str(number), BIG + bytes([number]))
            now += 1
            assert get(store, str(number))
            assert store.size() <= 5 * len(BIG) + 5
        assert len(files(store)) == store.size() // len(BIG)


def hold(store: Store, status: str, updated: float) -> None:
    """A run that refers to the entry a."""
    with store.index.writing() as connection:
        row = ("1", "g", status, updated)
        columns = "(id, graph, status, updated, record, seal)"
        connection.execute(f"INSERT INTO runs {columns} VALUES (?, ?, ?, ?, '{{}}', x'')", row)
        connection.execute("INSERT INTO holds VALUES ('1', 'a')")


@pytest.mark.parametrize(
    ("status", "age", "kept"),
    [
        ("running", 0.0, True),
        ("failed", HOLD - 1, True),
        ("cancelled", 0.0, True),
        ("finished", 0.0, False),
        ("failed", HOLD + 1, False),
    ],
)
def test_what_an_unfinished_run_refers_to_stays(tmp_path: Path, status: str, age: float, kept: bool) -> None:
    """For 14 days, whatever the budget; what a finished one made is like everything else."""
    with Store(tmp_path / "store", clock=lambda: 1e9) as store:
        put(store, "a", BIG)
        put(store, "b", OTHER)
        hold(store, status, 1e9 - age)
        store.gc(0)
        assert get(store, "b") is None
        assert (get(store, "a") == (BIG,)) is kept


def test_gc_removes_the_remains_of_crashes(store: Store) -> None:
    """Files that the index does not know, and drafts that are an hour old; not those being written."""
    put(store, "a", BIG)
    folder = file_of(store, BIG).parent
    (folder / (folder.name + "0" * 62)).write_bytes(b"placed, not recorded")
    old, new = folder / "1.draft", folder / "2.draft"
    old.write_bytes(b"")
    new.write_bytes(b"")
    os.utime(old, (0, old.stat().st_mtime - DRAFT_AGE - 1))
    store.gc()
    assert sorted(files(store)) == sorted([file_of(store, BIG), new])
    assert get(store, "a") == (BIG,)


def test_a_failed_put_changes_nothing(store: Store) -> None:
    """What belongs into the same transaction fails: the entry is as before, and no file is left."""

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO nowhere VALUES (1)")

    put(store, "a", SMALL)
    with pytest.raises(StoreError, match="no such table: nowhere"):
        store.put("a", [], {"0" * 64: [BIG]}, also=fail)
    assert get(store, "a") == (SMALL,)
    store.gc()
    assert files(store) == []


def test_a_newer_layout_is_refused(store: Store) -> None:
    """With what it is and what to do."""
    store.close()
    connection = sqlite3.connect(store.folder / "index.sqlite")
    connection.execute("PRAGMA user_version = 3")
    connection.close()
    with pytest.raises(StoreError) as caught:
        Store(store.folder)
    assert str(caught.value) == (
        f"{store.folder}: error[unsupported_version]: the store has layout version 3\n"
        "  why: this release reads version 2\n"
        "  fix: upgrade stagegraph"
    )


def test_something_else_in_its_place_is_refused(tmp_path: Path) -> None:
    """An index that is no database, and a folder that is a file."""
    (tmp_path / "index.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError) as caught:
        Store(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: error[store_corrupt]: the store failed: DatabaseError: file is not a database\n"
        "  why: a disk, or somebody, changed it\n"
        f'  fix: move it away: mv "{tmp_path}" "{tmp_path}.bad"'
    )
    (tmp_path / "file").touch()
    with pytest.raises(StoreError) as caught:
        Store(tmp_path / "file")
    assert caught.value.code == "store_failed"


def test_room_is_left_on_the_disk_if_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was used least recently makes room; what does not fit even then is not stored."""
    mib = 2**20

    def usage(folder: Path) -> SimpleNamespace:
        """A disk of 100 MiB, 10 of which are free for this store; a twentieth of all shall stay so."""
        used = sum(path.stat().st_size for path in (folder / "objects").rglob("*") if path.is_file())
        return SimpleNamespace(total=100 * mib, free=10 * mib - used)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    with Store(tmp_path, free=2**31) as store:
        for name in ("a", "b"):
            put(store, name, name.encode() * 2 * mib)
        assert (store.has("a"), store.has("b")) == (True, True)
        put(store, "c", b"c" * 2 * mib)
        assert (store.has("a"), store.has("b"), store.has("c")) == (False, True, True)
        with pytest.raises(StoreError) as caught:
            put(store, "d", b"d" * 10 * mib)
        assert (store.has("b"), store.has("c")) == (True, True)
    assert str(caught.value) == (
        f"{tmp_path}: error[store_full]: the store failed: there is no room for 10485760 bytes, beside what is left "
        "free for others\n"
        "  why: the disk has no space left\n"
        "  fix: free some space, or run: stagegraph gc --budget 1GiB"
    )
