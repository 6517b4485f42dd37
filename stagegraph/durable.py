"""Files that are there whole or not at all, whatever stops the process or the machine."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from stagegraph.tensorfile import Chunk


def replace(path: Path, data: Chunk) -> None:
    """Write a file: whoever reads it, at any time, finds the old content or the new one; after this, the new one.

    Raises:
        OSError: it could not be written; the old content is still there.
    """
    draft = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with draft.open("xb", buffering=0) as file:
            write(file.fileno(), data)
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write(descriptor: int, chunk: Chunk) -> None:
    """Write all of it."""
    view = memoryview(chunk).cast("B")
    while view:
        view = view[os.write(descriptor, view) :]


def sync_folder(folder: Path) -> None:
    """Have the names in a folder down on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Have everything below a folder down on the disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(Path(parent) / name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(Path(parent))
