"""Files named by the SHA-256 of their content: they appear whole or not at all, and are checked when they are read."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from stagegraph.durable import sync_folder, write
from stagegraph.tensorfile import Chunk

#: Seconds after which a draft that nobody finished is taken for the remains of a process that died.
DRAFT_AGE: Final = 3600.0

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_DRAFT: Final = ".draft"
#: What the system says of a link, a socket, a folder and a broken sector: the object is bad, the store is not.
_BAD: Final = {errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.EIO}


class ObjectFiles:
    """A folder of objects.

    Writing has two steps: `draft` writes a file and takes as long as that takes; `place` gives it its name and is
    quick. The caller lets no other process place or remove meanwhile.
    """

    def __init__(self, folder: Path) -> None:
        self._objects = folder / "objects"
        self._quarantine = folder / "quarantine"

    def draft(self, digest: str, chunks: Sequence[Chunk]) -> Path:
        """Write the content to a file of its own beside where it will be, down to the disk."""
        target = self._path(digest)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = target.with_name(f"{secrets.token_hex(8)}{_DRAFT}")
        try:
            with draft.open("xb", buffering=0) as file:
                for chunk in chunks:
                    write(file.fileno(), chunk)
                os.fsync(file.fileno())
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        return draft

    def place(self, digest: str, draft: Path) -> None:
        """Give a draft its name, down to the disk."""
        target = self._path(digest)
        if target.is_dir():
            self.quarantine(digest)
        draft.replace(target)
        sync_folder(target.parent)
        sync_folder(self._objects)

    def has(self, digest: str, size: int) -> bool:
        """Whether a regular file of this name and size is there; its content is looked at when it is read."""
        try:
            status = self._path(digest).lstat()
        except FileNotFoundError:
            return False
        return stat.S_ISREG(status.st_mode) and status.st_size == size

    def read(self, digest: str, size: int) -> bytearray | str:
        """The content, or in words what is wrong with it.

        Raises:
            FileNotFoundError: there is no such object.
        """
        if not _DIGEST.fullmatch(digest):  # a damaged index may say anything
            return "its name is no SHA-256"
        try:
            content = _read(self._path(digest), size)
        except OSError as error:
            if error.errno not in _BAD:
                raise
            return f"it cannot be read: {error.strerror}"
        if len(content) != size:
            return f"it is no regular file of {size} bytes"
        return content if hashlib.sha256(content).hexdigest() == digest else "its content is not what its name says"

    def quarantine(self, digest: str) -> None:
        """Take an object out of use, but keep it to be looked at."""
        if not _DIGEST.fullmatch(digest):
            return
        self._quarantine.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._path(digest).replace(self._quarantine / f"{digest}-{secrets.token_hex(4)}")
        except FileNotFoundError:
            return

    def remove(self, digest: str) -> None:
        """Remove an object if it is there."""
        if _DIGEST.fullmatch(digest):
            self._path(digest).unlink(missing_ok=True)

    def clean(self) -> None:
        """Remove what is no object any more: drafts of processes that died, and everything in quarantine."""
        long_ago = time.time() - DRAFT_AGE
        for draft in self._objects.glob(f"*/*{_DRAFT}"):
            try:
                if draft.lstat().st_mtime < long_ago:
                    draft.unlink()
            except FileNotFoundError:  # finished meanwhile
                continue
        for bad in self._quarantine.glob("*"):
            shutil.rmtree(bad) if bad.is_dir() and not bad.is_symlink() else bad.unlink(missing_ok=True)

    def __iter__(self) -> Iterator[str]:
        """The digests of all objects that have a file."""
        return (path.name for path in self._objects.glob("*/*") if _DIGEST.fullmatch(path.name))

    def _path(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):  # a name becomes a path here
            raise ValueError(f"{digest!r} is no SHA-256")
        return self._objects / digest[:2] / digest


def _read(path: Path, size: int) -> bytearray:
    """The content of a regular file of this size, else nothing."""
    with open(path, "rb", buffering=0, opener=_opener) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            return bytearray()
        content = bytearray(size)
        view, done = memoryview(content), 0
        while done < size and (count := file.readinto(view[done:])):
            done += count
        return content


def _opener(path: str, flags: int) -> int:
    # a symbolic link would lead out of the store, a FIFO would be waited for
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
