"""A file of a few megabytes that does nothing: given back when the disk is full, it lets the index record removals."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

#: Bytes: several times what the log of the index takes for one batch of evictions.
SIZE: Final = 4 * 2**20


def keep(folder: Path) -> None:
    """Set the space aside, unless it is, or the disk has none."""
    path = folder / "reserve"
    with contextlib.suppress(OSError):
        if path.exists() and path.stat().st_size == SIZE:
            return
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, SIZE)


def free(folder: Path) -> None:
    """Give the space back."""
    (folder / "reserve").unlink(missing_ok=True)
