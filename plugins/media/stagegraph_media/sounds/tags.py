"""Tags around a sound: where ID3 and APE tags begin and end. What they say is not looked at."""

from __future__ import annotations

from typing import BinaryIO

from stagegraph_media.sounds.recording import EARLY, BrokenSound, read_at

_ID3_HEADER, _ID3_FOOTER_FLAG = 10, 0x10
_ID3V1_BYTES = 128
_APE_BYTES, _APE_HEADER_FLAG = 32, 2**31
_LYRICS_END, _LYRICS_SIZE_DIGITS = b"LYRICS200", 6
# Each is read once; a file of nothing but tags would keep us busy
_MOST_TAGS = 64


def after_id3(file: BinaryIO, size: int) -> int:
    """Where what follows the ID3v2 tags at the start begins; 0 if there are none.

    Raises:
        BrokenSound: a tag is longer than the file.
    """
    at = 0
    for _ in range(_MOST_TAGS):
        file.seek(at)
        head = file.read(_ID3_HEADER)
        if len(head) < _ID3_HEADER or not head.startswith(b"ID3"):
            break
        if max(head[6:10]) > 0x7F:
            raise BrokenSound("the length of an ID3 tag is no such number")
        length = sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        at += _ID3_HEADER + length + (_ID3_HEADER if head[5] & _ID3_FOOTER_FLAG else 0)
        if at > size:
            raise BrokenSound(EARLY)
    return at


def before_tags(file: BinaryIO, start: int, end: int) -> int:
    """Where the ID3v1, APE and Lyrics3 tags begin that a file from `start` to `end` ends with; `end` if there are none.

    Raises:
        BrokenSound: a tag is longer than the file.
    """
    for _ in range(_MOST_TAGS):
        length = _last_tag(file, start, end)
        if not length:
            break
        end -= length
        if end < start:
            raise BrokenSound(EARLY)
    return end


def _last_tag(file: BinaryIO, start: int, end: int) -> int:
    """How long the tag is that ends there; 0 if there is none."""
    if end - start >= _ID3V1_BYTES and read_at(file, end - _ID3V1_BYTES, 3) == b"TAG":
        return _ID3V1_BYTES
    if end - start < _APE_BYTES:
        return 0
    tail = read_at(file, end - _APE_BYTES, _APE_BYTES)
    if tail.startswith(b"APETAGEX"):
        flags = int.from_bytes(tail[20:24], "little")
        header = _APE_BYTES if flags & _APE_HEADER_FLAG else 0
        return max(int.from_bytes(tail[12:16], "little"), _APE_BYTES) + header
    if tail.endswith(_LYRICS_END):
        size = tail[-len(_LYRICS_END) - _LYRICS_SIZE_DIGITS : -len(_LYRICS_END)]
        return (int(size) if size.isdigit() else 0) + _LYRICS_SIZE_DIGITS + len(_LYRICS_END)
    return 0
