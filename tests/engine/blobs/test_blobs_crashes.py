"""A process that dies while it puts a blob leaves the one before, or the new one, or none; never half of one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stagegraph.blobs import open_blobs
from stagegraph.blobs.shelves import DRAFT_AGE
from stagegraph.errors import ContinuationError, StoreError

#: Dies at the n-th call to the system that one put makes, or is refused there.
PROGRAM = """
import errno, os, signal, sys
from stagegraph.blobs import open_blobs
root, number, how = sys.argv[1], int(sys.argv[2]), sys.argv[3]
store = open_blobs(root).for_owner("a")
calls = 0
def counted(name):
    call = getattr(os, name)
    def wrapper(*arguments, **options):
        global calls
        calls += 1
        if calls == number:
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(getattr(errno, how), os.strerror(getattr(errno, how)))
        return call(*arguments, **options)
    return wrapper
for name in ("open", "write", "fsync", "replace", "rename", "mkdir", "close"):
    setattr(os, name, counted(name))
try:
    store.put(b"new" * 50_000)
except Exception as error:
    print(type(error).__name__, getattr(error, "code", ""))
else:
    print("done")
"""


def run(root: Path, number: int, how: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, str(root), str(number), how]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("how", ["kill", "ENOSPC", "EIO"])
def test_whenever_it_dies_or_is_refused_nothing_is_torn(tmp_path: Path, how: str) -> None:
    """At every call to the system; the next process goes on, and in time cleans up."""
    ended = False
    for number in range(1, 30):
        root = tmp_path / str(number)
        store = open_blobs(root).for_owner("a")
        before = store.put(b"before")
        done = run(root, number, how)
        if done.stdout == "done\n":
            ended = True
        elif how == "kill":
            assert done.returncode == -signal.SIGKILL
        else:
            assert done.stdout in {"StoreError store_full\n", "StoreError store_failed\n"}, done
        assert store.get(before) == b"before"
        new = open_blobs(tmp_path / "other").for_owner("a").blobs and _new_id(store)
        try:
            assert store.get(new) == b"new" * 50_000
        except ContinuationError as error:
            assert error.code == "unknown_blob"  # noqa: PT017
            assert not ended
        assert store.put(b"new" * 50_000) == new
        _clean(root, store)
        if ended:
            break
    assert ended


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do."""
    store = open_blobs(tmp_path).for_owner("a")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StoreError) as caught:
        store.put(b"x")
    assert caught.value.code == "store_full"
    monkeypatch.undo()
    assert len(store) == 0


def _new_id(store: object) -> str:
    from stagegraph.blobs import OwnedBlobs

    assert isinstance(store, OwnedBlobs)
    return store.blobs.keyed(store.folder.encode(), b"application/octet-stream", b"new" * 50_000)


def _clean(root: Path, store: object) -> None:
    """Drafts of the dead go once they are old."""
    for draft in root.rglob("*.draft"):
        old = draft.stat().st_mtime - DRAFT_AGE - 1
        os.utime(draft, (old, old))
    assert len(store) == 2  # type: ignore[arg-type]
    assert list(root.rglob("*.draft")) == []
