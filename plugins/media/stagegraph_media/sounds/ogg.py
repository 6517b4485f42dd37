"""Ogg: pages with check sums and numbers. FFmpeg skips a page that is damaged, and misses none that is not there."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import attrs

from stagegraph_media.sounds.recording import EARLY, BrokenSound, Recording, Span, UnreadSound, read_at

_HEADER = struct.Struct("<4sBBqIIIB")
_FIRST, _LAST = 2, 4
_OPUS_RATE = 48_000
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@attrs.frozen
class _Page:
    """`granule` counts samples, or something else, up to its end; -1 if no packet ends in it."""

    flags: int
    granule: int
    serial: int
    number: int
    body: bytes


def look(file: BinaryIO, size: int) -> Recording:
    """Check every page; see `sounds.look`."""
    first: dict[int, _Page] = {}
    last: dict[int, _Page] = {}
    ends: dict[int, int] = {}
    begun = False
    for page in _pages(file, size):
        serial = page.serial
        if page.flags & _FIRST:
            if serial in first or begun:
                raise UnreadSound("the file holds several recordings, one after the other")
            first[serial] = page
        elif serial not in first:
            raise BrokenSound("a stream has no beginning")
        elif page.number != last[serial].number + 1:
            raise BrokenSound("a page is missing")
        begun = begun or not page.flags & _FIRST
        last[serial] = page
        ends[serial] = max(ends.get(serial, 0), page.granule)
    if any(not page.flags & _LAST for page in last.values()):
        raise BrokenSound(EARLY)
    for serial, page in first.items():
        told = _described(page.body)
        if told is not None:
            rate, channels, skipped = told
            return Recording((Span(0, size),), rate, channels, max(ends[serial] - skipped, 0))
    raise UnreadSound("the file has no sound in Opus, Vorbis or FLAC")


def _described(body: bytes) -> tuple[int, int, int] | None:
    """(sample rate, channels, samples that are not heard) from the first packet of a stream; None if it is no sound."""
    if body.startswith(b"OpusHead") and len(body) >= 12:
        return _OPUS_RATE, body[9], int.from_bytes(body[10:12], "little")
    if body.startswith(b"\x01vorbis") and len(body) >= 16:
        return int.from_bytes(body[12:16], "little"), body[11], 0
    if body.startswith(b"\x7fFLAC") and len(body) >= 35:
        packed = int.from_bytes(body[27:31])
        return packed >> 12, (packed >> 9 & 7) + 1, 0
    return None


def _pages(file: BinaryIO, size: int) -> Iterator[_Page]:
    at = 0
    while at < size:
        head = read_at(file, at, _HEADER.size)
        magic, version, flags, granule, serial, number, checksum, segments = _HEADER.unpack(head)
        if magic != b"OggS" or version:
            raise BrokenSound(f"no page is where the next must be, at byte {at}")
        lengths = read_at(file, at + _HEADER.size, segments)
        body = read_at(file, at + _HEADER.size + segments, sum(lengths))
        if _checksum(head[:22] + bytes(4) + head[26:] + lengths + body) != checksum:
            raise BrokenSound(f"a page is damaged, at byte {at}")
        yield _Page(flags, granule, serial, number, body)
        at += _HEADER.size + segments + len(body)


def _checksum(page: bytes) -> int:
    """CRC-32 with the bits of each byte in the other order than zlib's, begun with 0 and not inverted."""
    mirrored = ~zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) & 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_REVERSED))
