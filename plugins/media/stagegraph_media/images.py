"""What an image file says before it is decoded: its size, and how to turn it.

FFmpeg would learn the size by decoding, which is too late for a file that claims 65535 x 65535 pixels.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import attrs

_WEBP_ANIMATED = 0x02
# Start-of-frame markers; C4, C8 and CC in that range mean something else
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_JPEG_APP1, _JPEG_SCAN, _JPEG_END = 0xE1, 0xDA, b"\xff\xd9"
_EXIF = b"Exif\0\0"
_EXIF_ORIENTATION, _EXIF_SHORT = 0x0112, 3


class BrokenHeader(ValueError):
    """The header of an image is not what its format requires."""


class Animated(ValueError):
    """An image file with more than one picture."""


@attrs.frozen
class Header:
    """Height and width of the stored picture, and its EXIF orientation: 1 to 8, 1 is upright."""

    height: int
    width: int
    orientation: int


def header(format: str, data: bytes) -> Header:
    """The header of a whole PNG, JPEG or WebP file.

    Raises:
        BrokenHeader: there is no size in it, the size is zero, or the file ends before it should.
        Animated: it is an animated WebP.
    """
    size, exif = {"png": (_png_size, _png_exif), "jpeg": (_jpeg_size, _jpeg_exif), "webp": (_webp_size, _webp_exif)}[
        format
    ]
    try:
        height, width = size(data)
    except (struct.error, IndexError):
        raise BrokenHeader("the header ends early") from None
    if not height or not width:
        raise BrokenHeader(f"the header says {width}x{height}")
    try:
        orientation = _orientation(exif(data))
    except (struct.error, IndexError):  # broken notes about a picture do not make the picture unreadable
        orientation = 1
    return Header(height, width, orientation)


def _png_size(data: bytes) -> tuple[int, int]:
    kind, width, height = struct.unpack_from(">4sII", data, 12)
    if kind != b"IHDR":
        raise BrokenHeader("the first chunk is not IHDR")
    return height, width


def _png_exif(data: bytes) -> bytes:
    at = 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"eXIf":
            return data[at + 8 : at + 8 + length]
        at += length + 12
    return b""


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, where its body begins, where it ends) up to and with the start of the pixels."""
    at = 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # filling
            at += 1
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        yield marker, at + 4, at + 2 + length
        if marker == _JPEG_SCAN:
            return
        at += 2 + length
    raise BrokenHeader("there is no marker where one must be")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    size = None
    for marker, begin, end in _jpeg_segments(data):
        if marker in _JPEG_FRAMES:
            size = struct.unpack_from(">HH", data, begin + 1)
        # The decoder paints what is missing grey and reports nothing
        if marker == _JPEG_SCAN and data.rfind(_JPEG_END, end) < 0:
            raise BrokenHeader("the file ends early")
    if size is None:
        raise BrokenHeader("the pixels come before their size")
    height, width = size
    return height, width


def _jpeg_exif(data: bytes) -> bytes:
    for marker, begin, end in _jpeg_segments(data):
        if marker == _JPEG_APP1 and data.startswith(_EXIF, begin):
            return data[begin:end]
    return b""


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        width_bytes, height_bytes = data[24:27], data[27:30]
        if data[20] & _WEBP_ANIMATED:
            raise Animated("the file is an animation")
        if len(height_bytes) < 3:
            raise BrokenHeader("the header ends early")
        return int.from_bytes(height_bytes, "little") + 1, int.from_bytes(width_bytes, "little") + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return height & 0x3FFF, width & 0x3FFF
    raise BrokenHeader("the first chunk is not VP8, VP8L or VP8X")


def _webp_exif(data: bytes) -> bytes:
    at = 12
    while at < len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        if kind == b"EXIF":
            return data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    return b""


def _orientation(exif: bytes) -> int:
    """The orientation in a TIFF header, which some formats put behind the word Exif; 1 if there is none."""
    tiff = exif.removeprefix(_EXIF)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    (at,) = struct.unpack_from(f"{order}I", tiff, 4)
    (count,) = struct.unpack_from(f"{order}H", tiff, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
        if tag == _EXIF_ORIENTATION:
            return int(value) if kind == _EXIF_SHORT and 1 <= value <= 8 else 1
    return 1
