"""Deflate and its checksums by the fastest library that is installed: ISA-L, else zlib. The same format either way."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import attrs

from stagegraph_ltx2.errors import problem

Chunk = bytes | bytearray | memoryview

#: Deflate with a window of at most 32 KiB, and no preset dictionary.
_METHOD, _MAX_WINDOW, _DICTIONARY = 8, 7, 0x20


@attrs.frozen(eq=False)
class Deflate:
    """One library.

    Attributes:
        name: of it.
        compress: gives a zlib stream, quickly rather than small; lets other threads run.
        inflater: makes what `inflate` asks: an object like those of `zlib.decompressobj`.
        crc32: of some bytes, going on from another.
        errors: that it raises for a damaged stream.
    """

    name: str
    compress: Callable[[Chunk], bytes]
    inflater: Callable[[], Any]
    crc32: Callable[[Chunk, int], int]
    errors: tuple[type[Exception], ...]

    def inflate(self, stream: Chunk, size: int) -> bytes:
        """The content of a zlib stream that has exactly `size` bytes and ends where its content does.

        Raises:
            StructureError: it is damaged, has fewer bytes or more, or goes on behind them.
        """
        head = bytes(stream[:2])
        if len(head) < 2 or int.from_bytes(head, "big") % 31 or head[0] & 15 != _METHOD or head[0] >> 4 > _MAX_WINDOW:
            raise problem("bad_png", "its image data are no zlib stream")
        if head[1] & _DICTIONARY:
            raise problem("bad_png", "its image data want a preset dictionary", "PNG has none")
        inflater = self.inflater()
        try:
            content: bytes = inflater.decompress(stream, size + 1)
        except self.errors as error:
            raise problem("bad_png", f"its image data are damaged: {error}") from None
        if len(content) != size or not inflater.eof:
            more = "more" if len(content) > size else f"{len(content)}"
            raise problem("bad_png", f"its image data have {more} bytes", f"its size asks for {size}")
        if inflater.unused_data:
            raise problem("bad_png", "its image data go on behind their end")
        return content


def _rle(content: Chunk) -> bytes:
    # of filtered rows, runs are all that is worth looking for: half the time of level 1, and smaller
    compressor = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    return compressor.compress(content) + compressor.flush()


#: What every Python brings along.
ZLIB: Final = Deflate("zlib", _rle, zlib.decompressobj, zlib.crc32, (zlib.error,))


@cache
def isal() -> Deflate | None:
    """ISA-L, if it is installed: three times as fast."""
    try:
        from isal import isal_zlib
    except ImportError:
        return None
    return Deflate(
        "isal",
        lambda content: bytes(isal_zlib.compress(content, 1)),
        isal_zlib.decompressobj,
        isal_zlib.crc32,
        (isal_zlib.IsalError, zlib.error),  # type: ignore[arg-type]
    )


def fastest() -> Deflate:
    """The fastest that is installed."""
    return isal() or ZLIB
