"""FLAC: a header that tells the length, tags, and frames with check sums, which FFmpeg looks at."""

from __future__ import annotations

from typing import BinaryIO

from stagegraph_media.sounds.recording import EARLY, BrokenSound, Recording, Span, read_at
from stagegraph_media.sounds.tags import after_id3, before_tags

_MAGIC = b"fLaC"
_LAST = 0x80
_STREAMINFO_BYTES = 34
_MOST_BLOCKS = 100_000


def look(file: BinaryIO, size: int) -> Recording:
    """Find the frames, behind cover pictures and other tags; see `sounds.look`."""
    at = after_id3(file, size) + len(_MAGIC)
    info = b""
    for number in range(_MOST_BLOCKS):
        head = read_at(file, at, 4)
        length = int.from_bytes(head[1:])
        if number == 0:
            if head[0] & ~_LAST or length != _STREAMINFO_BYTES:
                raise BrokenSound("the first block is not the one that describes the sound")
            info = read_at(file, at + 4, length)
        at += 4 + length
        if at > size:
            raise BrokenSound(EARLY)
        if head[0] & _LAST:
            break
    else:
        raise BrokenSound(f"it has more than {_MOST_BLOCKS} blocks of tags")
    # 20 bits of rate, 3 of channels, 5 of depth, 36 of length
    packed = int.from_bytes(info[10:18])
    rate, channels, length = packed >> 44, (packed >> 41 & 7) + 1, packed & (1 << 36) - 1
    if not rate:
        raise BrokenSound("the header says 0 Hz")
    head = _MAGIC + bytes([_LAST]) + _STREAMINFO_BYTES.to_bytes(3) + info
    return Recording((head, Span(at, before_tags(file, at, size))), rate, channels, length or None, exact=bool(length))
