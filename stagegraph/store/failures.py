"""What the operating system and the database say, as `StoreError`."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from stagegraph.errors import Fault, StoreError

_Maker = Callable[[Path, str], Fault]


@contextlib.contextmanager
def told(folder: Path) -> Iterator[None]:
    """Turn what fails inside into a `StoreError` about the store in a folder."""
    try:
        yield
    except OSError as error:
        fault: _Maker = _full if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else _failed
        raise StoreError(fault(folder, str(error))) from error
    except sqlite3.Error as error:
        number = getattr(error, "sqlite_errorcode", 0)
        fault = _SQLITE.get(number) or _SQLITE.get(number & 0xFF, _failed)  # else its family decides
        raise StoreError(fault(folder, f"{type(error).__name__}: {error}")) from error
    except UnicodeDecodeError as error:  # the database quotes itself in its message
        raise StoreError(_corrupt(folder, "the index cannot be read")) from error


def full(folder: Path, what: str) -> StoreError:
    """The error about a disk that the store does not fill up."""
    return StoreError(_full(folder, what))


def _full(folder: Path, what: str) -> Fault:
    fix = "free some space, or run: stagegraph gc --budget 1GiB"
    return Fault("store_full", f"the store failed: {what}", str(folder), "the disk has no space left", fix)


def _busy(folder: Path, what: str) -> Fault:
    why = "another process has been writing to it for half a minute"
    return Fault("store_busy", f"the store failed: {what}", str(folder), why, "try again")


def _corrupt(folder: Path, what: str) -> Fault:
    fix = f'move it away: mv "{folder}" "{folder}.bad"'
    return Fault("store_corrupt", f"the store failed: {what}", str(folder), "a disk, or somebody, changed it", fix)


def _failed(folder: Path, what: str) -> Fault:
    why = "the operating system refused"
    return Fault("store_failed", f"the store failed: {what}", str(folder), why, f'ls -ld "{folder}"')


_SQLITE: Final[Mapping[int, _Maker]] = {
    sqlite3.SQLITE_FULL: _full,
    sqlite3.SQLITE_IOERR_SHMSIZE: _full,  # no space for the memory that the processes share
    sqlite3.SQLITE_BUSY: _busy,
    sqlite3.SQLITE_LOCKED: _busy,
    sqlite3.SQLITE_CORRUPT: _corrupt,
    sqlite3.SQLITE_NOTADB: _corrupt,
}
