"""The boxes of an mp4 file as far as its tags are concerned: where they are, what one says, how all are blanked.

Nothing here needs PyAV, and nothing that a file says is believed before it is compared with the bytes that are there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

import attrs

#: A file of many tiny boxes would keep us busy.
MOST_BOXES = 100_000

#: What holds tags, and what tools leave behind where they have changed some.
_TAGS = {b"udta", b"meta", b"free", b"skip"}
#: Two kinds of `uuid` boxes that tell where a file comes from: XMP and C2PA.
_TELLING = {
    bytes.fromhex("be7acfcb97a942e89c71999491e3afac"),
    bytes.fromhex("d8fec3d61b0e483c92975828877ec481"),
}
_CHUNK = 2**20
_LONGEST_KEYS = 2**20


class BrokenBoxes(ValueError):
    """The boxes of a file do not fit into each other, or into the file."""


class TooLong(ValueError):
    """A tag is longer than the caller takes."""


@attrs.frozen
class Box:
    """A box, from `start` to `end`; its content begins at `body`."""

    kind: bytes
    start: int
    body: int
    end: int


def tag(file: BinaryIO, size: int, name: str, most: int) -> bytes | None:
    """What the tag of a name says, as UTF-8; None if the file does not have it.

    Args:
        file: an mp4 file of `size` bytes.
        size: its size.
        name: of the tag, as `use_metadata_tags` of FFmpeg writes it.
        most: bytes that are taken.

    Raises:
        BrokenBoxes: the file is broken.
        TooLong: the tag has more than `most` bytes.
    """
    for meta in _metas(file, size):
        inside = {box.kind: box for box in boxes(file, _first_in(file, meta), meta.end)}
        if b"keys" in inside and b"ilst" in inside:
            numbers = {key: number for number, key in enumerate(_keys(file, inside[b"keys"]), 1)}
            number = numbers.get(b"mdta" + name.encode())
            if number is not None:
                return _item(file, inside[b"ilst"], number.to_bytes(4), most)
    return None


def blank(file: BinaryIO, size: int) -> None:
    """Turn everything that holds tags into free space of zeros; nothing else changes, and nothing moves.

    Args:
        file: open for reading and writing.
        size: its size.

    Raises:
        BrokenBoxes: the file is broken; it may be blanked in part.
    """
    for box in list(_holding_tags(file, size)):
        file.seek(box.start + 4)
        file.write(b"free")
        file.seek(box.body)
        for at in range(box.body, box.end, _CHUNK):
            file.write(bytes(min(_CHUNK, box.end - at)))


def boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """The boxes that lie one after the other between two places.

    Raises:
        BrokenBoxes: one of them ends outside.
    """
    for _ in range(MOST_BOXES):
        if end - start < 8:  # QuickTime ends some lists with four zeros
            return
        length, kind = struct.unpack(">I4s", _read(file, start, 8))
        body, stop = start + 8, start + length
        if length == 0:
            stop = end
        elif length == 1:
            stop = start + int.from_bytes(_read(file, body, 8))
            body += 8
        if not body <= stop <= end:
            raise BrokenBoxes("a box ends outside of what it is in")
        yield Box(kind, start, body, stop)
        start = stop
    raise BrokenBoxes(f"it has more than {MOST_BOXES} boxes in one place")


def _metas(file: BinaryIO, size: int) -> Iterator[Box]:
    for movie in _children(file, Box(b"", 0, 0, size), b"moov"):
        yield from _children(file, movie, b"meta")
        for user in _children(file, movie, b"udta"):
            yield from _children(file, user, b"meta")


def _holding_tags(file: BinaryIO, size: int) -> Iterator[Box]:
    for box in boxes(file, 0, size):
        if _tells(file, box):
            yield box
        elif box.kind == b"moov":
            for inner in boxes(file, box.body, box.end):
                if _tells(file, inner):
                    yield inner
                elif inner.kind == b"trak":
                    yield from (part for part in boxes(file, inner.body, inner.end) if _tells(file, part))


def _tells(file: BinaryIO, box: Box) -> bool:
    if box.kind == b"uuid" and box.end - box.body >= 16:
        return _read(file, box.body, 16) in _TELLING
    return box.kind in _TAGS


def _children(file: BinaryIO, parent: Box, kind: bytes) -> Iterator[Box]:
    return (box for box in boxes(file, parent.body, parent.end) if box.kind == kind)


def _first_in(file: BinaryIO, meta: Box) -> int:
    """Where the first box in a `meta` is: behind four bytes of version and flags, which QuickTime leaves out."""
    if meta.end - meta.body < 8:
        return meta.end
    return meta.body if _read(file, meta.body + 4, 4) == b"hdlr" else meta.body + 4


def _keys(file: BinaryIO, box: Box) -> Iterator[bytes]:
    """Each key with its namespace before it."""
    if box.end - box.body > _LONGEST_KEYS:
        raise BrokenBoxes("the names of its tags are too long")
    content = _read(file, box.body, box.end - box.body)
    at = 8
    while at + 8 <= len(content):
        length = int.from_bytes(content[at : at + 4])
        if length < 8:
            raise BrokenBoxes("the names of its tags are broken")
        yield content[at + 4 : at + length]
        at += length


def _item(file: BinaryIO, items: Box, number: bytes, most: int) -> bytes | None:
    for item in _children(file, items, number):
        for data in _children(file, item, b"data"):
            length = data.end - data.body - 8  # behind its type and locale
            if length > most:
                raise TooLong(f"the tag has {length} bytes")
            return _read(file, data.body + 8, max(length, 0))
    return None


def _read(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    found = file.read(count)
    if len(found) != count:
        raise BrokenBoxes("it ends early")
    return found
