"""`Spliced`: a file made of pieces of another, for FFmpeg to read."""

from __future__ import annotations

import bisect
import itertools
import os
from collections.abc import Sequence
from typing import BinaryIO

from stagegraph_media.sounds.recording import Span


class Spliced:
    """Reads pieces one after the other, as one file; the file that spans refer to stays the caller's."""

    def __init__(self, file: BinaryIO, pieces: Sequence[bytes | Span]) -> None:
        self._file = file
        self._pieces = pieces
        lengths = (len(piece) if isinstance(piece, bytes) else piece.end - piece.start for piece in pieces)
        self._starts = [0, *itertools.accumulate(lengths)]  # and the end of the last
        self._at = 0

    def read(self, count: int = -1) -> bytes:
        """Bytes from here on, of one piece at most; none at the end."""
        if self._at >= self._starts[-1]:
            return b""
        index = bisect.bisect_right(self._starts, self._at) - 1
        piece, offset = self._pieces[index], self._at - self._starts[index]
        left = self._starts[index + 1] - self._at
        count = left if count < 0 else min(count, left)
        if isinstance(piece, bytes):
            found = piece[offset : offset + count]
        else:
            self._file.seek(piece.start + offset)
            found = self._file.read(count)
        self._at += len(found)
        return found

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place: from the start, from here, or from the end."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._starts[-1]}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at
