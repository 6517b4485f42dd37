"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stagegraph_media.errors import MediaError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new name in the directory of `path`, to write to.

    When the block ends the file of that name replaces `path` in one step; when it raises, or the replacing fails,
    that file is removed and `path` is as it was before.

    Raises:
        MediaError: the directory does not exist, or the system refuses the rename.
    """
    if not path.parent.is_dir():
        raise MediaError.of(
            "media.unwritable",
            f'the directory "{path.parent}" does not exist',
            where=str(path),
            fix=f'mkdir -p "{path.parent}"',
        )
    draft = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        yield draft
        _replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def make_directory(path: Path) -> None:
    """Make a directory, and those above it, unless it exists.

    Raises:
        MediaError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = f"cannot make the directory: {error.strerror}"
        raise MediaError.of("media.unwritable", why, where=str(path)) from error


def _replace(draft: Path, path: Path) -> None:
    try:
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise MediaError.of("media.unwritable", f"cannot write the file: {error.strerror}", where=str(path)) from error


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file in one step.

    Raises:
        MediaError: it cannot be written.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one step.

    Raises:
        MediaError: it cannot be written.
    """
    with replacing(path) as draft:
        try:
            draft.write_bytes(content)
        except OSError as error:
            why = f"cannot write the file: {error.strerror}"
            raise MediaError.of("media.unwritable", why, where=str(path)) from error
