"""`RecordReader`: a kind of file that carries the record of the run that made it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs


@attrs.frozen(eq=False)
class RecordReader:
    """How the run record is read from files of one kind, and how it is taken out of them.

    Files are untrusted: `read` and `strip` look at what is there before they believe what it says, and raise a
    `StagegraphError` for anything that they cannot make sense of.

    Attributes:
        suffixes: the endings of such files, in lower case: (".mp4", ".mov").
        read: (file, most bytes) -> the JSON text of the record as the file has it; None if it has none.
        strip: (file, copy): make the copy, which exists and is empty, the same file without the record and without any
            other tag; what else is in it stays as it is, byte by byte.
    """

    suffixes: tuple[str, ...]
    read: Callable[[Path, int], bytes | None]
    strip: Callable[[Path, Path], None]
