"""The store when processes die, meet each other, or the disk is full."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import stagegraph.store.store
from stagegraph.errors import StoreError
from stagegraph.store import Store
from stagegraph.store.store import INLINE

from .contents import files, get, put
from .disks import small_disk
from .serving import die_at_line

SOURCES = str(Path(stagegraph.store.store.__file__).parent)
BIG = b"big" * INLINE
KILLED = -signal.SIGKILL


def in_a_child(work: Callable[[], None]) -> int:
    """Start a process that does some work; gives its id."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)  # none of pytest's own endings
    return pid


def ended(pid: int) -> int:
    """The exit code of a process, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_process_killed_anywhere_in_a_put_leaves_all_or_nothing(tmp_path: Path) -> None:
    """After a kill at every third line: opened again, the entry is as before or as put, and nothing else is there."""
    line, before, after = -1, 0, 0
    while True:
        line += 3
        folder = tmp_path / str(line)
        with Store(folder) as store:
            put(store, "a", BIG)
            put(store, "kept", b"kept", BIG)

        def replace(folder: Path = folder, line: int = line) -> None:
            store = Store(folder)
            die_at_line(line, SOURCES)
            put(store, "a", BIG[::-1], b"new")

        code = ended(in_a_child(replace))
        with Store(folder) as store:
            found = get(store, "a")
            assert found in ((BIG,), (BIG[::-1], b"new"))
            assert get(store, "kept") == (b"kept", BIG)
            store.gc()
            objects = [path for path in files(store) if path.suffix != ".draft"]
            assert [path.stat().st_size for path in objects] == [len(BIG)] * (1 + (found != (BIG,)))
            before, after = before + (found == (BIG,)), after + (found != (BIG,))
            put(store, "a", BIG[::-1])
            assert get(store, "a") == (BIG[::-1],)
        if code == 0:
            break
        assert code == KILLED
    assert line > 50
    assert before > 10
    assert after > 5


def test_processes_may_put_the_same_and_different_objects_at_once(tmp_path: Path) -> None:
    """Every entry of every process is there afterwards, and shared content once."""

    def work(number: int) -> None:
        with Store(tmp_path) as store:
            for turn in range(30):
                put(store, f"shared-{turn}", BIG + bytes([turn]))
                put(store, f"{number}-{turn}", BIG + bytes([turn]), b"%d" % number * 5000)
                assert get(store, f"shared-{turn}") == (BIG + bytes([turn]),)

    children = [in_a_child(lambda number=number: work(number)) for number in range(3)]  # type: ignore[misc]
    assert [ended(child) for child in children] == [0, 0, 0]
    with Store(tmp_path) as store:
        for turn in range(30):
            for number in range(3):
                assert get(store, f"{number}-{turn}") == (BIG + bytes([turn]), b"%d" % number * 5000)
        assert len(files(store)) == 30 + 3


def test_collections_may_race_with_puts_and_gets(tmp_path: Path) -> None:
    """What is got is right or gone, and being evicted meanwhile is no damage."""

    def work(number: int) -> None:
        with Store(tmp_path) as store:
            for turn in range(60):
                name, content = f"{turn % 7}", BIG + bytes([turn % 7])
                put(store, name, content, content + b"second")
                assert get(store, name) in ((content, content + b"second"), None)
                if turn % 5 == number:
                    store.gc(len(BIG) * number)

    children = [in_a_child(lambda number=number: work(number)) for number in range(3)]  # type: ignore[misc]
    assert [ended(child) for child in children] == [0, 0, 0]
    with Store(tmp_path) as store:
        store.gc(0)
        assert (files(store), store.size()) == ([], 0)


def fill(store: Store, stored: dict[str, bytes]) -> None:
    for number in range(10_000):
        content = number.to_bytes(2) * (40_000 if number % 2 else 500)
        put(store, str(number), content)
        stored[str(number)] = content


def test_a_full_disk_is_told_and_the_store_stays_readable(tmp_path: Path) -> None:
    """A put that finds no space raises and changes nothing; with space again, it goes on."""
    with small_disk(tmp_path / "disk", 8) as disk, Store(disk / "store") as store:
        stored: dict[str, bytes] = {}
        with pytest.raises(StoreError) as caught:
            fill(store, stored)
        assert caught.value.code == "store_full"
        assert caught.value.faults[0].why == "the disk has no space left"
        assert len(stored) > 20
        for name, content in stored.items():
            assert get(store, name) == (content,)
        store.gc(store.size() // 2)
        stored = {name: content for name, content in stored.items() if get(store, name) == (content,)}
        assert len(stored) > 10
        put(store, "again", BIG)
        assert get(store, "again") == (BIG,)
        store.close()
        with Store(disk / "store") as reopened:
            assert all(get(reopened, name) == (content,) for name, content in stored.items())


def test_a_closed_store_opens_on_a_full_disk(tmp_path: Path) -> None:
    """Its reserve makes room for what opening takes."""
    with small_disk(tmp_path / "disk", 8) as disk:
        with Store(disk / "store") as store:
            put(store, "a", BIG)
        with (disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * 4096)
        with Store(disk / "store") as store:
            assert get(store, "a") == (BIG,)
            store.gc(0)
            assert store.size() == 0
