"""MP3: frames that follow one another, each with a header of four bytes, and nothing that holds them together.

So every header is looked at: FFmpeg would skip what is between two frames, and play on after what is missing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import BinaryIO

import attrs

from stagegraph_media.sounds.recording import EARLY, BrokenSound, Recording, Span, UnreadSound
from stagegraph_media.sounds.tags import after_id3, before_tags

_HEADER_BYTES = 4
_CHUNK = 2**16
# kbit/s by index; 0 would be a rate that only trying can tell
_MPEG1_RATES = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_RATES = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
# Hz of MPEG-1; MPEG-2 has a half, MPEG-2.5 a quarter
_SAMPLE_RATES = (44100, 48000, 32000)
_DIVISORS = {3: 1, 2: 2, 0: 4}
_MONO = 3
# Encoders whose notes FFmpeg goes by, and what a decoder adds to their delay
_TRUSTED = (b"LAME", b"Lavf", b"Lavc")
_DECODER_DELAY = 529


@attrs.frozen
class Frame:
    """What the header of a frame says; `length` in bytes, with the header."""

    sample_rate: int
    num_channels: int
    num_samples: int
    length: int

    @property
    def side_bytes(self) -> int:
        """Bytes between the header and where encoders put their notes."""
        mono, mpeg1 = self.num_channels == 1, self.num_samples == 1152
        return (17 if mono else 32) if mpeg1 else (9 if mono else 17)


@lru_cache(maxsize=1024)
def frame(head: bytes) -> Frame | None:
    """The frame that a header of four bytes begins; None if it is no header of layer III.

    Raises:
        UnreadSound: its length cannot be told.
    """
    if len(head) < _HEADER_BYTES or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    divisor = _DIVISORS.get(head[1] >> 3 & 3)
    rate, frequency = head[2] >> 4, head[2] >> 2 & 3
    if divisor is None or rate == 15 or frequency == 3:
        return None
    if rate == 0:
        raise UnreadSound("the frames have a free bit rate")
    samples, kbits = (1152, _MPEG1_RATES[rate]) if divisor == 1 else (576, _MPEG2_RATES[rate])
    hertz = _SAMPLE_RATES[frequency] // divisor
    length = samples // 8 * kbits * 1000 // hertz + (head[2] >> 1 & 1)
    return Frame(hertz, 1 if head[3] >> 6 == _MONO else 2, samples, length)


def look(file: BinaryIO, size: int) -> Recording:
    """Walk along the frames, between tags; see `sounds.look`."""
    start = _first(file, after_id3(file, size), size)
    end = before_tags(file, start, size)
    heads = _Window(file, end)
    head = heads.at(start, _CHUNK)
    first = frame(head[:_HEADER_BYTES])
    if first is None:
        raise BrokenSound("no MP3 frame is where the first must be")
    count, at = 0, start
    while at < end:
        head = heads.at(at, _HEADER_BYTES)
        found = frame(head)
        if found is None or found.sample_rate != first.sample_rate:
            if not heads.zeros_from(at):
                raise BrokenSound(f"what follows frame {count} is no frame, at byte {at}")
            break
        if at + found.length > end:
            raise BrokenSound(EARLY)
        at += found.length
        count += 1
    notes = _notes(heads.at(start, first.length), first)
    if notes is None:
        return _recording(first, Span(start, at), count)
    if notes.num_frames > count - notes.trusted:
        raise BrokenSound(EARLY)
    if not notes.trusted or notes.num_frames < count - 1:
        return _recording(first, Span(start, at), count - 1)
    heard = (count - 1) * first.num_samples - notes.skipped_first - notes.skipped_last
    return Recording((Span(start, at),), first.sample_rate, first.num_channels, max(heard, 0), exact=True)


def _recording(first: Frame, span: Span, count: int) -> Recording:
    return Recording((span,), first.sample_rate, first.num_channels, count * first.num_samples)


def _first(file: BinaryIO, at: int, size: int) -> int:
    """The first byte that is not zero: some programs leave room behind their tags."""
    while at < size:
        file.seek(at)
        chunk = file.read(_CHUNK)
        rest = chunk.lstrip(b"\0")
        at += len(chunk) - len(rest)
        if rest:
            return at
    raise BrokenSound(EARLY)


@attrs.frozen
class _Notes:
    """What an encoder says in a first frame that is no sound; 0 where it does not say.

    `trusted` are notes of encoders that count the frames without this one, and tell how many samples they have added
    before and behind the sound.
    """

    num_frames: int
    trusted: bool = False
    skipped_first: int = 0
    skipped_last: int = 0


def _notes(first: bytes, frame: Frame) -> _Notes | None:
    if first[36:40] == b"VBRI":
        return _Notes(int.from_bytes(first[50:54]))
    notes = first[_HEADER_BYTES + frame.side_bytes :]
    if notes[:4] not in (b"Xing", b"Info"):
        return None
    flags, at, num_frames = int.from_bytes(notes[4:8]), 8, 0
    if flags & 1:
        num_frames = int.from_bytes(notes[at : at + 4])
    at += sum(size for bit, size in ((1, 4), (2, 4), (4, 100), (8, 4)) if flags & bit)
    if not num_frames or notes[at : at + 4] not in _TRUSTED:
        return _Notes(num_frames)
    delay_and_padding = int.from_bytes(notes[at + 21 : at + 24])
    delay, padding = delay_and_padding >> 12, delay_and_padding & 0xFFF
    return _Notes(num_frames, True, delay + _DECODER_DELAY, max(padding - _DECODER_DELAY, 0))


class _Window:
    """Reads a file in order, in large pieces."""

    def __init__(self, file: BinaryIO, end: int) -> None:
        self._file = file
        self._end = end
        self._start = 0
        self._chunk = b""

    def at(self, place: int, count: int) -> bytes:
        """At most that many bytes, fewer at the end."""
        count = min(count, self._end - place)
        offset = place - self._start
        if offset < 0 or offset + count > len(self._chunk):
            self._file.seek(place)
            self._chunk = self._file.read(min(max(count, _CHUNK), self._end - place))
            self._start, offset = place, 0
        return self._chunk[offset : offset + count]

    def zeros_from(self, place: int) -> bool:
        """Whether nothing but zeros follows."""
        return not any(self.at(at, _CHUNK).strip(b"\0") for at in range(place, self._end, _CHUNK))
