"""Frames as PNG files: 8-bit RGB, not interlaced, and nothing else in the file than the picture.

What is written any reader opens. What is read is checked chunk by chunk before it is inflated, to exactly the bytes
that its size asks for. Pillow reads the rows of other encoders, but only from a file that was made here of them.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Final

from stagegraph.serde import Problem, StructureError
from stagegraph_ltx2.continuation.deflate import Chunk, Deflate
from stagegraph_ltx2.continuation.limits import Limits
from stagegraph_ltx2.errors import problem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

#: Bytes that tell the size: the signature and the first chunk.
HEAD_BYTES: Final = 33

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
#: Bit depth, colour type RGB, and the only compression, filters and interlacing that are read.
_KIND: Final = (8, 2, 0, 0, 0)
_NONE, _SUB, _UP = 0, 1, 2
_PAETH: Final = 4
_KINDS: Final = b"IHDR", b"IDAT", b"IEND"
_WHY: Final = "must be a PNG file of 8-bit RGB, not interlaced, with only IHDR, IDAT and IEND"


def encode(pixels: Pixels, deflate: Deflate) -> bytes:
    """A frame [h, w, 3] as a file: every row as its difference from the one above or from the pixel to the left."""
    height, width, _ = pixels.shape
    head = struct.pack(">II5B", width, height, *_KIND)
    stream = deflate.compress(_filtered(pixels))
    return b"".join(
        [_SIGNATURE, *_chunk(b"IHDR", head, deflate), *_chunk(b"IDAT", stream, deflate), *_chunk(b"IEND", b"", deflate)]
    )


def size(head: Chunk, limits: Limits) -> tuple[int, int]:
    """Height and width, from the first bytes of a file.

    Raises:
        StructureError: it is no PNG file of the kind that is read, or too large.
    """
    if bytes(head[:8]) != _SIGNATURE:
        raise problem("bad_png", "it does not begin like a PNG file", _WHY)
    if len(head) < HEAD_BYTES or bytes(head[8:16]) != b"\0\0\0\rIHDR":
        raise problem("bad_png", "its first chunk is not IHDR", _WHY)
    if zlib.crc32(head[12:29]) != int.from_bytes(head[29:33], "big"):
        raise problem("bad_png", "the checksum of its IHDR is wrong", "it is damaged")
    width, height, *kind = struct.unpack(">II5B", head[16:29])
    if tuple(kind) != _KIND:
        raise problem("bad_png", f"its bit depth, colour type and methods are {kind}", _WHY)
    if not width or not height:
        raise problem("bad_png", f"it has {width}x{height} pixels", "must have some")
    if max(width, height) > limits.max_side or width * height > limits.max_frame_pixels:
        why = f"must have at most {limits.max_side} a side and {limits.max_frame_pixels} in all"
        raise StructureError([Problem((), "too_large", f"a frame has {width}x{height} pixels", why)])
    return height, width


def decode(data: Chunk, limits: Limits, deflate: Deflate) -> Pixels:
    """The pixels [h, w, 3] of a file.

    Raises:
        StructureError: it is no PNG file of the kind that is read, too large, or damaged.
    """
    import numpy as np

    height, width = size(data[:HEAD_BYTES], limits)
    rows = deflate.inflate(_stream(memoryview(data), limits, deflate), height * (1 + 3 * width))
    raw = np.frombuffer(rows, np.uint8).reshape(height, 1 + 3 * width)
    filters = raw[:, 0]
    if filters.max() > _PAETH:
        raise problem("bad_png", f"a row has the filter {filters.max()}", f"must be at most {_PAETH}")
    if (filters[1:] == _UP).all() and filters[0] in (_NONE, _UP):
        return _running_sum(raw[:, 1:]).reshape(height, width, 3)
    if (filters == _SUB).all():
        return np.add.accumulate(raw[:, 1:].reshape(height, width, 3), axis=1, dtype=np.uint8)
    return _by_pillow(rows, height, width)


def _filtered(pixels: Pixels) -> Chunk:
    import numpy as np

    height, width, _ = pixels.shape
    flat = pixels.reshape(height, 3 * width)
    rows = np.empty((height, 1 + 3 * width), np.uint8)
    # a look at every eighth row tells which differences are smaller; those from above are summed faster
    up = flat[1::8] - flat[: height - 1 : 8]
    left = flat[::8, 3:] - flat[::8, :-3]
    if height > 1 and (width == 1 or _mean(up) <= 1.05 * _mean(left)):
        rows[:, 0], rows[0, 1:] = _UP, flat[0]
        np.subtract(flat[1:], flat[:-1], out=rows[1:, 1:])
    else:
        rows[:, 0], rows[:, 1:4] = _SUB, flat[:, :3]
        np.subtract(flat[:, 3:], flat[:, :-3], out=rows[:, 4:])
    return rows.reshape(-1).data


def _mean(differences: Pixels) -> float:
    import numpy as np

    return float(np.abs(differences.view(np.int8).astype(np.int16)).mean())


def _running_sum(rows: Pixels) -> Pixels:
    """Row by row the sum of all rows so far, in few steps over many rows: blocks first, then what precedes each."""
    import numpy as np

    height = len(rows)
    block = max(1, int(height**0.5))
    whole = height // block * block
    sums = np.empty_like(rows, order="C")
    blocks, into = rows[:whole].reshape(-1, block, rows.shape[1]), sums[:whole].reshape(-1, block, rows.shape[1])
    into[:, 0] = blocks[:, 0]
    for row in range(1, block):
        np.add(into[:, row - 1], blocks[:, row], out=into[:, row])
    for number in range(1, len(into)):
        into[number] += into[number - 1, -1]
    for row in range(whole, height):
        np.add(sums[row - 1], rows[row], out=sums[row])
    return sums


def _by_pillow(rows: bytes, height: int, width: int) -> Pixels:
    import numpy as np
    from PIL import Image

    from stagegraph_ltx2.continuation.deflate import ZLIB

    head = struct.pack(">II5B", width, height, *_KIND)
    chunks = [*_chunk(b"IHDR", head, ZLIB), *_chunk(b"IDAT", zlib.compress(rows, 0), ZLIB), *_chunk(b"IEND", b"", ZLIB)]
    with Image.open(io.BytesIO(b"".join([_SIGNATURE, *chunks])), formats=("PNG",)) as image:
        return np.array(image)


def _chunk(kind: bytes, data: bytes, deflate: Deflate) -> list[bytes]:
    checksum = deflate.crc32(data, zlib.crc32(kind))
    return [len(data).to_bytes(4, "big") + kind, data, checksum.to_bytes(4, "big")]


def _stream(view: memoryview, limits: Limits, deflate: Deflate) -> Chunk:
    """The content of the IDAT chunks; every chunk checked, and that there is nothing else."""
    parts: list[memoryview] = []
    position, count, kind = HEAD_BYTES, 1, b"IHDR"
    while kind != b"IEND":
        count += 1
        if count > limits.max_png_chunks:
            what = f"a frame has more than {limits.max_png_chunks} chunks"
            raise StructureError([Problem((), "too_large", what, "pictures have a few")])
        if position + 12 > len(view):
            raise problem("bad_png", f"it ends at byte {len(view)}, before its IEND", "it is cut short")
        length = int.from_bytes(view[position : position + 4], "big")
        end = position + 8 + length
        if end + 4 > len(view):
            raise problem("bad_png", f"a chunk of {length} bytes at byte {position}", "the file ends before that")
        kind = bytes(view[position + 4 : position + 8])
        if kind not in _KINDS[1:] or (kind == b"IEND" and length):
            raise problem("bad_png", f"it has a chunk {ascii(kind)[2:-1]} of {length} bytes at byte {position}", _WHY)
        checksum = int.from_bytes(view[end : end + 4], "big")
        if deflate.crc32(view[position + 8 : end], zlib.crc32(kind)) != checksum:
            raise problem("bad_png", f"the checksum of the chunk at byte {position} is wrong", "it is damaged")
        if kind == b"IDAT":
            parts.append(view[position + 8 : end])
        position = end + 4
    if position != len(view):
        raise problem("bad_png", f"it goes on behind its end, at byte {position}", _WHY)
    if not parts:
        raise problem("bad_png", "it has no IDAT", _WHY)
    return parts[0] if len(parts) == 1 else b"".join(parts)
