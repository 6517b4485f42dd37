"""Segments become one video as they are: a file that grows, or one that is written at once. Needs no PyAV."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Final

import attrs

from stagegraph import durable
from stagegraph_media.boxes import BrokenBoxes, boxes
from stagegraph_media.errors import MediaError
from stagegraph_media.files import replacing
from stagegraph_media.fragments import Fragment, Fragmented, Span, Track
from stagegraph_media.sources import Limits, find

#: A box that reaches to the end of the file, whatever is there: readers pass it over.
_TO_THE_END: Final = bytes(4) + b"free"
_CHUNK: Final = 2**20


@attrs.frozen
class Part:
    """A segment: a file of fragments that has been looked at.

    Attributes:
        path: of the file.
        header: where its header ends.
        tracks: by number.
        fragments: in order.
    """

    path: Path
    header: int
    tracks: Mapping[int, Track]
    fragments: Sequence[Fragment]

    @classmethod
    def look(cls, path: Path) -> Part:
        """Look at a file.

        Raises:
            MediaError: it is no file of fragments, or damaged.
        """
        source = find(path, Limits())
        if not _is_fragmented(path):
            why = "only what media.write_segment writes is joined as it is"
            fix = "write all segments so, or leave fragmented out"
            raise source.error("media.not_joinable", "the file has no fragments", why=why, fix=fix)
        with source.path.open("rb") as file:
            try:
                found = Fragmented.read(file, file.seek(0, 2))
                part = cls(path, found.header, found.tracks, found.fragments(file))
                if part.begins.keys() != part.tracks.keys():
                    raise BrokenBoxes("one of its tracks is empty")
                return part
            except BrokenBoxes as error:
                raise source.damaged(f"the file is broken: {error}") from None

    @property
    def begins(self) -> dict[int, Span]:
        """The first span of each track."""
        return {number: span for fragment in reversed(self.fragments) for number, span in fragment.spans.items()}

    @property
    def ends(self) -> dict[int, Span]:
        """The last span of each track."""
        return {number: span for fragment in self.fragments for number, span in fragment.spans.items()}


@attrs.frozen
class Whole:
    """What a segment goes on from: the tracks that it must have, and the last span of each."""

    tracks: Mapping[int, Track]
    ends: Mapping[int, Span]

    @classmethod
    def before(cls, part: Part) -> Whole:
        """What a first segment goes on from: nothing that it would not fit."""
        return cls(part.tracks, {number: attrs.evolve(span, end=span.begin) for number, span in part.begins.items()})

    def then(self, part: Part) -> Whole:
        """With a segment behind it.

        Raises:
            MediaError: it does not go on from here.
        """
        wrong = self._other_tracks(part)
        why, fix = "segments have one size, one rate and one encoding", "make all segments with the same settings"
        if not wrong:
            wrong = self._other_time(part)
            why, fix = "each begins where the one before ends", "give all segments, in their order"
        if wrong:
            raise MediaError.of("media.not_joinable", wrong, where=str(part.path), why=why, fix=fix)
        return attrs.evolve(self, ends=part.ends)

    def _other_tracks(self, part: Part) -> str:
        tracks, others = _told(self.tracks), _told(part.tracks)
        if tracks != others:
            return f"the segment has {others}; those before have {tracks}"
        for number, track in self.tracks.items():
            other, begin = part.tracks[number], part.begins[number]
            rate, other_rate = (Fraction(t.clock, s.step or 1) for t, s in ((track, self.ends[number]), (other, begin)))
            if track.kind == "video" and rate != other_rate:
                return f"the segment has {other_rate} frames a second; those before have {rate}"
            if (track.clock, track.description) != (other.clock, other.description):
                return f"the {track.kind} of the segment is not encoded as that of those before"
        return ""

    def _other_time(self, part: Part) -> str:
        for number, track in self.tracks.items():
            begin, end = part.begins[number].begin, self.ends[number].end
            if begin != end:
                where = f"at {begin / track.clock:g} s; those before end at {end / track.clock:g} s"
                return f"the {track.kind} of the segment begins {where}"
        return ""


def _told(tracks: Mapping[int, Track]) -> str:
    return " and ".join(map(str, tracks.values()))


def concatenate(parts: Sequence[Path], target: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Write segments into one fragmented file, with the times that they have.

    The file replaces one of the same name when it is complete, and not before.

    Args:
        parts: files that `write_segment` wrote, in their order.
        target: the file.
        progress: called after each part with (parts written, parts in all).

    Raises:
        MediaError: they are not the segments of one video, or the file cannot be written.
    """
    if not parts:
        raise MediaError.of("media.not_joinable", "there is no part to join", where=str(target))
    with replacing(target) as draft, _told_about(target), draft.open("xb", buffering=0) as out:
        whole, count = None, 1
        for number, path in enumerate(parts, 1):
            part = Part.look(path)
            if whole is None:
                whole = Whole.before(part)
                with path.open("rb") as file:
                    _write(out, _bytes(file, 0, part.header))
            whole = whole.then(part)
            _write(out, _pieces(part, count))
            count += len(part.fragments)
            if progress:
                progress(number, len(parts))


def grow(path: Path, parts: Sequence[Path]) -> bool:
    """Bring a file up to date that holds the first of some segments, or does not exist yet.

    Whatever stops this, the file is a whole video: that of before, or the new one. What is appended stands behind the
    head of a box that readers pass over, until all of it is down on the disk; then that head is replaced.

    Args:
        path: the file; a file that is not of these segments is replaced.
        parts: all segments so far, in their order.

    Returns:
        Whether these are files that can grow together: fragmented ones.

    Raises:
        MediaError: they are not the segments of one video, or the file cannot be written.
    """
    if not parts or not _is_fragmented(parts[-1]):
        return False
    film = _opened(path)
    missing = _missing(film, parts) if film is not None else None
    if film is None or missing is None:
        concatenate(parts, path)
        return True
    whole = Whole(film.tracks, film.ends)
    for part in missing:
        whole = whole.then(part)
    if missing:
        with _told_about(path):
            _append(path, film, missing)
    return True


@attrs.frozen
class _Film:
    """A file that has grown: where its last fragment ends, and how many there are."""

    tracks: Mapping[int, Track]
    ends: Mapping[int, Span]
    end: int
    fragments: int


def _opened(path: Path) -> _Film | None:
    """The file as far as it is whole; None if there is none that could be gone on with."""
    try:
        with path.open("rb") as file:
            found = Fragmented.read(file, file.seek(0, 2))
            return _Film(found.tracks, found.ends(file), found.end, len(found.heads))
    except (OSError, BrokenBoxes):
        return None


def _missing(film: _Film, parts: Sequence[Path]) -> list[Part] | None:
    """The segments that come after what the file holds; None if it does not hold the others."""
    at = {number: span.end for number, span in film.ends.items()}
    missing: list[Part] = []
    for path in reversed(parts):
        part = Part.look(path)
        if {number: span.end for number, span in part.ends.items()} == at:
            return missing
        missing.insert(0, part)
    return None


def _append(path: Path, film: _Film, parts: Sequence[Part]) -> None:
    # Eight bytes that do not lie across two sectors of a disk are written or not, whatever happens
    filling = -film.end % 8 and 8 + -film.end % 8
    with path.open("rb+", buffering=0) as out:
        out.truncate(film.end)
        out.seek(film.end)
        try:
            if filling:
                _write(out, [filling.to_bytes(4) + b"free" + bytes(filling - 8)])
            pieces = _all_pieces(parts, film.fragments + 1)
            first = next(pieces)
            _write(out, [_TO_THE_END + first[8:]])
            _write(out, pieces)
            os.fsync(out.fileno())
        except BaseException:
            out.truncate(film.end)
            raise
        out.seek(film.end + filling)
        _write(out, [first[:8]])
        os.fsync(out.fileno())


def _all_pieces(parts: Sequence[Part], number: int) -> Iterator[bytes]:
    for part in parts:
        yield from _pieces(part, number)
        number += len(part.fragments)


def _pieces(part: Part, number: int) -> Iterator[bytes]:
    """The bytes of the fragments of a segment, which are numbered from `number` on."""
    with part.path.open("rb") as file:
        for count, fragment in enumerate(part.fragments, number):
            file.seek(fragment.start)
            head = bytearray(file.read(24))
            if head[12:16] == b"mfhd":  # behind it version and flags
                head[20:24] = count.to_bytes(4)
            yield bytes(head)
            yield from _bytes(file, fragment.start + len(head), fragment.end)


def _bytes(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    file.seek(start)
    while start < end:
        piece = file.read(min(_CHUNK, end - start))
        if not piece:
            raise BrokenBoxes("it ends early")
        start += len(piece)
        yield piece


def _write(out: BinaryIO, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        durable.write(out.fileno(), piece)


def _is_fragmented(path: Path) -> bool:
    source = find(path, Limits())
    with source.path.open("rb") as file, contextlib.suppress(BrokenBoxes):
        return any(box.kind == b"moof" for box in boxes(file, 0, file.seek(0, 2)))
    return False


@contextlib.contextmanager
def _told_about(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"cannot write the file: {error.strerror or error}"
        raise MediaError.of("media.unwritable", what, where=str(path)) from error
    except BrokenBoxes as error:
        raise MediaError.of("media.damaged", f"a segment is broken: {error}", where=str(path)) from error
