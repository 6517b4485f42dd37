"""Which format a file has, and whether all of it is there, by its outermost structure.

The reader tells FFmpeg which demuxer or decoder to use, so that no file can pick a playlist, a concat script or a
rarely used parser for itself. FFmpeg takes a file that ends early for one that is over; this module does not.
"""

from __future__ import annotations

import contextlib
import os
from typing import BinaryIO

from stagegraph_media.sounds.recording import BrokenSound
from stagegraph_media.sounds.tags import after_id3

#: Format -> FFmpeg's demuxer, for what holds video.
DEMUXERS = {"mp4": "mov", "matroska": "matroska"}
#: Format -> FFmpeg's demuxer, for what holds sound alone; see `sounds` for what it is shown of the file.
SOUND_DEMUXERS = {"wav": "wav", "flac": "flac", "mp3": "mp3", "ogg": "ogg"}
#: Format -> FFmpeg's decoder, for what holds one picture.
IMAGE_DECODERS = {"png": "png", "jpeg": "mjpeg", "webp": "webp"}

_HEAD_BYTES = 16
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
# A file of many tiny boxes would keep us busy; the rest of such a file is left to FFmpeg
_MOST_BOXES = 100_000


def sniff(file: BinaryIO) -> str | None:
    """The format by the first bytes, None for anything else.

    mp4 (QuickTime too), matroska (WebM too); wav (RF64 too), flac, mp3, ogg; png, jpeg, webp.
    """
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mp4"
    if head.startswith(_EBML):
        return "matroska"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    return _sniff_sound(file, head)


def _sniff_sound(file: BinaryIO, head: bytes) -> str | None:
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return "wav"
    if head.startswith(b"OggS"):
        return "ogg"
    if head.startswith(b"ID3"):  # as a rule MP3, but some programs put it before anything
        with contextlib.suppress(BrokenSound):
            file.seek(after_id3(file, file.seek(0, os.SEEK_END)))
            return "flac" if file.read(4) == b"fLaC" else "mp3"
        return "mp3"
    if head.startswith(b"fLaC"):
        return "flac"
    # A frame of MPEG audio: eleven ones, a version that there is, and layer III
    return "mp3" if head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE6 == 0xE2 and head[1] & 0x18 != 8 else None


def ends_early(format: str, file: BinaryIO, size: int) -> bool:
    """Whether a video file of `size` bytes announces more than it has."""
    return _mp4_end(file, size) > size if format == "mp4" else _matroska_end(file) > size


def _mp4_end(file: BinaryIO, size: int) -> int:
    """Where the last of the boxes that lie one after the other ends."""
    at = 0
    for _ in range(_MOST_BOXES):
        if at + 8 > size:
            break
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4])
        if length == 0:  # to the end of the file
            return size
        if length == 1:
            length = int.from_bytes(head[8:16])
        at += max(length, 8)
    return at


def _matroska_end(file: BinaryIO) -> int:
    """Where the segment ends, which is all but the header; 0 if it does not say (a live recording)."""
    file.seek(len(_EBML))
    header = _ebml_size(file)
    if header is None:
        return 0
    file.seek(header, 1)
    if file.read(len(_SEGMENT)) != _SEGMENT:
        return 0
    length = _ebml_size(file)
    return 0 if length is None else file.tell() + length


def _ebml_size(file: BinaryIO) -> int | None:
    """A number of 1 to 8 bytes, as many as its first byte has leading zero bits, plus 1; all ones means unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    extra = 8 - first[0].bit_length()
    mask = (1 << 7 * (extra + 1)) - 1
    value = int.from_bytes(first + file.read(extra)) & mask
    return None if value == mask else value
