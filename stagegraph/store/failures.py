"""What the operating system and the database say, as `StoreError`."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stagegraph.errors import Fault, StoreError

_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SQLITE: Final = {
    sqlite3.SQLITE_FULL: "store_full",
    sqlite3.SQLITE_IOERR_SHMSIZE: "store_full",  # no space for the memory that the processes share
    sqlite3.SQLITE_BUSY: "store_busy",
    sqlite3.SQLITE_LOCKED: "store_busy",
    sqlite3.SQLITE_CORRUPT: "store_corrupt",
    sqlite3.SQLITE_NOTADB: "store_corrupt",
}


@contextlib.contextmanager
def told(folder: Path) -> Iterator[None]:
    """Turn what fails inside into a `StoreError` about the store in a folder."""
    try:
        yield
    except OSError as error:
        raise _failure(folder, "store_full" if error.errno in _FULL else "store_failed", str(error)) from error
    except sqlite3.Error as error:
        number = getattr(error, "sqlite_errorcode", 0)
        code = _SQLITE.get(number) or _SQLITE.get(number & 0xFF, "store_failed")  # else its family decides
        raise _failure(folder, code, f"{type(error).__name__}: {error}") from error


def corrupt(folder: Path, what: str) -> StoreError:
    """The error about something in the store that nobody put there."""
    return _failure(folder, "store_corrupt", what)


def _failure(folder: Path, code: str, what: str) -> StoreError:
    why, fix = {
        "store_full": ("the disk has no space left", "free some space, or run: stagegraph gc --budget 1GiB"),
        "store_busy": ("another process has been writing to it for half a minute", "try again"),
        "store_corrupt": ("a disk, or somebody, changed it", f'move it away: mv "{folder}" "{folder}.bad"'),
        "store_failed": ("the operating system refused", f'ls -ld "{folder}"'),
    }[code]
    return StoreError(Fault(code, f"the store failed: {what}", where=str(folder), why=why, fix=fix))
