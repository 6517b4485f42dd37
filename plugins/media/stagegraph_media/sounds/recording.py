"""`Recording`: what the structure of a sound file says, before anything is decoded."""

from __future__ import annotations

from typing import BinaryIO

import attrs


class BrokenSound(ValueError):
    """A file that is not what its format requires; the text says why."""


class UnreadSound(ValueError):
    """A well-formed file with something that is not read here; the text says what."""


#: The text of a file of which a part is missing.
EARLY = "the file ends early"


@attrs.frozen
class Span:
    """Bytes of a file, from `start` to before `end`."""

    start: int
    end: int


@attrs.frozen
class Recording:
    """Where the sound of a file is, and how much of it.

    Attributes:
        pieces: what FFmpeg is to read, one after the other: bytes as they are, or spans of the file.
        sample_rate: Hz.
        num_channels: how many.
        num_samples: for each channel, at most; None if the file does not say.
        exact: whether `num_samples` is what decoding gives, no more and no less.
    """

    pieces: tuple[bytes | Span, ...]
    sample_rate: int
    num_channels: int
    num_samples: int | None = None
    exact: bool = False


def read_at(file: BinaryIO, at: int, count: int) -> bytes:
    """That many bytes from a place on.

    Raises:
        BrokenSound: the file has fewer.
    """
    file.seek(at)
    found = file.read(count)
    if len(found) != count:
        raise BrokenSound(EARLY)
    return found
