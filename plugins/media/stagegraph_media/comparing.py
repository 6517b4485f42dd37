"""`compare`: whether two videos, or two images, show and sound the same; and if not, how far apart they are.

Pictures are compared one by one as they are decoded, so that the length of a video does not matter.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import attrs
import av
import numpy as np
from numpy.typing import NDArray

from stagegraph_media import decoding
from stagegraph_media.decoding import Memory, Pictures
from stagegraph_media.formats import IMAGE_DECODERS
from stagegraph_media.reading import read_image
from stagegraph_media.sound import Sound
from stagegraph_media.sources import Limits, find
from stagegraph_media.values import Waveform

#: What is not kept in memory has no other limit than the time that it takes.
LIMITS = Limits(frames=10_000_000, decoded_bytes=2**50)


@attrs.frozen
class Stream:
    """How the pictures, or the sound, of two files compare.

    Attributes:
        identical: the same, from the first to the last.
        forms: what each is, in words: "96x64, 24 fps", "2 channels, 24000 Hz"; empty if it has none.
        counts: frames, or samples, of each.
        differing: how many of those that both have differ; None if the forms are too different to tell.
        first: the number, from 0, of the first that differs; None if none does.
        most: the largest difference: of 255 levels for pictures, of 1.0 for sound.
        psnr: over all that both have, in dB; None if they are equal there.
    """

    identical: bool
    forms: tuple[str, str]
    counts: tuple[int, int]
    differing: int | None = 0
    first: int | None = None
    most: float = 0.0
    psnr: float | None = None


@attrs.frozen
class Compared:
    """How two files compare; `sound` is None if neither has any."""

    pictures: Stream
    sound: Stream | None

    @property
    def identical(self) -> bool:
        """Whether both show and sound the same."""
        return self.pictures.identical and (self.sound is None or self.sound.identical)


def compare(first: Path, second: Path) -> Compared:
    """Decode and compare two videos or images.

    Raises:
        MediaError: one of them cannot be read.
    """
    with ExitStack() as stack:
        played = [_Played(path, stack) for path in (first, second)]
        pictures = _pictures(played[0], played[1])
        sounds = [one.waveform() for one in played]
    return Compared(pictures, _sound(*sounds) if any(sounds) else None)


class _Played:
    """A file that is decoded picture by picture; its sound is kept on the way."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        source = find(path, LIMITS)
        self.rate: Fraction | None = None
        self._sound: Sound | None = None
        self._kept: Pictures | None = None
        if source.format in IMAGE_DECODERS:
            self.pictures: Iterator[NDArray[np.uint8]] = iter([read_image(path).pixels])
            return
        container = stack.enter_context(decoding.opened(source, LIMITS))
        video, audio = decoding.main_streams(source, container)
        self.rate = video.average_rate or video.guessed_rate
        self._kept = Pictures(source, video, LIMITS, Memory(source, LIMITS))
        self._sound = Sound(source, audio, Memory(source, Limits())) if audio is not None else None
        frames = decoding.decoded(source, container, [video, audio] if audio is not None else [video], LIMITS)
        self.pictures = self._convert(frames, self._kept)

    def _convert(
        self, frames: Iterator[av.VideoFrame | av.AudioFrame], pictures: Pictures
    ) -> Iterator[NDArray[np.uint8]]:
        for frame in frames:
            if isinstance(frame, av.VideoFrame):
                yield pictures.convert(frame)
            elif self._sound is not None:
                self._sound.add(frame)

    def waveform(self) -> Waveform | None:
        """The sound, once all pictures are decoded."""
        if self._sound is None or self._kept is None:
            return None
        return self._sound.waveform(self._kept.start)


class _Difference:
    """Sums up how far arrays are apart."""

    def __init__(self, peak: float) -> None:
        self._peak = peak
        self._squares = 0.0
        self._values = 0
        self.most = 0.0

    def add(self, first: NDArray[Any], second: NDArray[Any]) -> None:
        """Take in two arrays that differ, of one shape."""
        apart = first.astype(np.float64) - second
        self._squares += float(np.square(apart).sum())
        self.most = max(self.most, float(np.abs(apart).max(initial=0)))

    def count(self, values: int) -> None:
        """Take in that many values, equal or not: the mean is over all."""
        self._values += values

    @property
    def psnr(self) -> float | None:
        """In dB; None if nothing differs."""
        if not self._squares:
            return None
        return 10 * math.log10(self._peak**2 * self._values / self._squares)


def _pictures(first: _Played, second: _Played) -> Stream:
    difference = _Difference(255)
    counts, shapes = [0, 0], ["", ""]
    differing: int | None = 0
    start: int | None = None
    for index, pair in enumerate(itertools.zip_longest(first.pictures, second.pictures)):
        for side, picture in enumerate(pair):
            if picture is not None:
                counts[side] += 1
                shapes[side] = shapes[side] or f"{picture.shape[1]}x{picture.shape[0]}"
        one, other = pair
        if one is None or other is None:
            continue
        if one.shape != other.shape:
            differing = None
            continue
        difference.count(one.size)
        if differing is not None and not np.array_equal(one, other):
            difference.add(one, other)
            differing += 1
            start = index if start is None else start
    rates = [one.rate for one in (first, second)]
    forms = [f"{shape}, {rate} fps" if rate else shape for shape, rate in zip(shapes, rates, strict=True)]
    same = forms[0] == forms[1] and counts[0] == counts[1] and differing == 0
    return _stream(same, forms, counts, differing, start, difference)


def _sound(first: Waveform | None, second: Waveform | None) -> Stream:
    forms = [f"{one.num_channels} channels, {one.sample_rate} Hz" if one else "" for one in (first, second)]
    counts = [one.num_samples if one else 0 for one in (first, second)]
    if first is None or second is None or forms[0] != forms[1]:
        return Stream(False, (forms[0], forms[1]), (counts[0], counts[1]), None)
    both = min(counts)
    one, other = first.samples[:, :both], second.samples[:, :both]
    apart = np.flatnonzero((one != other).any(0))
    difference = _Difference(1.0)
    difference.count(one.size)
    difference.add(one, other)
    start = int(apart[0]) if apart.size else None
    same = counts[0] == counts[1] and not apart.size
    return _stream(same, forms, counts, int(apart.size), start, difference)


def _stream(
    same: bool,
    forms: Sequence[str],
    counts: Sequence[int],
    differing: int | None,
    start: int | None,
    difference: _Difference,
) -> Stream:
    both, numbers = (forms[0], forms[1]), (counts[0], counts[1])
    return Stream(same, both, numbers, differing, start, difference.most, difference.psnr)
