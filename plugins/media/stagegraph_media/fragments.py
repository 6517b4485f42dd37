"""The fragments of an mp4 file: what its tracks are, where each fragment is, and of what time.

Nothing here needs PyAV, and nothing that a file says is believed before it is compared with the bytes that are there.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, Final

import attrs

from stagegraph_media.boxes import MOST_BOXES, Box, BrokenBoxes, boxes

_LONGEST_HEADER: Final = 2**22
_LONGEST_FRAGMENT_HEADER: Final = 2**26
_MOST_TRACKS: Final = 8
_KINDS: Final = {b"vide": "video", b"soun": "sound"}


@attrs.frozen
class Track:
    """A track as the header of a file has it.

    Attributes:
        id: its number.
        kind: "video", "sound" or something else.
        clock: ticks in a second.
        codec: the four letters of its format.
        form: (width, height) of pictures, (channels, Hz) of sound, as far as the header says.
        description: all that a decoder is told.
    """

    id: int
    kind: str
    clock: int
    codec: str
    form: tuple[int, int]
    description: bytes = attrs.field(repr=False)

    def __str__(self) -> str:
        first, second = self.form
        size = f"{first}x{second}" if self.kind == "video" else f"of {first} channels at {second} Hz"
        return f"{self.kind} {self.codec} {size}"


@attrs.frozen
class Span:
    """The time of a track in a fragment, in ticks, and how long its first sample lasts."""

    begin: int
    end: int
    step: int


@attrs.frozen
class Fragment:
    """A fragment: where it is in the file, and the time of each track that it has a part of."""

    start: int
    end: int
    spans: Mapping[int, Span]


@attrs.frozen
class Default:
    """What holds of a sample that says nothing else: how long it lasts, in ticks, and how many bytes it has."""

    step: int = 0
    size: int = 0


@attrs.frozen
class Fragmented:
    """A fragmented file.

    Attributes:
        tracks: by number.
        header: where the header ends, behind which the fragments begin.
        heads: the head of each fragment, `moof`.
        end: where the last complete fragment ends.
    """

    tracks: Mapping[int, Track]
    header: int
    heads: tuple[Box, ...]
    end: int
    _defaults: Mapping[int, Default]

    @classmethod
    def read(cls, file: BinaryIO, size: int) -> Fragmented:
        """Look at a file; what follows its last complete fragment is left out.

        Raises:
            BrokenBoxes: it is broken, or has no fragments.
        """
        movie: Box | None = None
        pending: Box | None = None
        heads: list[Box] = []
        end = 0
        for box in _whole(file, size):
            if box.kind == b"moov" and movie is None:
                movie = box
            elif box.kind == b"moof":
                pending = box
            elif box.kind == b"mdat" and pending is not None:
                if pending.end != box.start:
                    raise BrokenBoxes("something lies within a fragment")
                heads.append(pending)
                pending, end = None, box.end
        if movie is None or not heads or heads[0].start < movie.end:
            raise BrokenBoxes("it has no fragments")
        tracks, defaults = _header(file, movie)
        return cls(tracks, movie.end, tuple(heads), end, defaults)

    def fragments(self, file: BinaryIO) -> list[Fragment]:
        """All of them.

        Raises:
            BrokenBoxes: one is broken, or the time of a track does not go on from one to the next.
        """
        bounds = [head.start for head in self.heads[1:]] + [self.end]
        found = [
            Fragment(head.start, _data_end(file, head, bound), self._spans(file, head))
            for head, bound in zip(self.heads, bounds, strict=True)
        ]
        _joined(found)
        return found

    def ends(self, file: BinaryIO) -> dict[int, Span]:
        """The last span of each track.

        Raises:
            BrokenBoxes: a fragment is broken, or a track has none.
        """
        return self._first(file, reversed(self.heads))

    def begins(self, file: BinaryIO) -> dict[int, Span]:
        """The first span of each track.

        Raises:
            BrokenBoxes: a fragment is broken, or a track has none.
        """
        return self._first(file, self.heads)

    def _first(self, file: BinaryIO, heads: Iterable[Box]) -> dict[int, Span]:
        found: dict[int, Span] = {}
        for head in heads:
            found = {**self._spans(file, head), **found}
            if len(found) == len(self.tracks):
                return found
        raise BrokenBoxes("one of its tracks is empty")

    def _spans(self, file: BinaryIO, head: Box) -> dict[int, Span]:
        spans: dict[int, Span] = {}
        content = _content(file, head, _LONGEST_FRAGMENT_HEADER)
        places: list[tuple[int, int]] = []
        for kind, part in _inside(content):
            if kind == b"traf":
                number, span, runs = _span(dict(_inside(part)), part, self._defaults)
                if number not in self.tracks or number in spans:
                    raise BrokenBoxes("a fragment is of a track that the file does not have")
                spans[number] = span
                places += [(head.start + offset, head.start + offset + size) for offset, size in runs]
        data = next(boxes(file, head.end, self.end))
        if sorted(places) != _in_a_row(data.body, places) or max(end for _, end in places) != data.end:
            raise BrokenBoxes("the samples of a fragment are not the data behind it")
        return spans


def _whole(file: BinaryIO, size: int) -> Iterator[Box]:
    """The boxes of a file, up to one that is not complete, or reaches to the end wherever that is."""
    start = 0
    for _ in range(MOST_BOXES):
        file.seek(start)
        head = file.read(16)
        length, body = int.from_bytes(head[:4]), start + 8
        if length == 1:
            length, body = int.from_bytes(head[8:16]), start + 16
        if len(head) < 8 or not body <= start + length <= size:
            return
        yield Box(head[4:8], start, body, start + length)
        start += length
    raise BrokenBoxes(f"it has more than {MOST_BOXES} boxes")


def _data_end(file: BinaryIO, head: Box, bound: int) -> int:
    """Where the data of a fragment ends."""
    return next(box.end for box in boxes(file, head.end, bound))


def _joined(fragments: list[Fragment]) -> None:
    ends: dict[int, int] = {}
    for fragment in fragments:
        for number, span in fragment.spans.items():
            if ends.setdefault(number, span.begin) != span.begin:
                raise BrokenBoxes("a fragment does not begin when the one before ends")
            ends[number] = span.end


def _header(file: BinaryIO, movie: Box) -> tuple[dict[int, Track], dict[int, Default]]:
    """The tracks of a file, and what holds of the samples of each unless they say otherwise."""
    tracks: dict[int, Track] = {}
    defaults: dict[int, Default] = {}
    for kind, content in _inside(_content(file, movie, _LONGEST_HEADER)):
        if kind == b"trak":
            track = _track(content)
            tracks[track.id] = track
        elif kind == b"mvex":
            told = (c for k, c in _inside(content) if k == b"trex")
            defaults |= {_number(c, 4): Default(_number(c, 12), _number(c, 16)) for c in told}
    if not 1 <= len(tracks) <= _MOST_TRACKS:
        raise BrokenBoxes(f"it has {len(tracks)} tracks")
    return tracks, defaults


def _track(content: bytes) -> Track:
    parts = dict(_inside(content))
    media = dict(_inside(_part(parts, b"mdia")))
    table = dict(_inside(_part(dict(_inside(_part(media, b"minf"))), b"stbl")))
    kind = _KINDS.get(_part(media, b"hdlr")[8:12], "other")
    header, about = _part(parts, b"tkhd"), _part(media, b"mdhd")
    description = _part(table, b"stsd")
    # version, flags, count; then the entry: size, format, 6 + 2 bytes, and of pictures 16 more; of sound 8
    form = (_number(description, 40, 2), _number(description, 42, 2))
    if kind == "sound":
        form = (_number(description, 32, 2), _number(description, 40, 2))
    number = _number(header, 20) if header[0] == 1 else _number(header, 12)
    clock = _number(about, 20) if about[0] == 1 else _number(about, 12)
    codec = description[12:16].decode("latin-1")
    if not clock:
        raise BrokenBoxes("a track has no clock")
    return Track(number, kind, clock, codec if codec.isprintable() else repr(codec), form, description)


def _span(
    parts: Mapping[bytes, bytes], traf: bytes, defaults: Mapping[int, Default]
) -> tuple[int, Span, list[tuple[int, int]]]:
    """The number of a track, its time in a fragment, and its runs: where, from the start, and of how many bytes."""
    head, time = _part(parts, b"tfhd"), _part(parts, b"tfdt")
    flags, number = _number(head, 0) & 0xFFFFFF, _number(head, 4)
    default, at = defaults.get(number, Default()), 8 + 8 * bool(flags & 0x1) + 4 * bool(flags & 0x2)
    if flags & 0x8:
        default, at = attrs.evolve(default, step=_number(head, at)), at + 4
    if flags & 0x10:
        default = attrs.evolve(default, size=_number(head, at))
    begin = _number(time, 4, 8) if time[0] == 1 else _number(time, 4)
    if flags & 0x1 or not flags & 0x20000:
        raise BrokenBoxes("the place of a fragment's samples is not told from where it begins")
    runs = [_samples(content, default) for kind, content in _inside(traf) if kind == b"trun"]
    lengths = [length for run in runs for length in run.steps]
    if not lengths or begin >= 2**63:
        raise BrokenBoxes("a fragment is empty, or of no time")
    return number, Span(begin, begin + sum(lengths), lengths[0]), [(run.offset, sum(run.sizes)) for run in runs]


@attrs.frozen
class _Run:
    """Samples that lie one behind the other: where the first is, how long each lasts, how many bytes each has."""

    offset: int
    steps: list[int]
    sizes: list[int]


def _in_a_row(start: int, places: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Where places would be that lie one behind the other."""
    sizes = [end - begin for begin, end in sorted(places)]
    bounds = itertools.accumulate(sizes, initial=start)
    return list(itertools.pairwise(bounds))


def _samples(run: bytes, default: Default) -> _Run:
    flags, count = _number(run, 0) & 0xFFFFFF, _number(run, 4)
    at = 8 + 4 * bool(flags & 0x1) + 4 * bool(flags & 0x4)
    fields = [flag for flag in (0x100, 0x200, 0x400, 0x800) if flags & flag]
    if len(run) - at != 4 * len(fields) * count:
        raise BrokenBoxes("a fragment has another number of samples than it says")
    if count > _LONGEST_FRAGMENT_HEADER // 4:
        raise BrokenBoxes("a fragment has too many samples")
    told = struct.unpack_from(f">{len(fields) * count}I", run, at)

    def each(flag: int, otherwise: int) -> list[int]:
        return list(told[fields.index(flag) :: len(fields)]) if flag in fields else [otherwise] * count

    if not flags & 0x1:
        raise BrokenBoxes("a fragment does not say where its samples are")
    offset = struct.unpack_from(">i", run, 8)[0]
    return _Run(offset, each(0x100, default.step), each(0x200, default.size))


def _content(file: BinaryIO, box: Box, most: int) -> bytes:
    if box.end - box.body > most:
        raise BrokenBoxes(f"a header has more than {most} bytes")
    file.seek(box.body)
    content = file.read(box.end - box.body)
    if len(content) != box.end - box.body:
        raise BrokenBoxes("it ends early")
    return content


def _inside(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, content) of the boxes in a box."""
    at = 0
    while at + 8 <= len(content):
        length = int.from_bytes(content[at : at + 4])
        if not 8 <= length <= len(content) - at:
            raise BrokenBoxes("a box ends outside of what it is in")
        yield content[at + 4 : at + 8], content[at + 8 : at + length]
        at += length


def _part(parts: Mapping[bytes, bytes], kind: bytes) -> bytes:
    found = parts.get(kind)
    if not found:
        raise BrokenBoxes(f"it has no {kind.decode()}")
    return found


def _number(content: bytes, at: int, length: int = 4) -> int:
    found = content[at : at + length]
    if len(found) != length:
        raise BrokenBoxes("a box ends early")
    return int.from_bytes(found)


__all__ = ["Fragment", "Fragmented", "Span", "Track"]
