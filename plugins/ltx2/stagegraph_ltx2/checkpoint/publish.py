"""Folders that appear at once and complete, or not at all. Needs no torch."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from stagegraph.errors import ComponentError
from stagegraph_ltx2.errors import failure, unreadable


@contextlib.contextmanager
def published(path: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `path` when the block ends without an error.

    Raises:
        ComponentError: `path` exists and is not empty, or cannot be written.
    """
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise _not_empty(path)
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # A sibling: only within one file system is a rename atomic.
            draft = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
            stack.callback(shutil.rmtree, draft, ignore_errors=True)
            yield draft
            for file in (file for file in draft.rglob("*") if file.is_file()):
                file.chmod(0o644)  # some writers leave them to their owner alone
                _sync(file)
            draft.chmod(0o755)
            _replace(draft, path)
        except OSError as error:
            raise unreadable(path, error) from None


def _replace(draft: Path, path: Path) -> None:
    try:
        draft.rename(path)
    except OSError:
        if path.is_dir() and any(path.iterdir()):
            raise _not_empty(path) from None  # Somebody else was faster.
        raise


def _not_empty(path: Path) -> ComponentError:
    return failure(
        "not_empty",
        f"{path} exists and is not empty",
        where=path,
        why="a checkpoint is written into a folder of its own; nothing is overwritten",
        fix=f"rm -r {path}, or name another folder",
    )


def _sync(path: Path) -> None:
    """Have the bytes on the disk before the folder gets its name, or a power cut leaves a folder of empty files."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
