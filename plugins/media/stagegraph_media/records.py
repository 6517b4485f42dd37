"""The run record in an mp4 file: read it, and take it and every other tag out. Needs no PyAV."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stagegraph.recordreaders import RecordReader
from stagegraph_media import boxes
from stagegraph_media.boxes import BrokenBoxes, TooLong
from stagegraph_media.mp4 import RECORD_TAG
from stagegraph_media.sources import Source, find


def read(path: Path, most: int) -> bytes | None:
    """The text of the record; None if the file has none.

    Raises:
        MediaError: the file is no mp4 file or is broken, or the record has more than `most` bytes.
    """
    source = _mp4(path)
    with _guarded(source), path.open("rb") as file:
        try:
            return boxes.tag(file, path.stat().st_size, RECORD_TAG, most)
        except TooLong as error:
            raise source.error("media.too_large", str(error), why=f"the limit is {most} bytes") from None


def strip(path: Path, copy: Path) -> None:
    """Write a copy without tags: no stream is decoded or encoded, and not a byte of one changes.

    What held tags becomes zeros, so that the copy has the size of the file.

    Raises:
        MediaError: the file is no mp4 file or is broken, or the copy cannot be written.
    """
    source = _mp4(path)
    with _guarded(source):
        shutil.copyfile(path, copy)
        with copy.open("r+b") as file:
            boxes.blank(file, copy.stat().st_size)


def _mp4(path: Path) -> Source:
    source = find(path)
    if source.format != "mp4":
        what = f"the file is {source.format}, not mp4"
        raise source.error("media.unsupported", what, why="run records are in mp4 files")
    return source


@contextmanager
def _guarded(source: Source) -> Iterator[None]:
    try:
        yield
    except BrokenBoxes as error:
        raise source.damaged(f"the file is broken: {error}") from None
    except OSError as error:
        raise source.error("media.unwritable", f"cannot copy the file: {error.strerror}") from error


READERS = (RecordReader((".mp4", ".m4v", ".mov"), read, strip),)
