"""From decoded pieces of sound to a `Waveform`: each in its place, nothing that an encoder has added."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import attrs
import av
import numpy as np
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from stagegraph_media.decoding import Memory, time_of
from stagegraph_media.sources import Source
from stagegraph_media.values import MAX_CHANNELS, Waveform

FLOAT32_BYTES = 4
# Timestamps of sound that are off by less are jitter, not a gap; in seconds
_JITTER = Fraction(1, 20)
# Encoders fill up their last block, and mp4 says where the sound really ends; more samples than a block are no filling
LONGEST_FILLING = 4096
# Many programs count the length of an mp4 file in 1/1000 or 1/600 of a second, and only that of its last block exactly
_COARSE = Fraction(1, 500)


@attrs.frozen
class Piece:
    """Sound `[c, s]` of one packet.

    Attributes:
        samples: what was decoded.
        time: in seconds; None if it follows the piece before.
        filling: how many of the samples are after the end that the file tells for this packet.
    """

    samples: NDArray[np.float32]
    time: Fraction | None
    filling: int = 0

    def place(self, origin: Fraction, rate: int, at: int | None) -> int:
        """The number of its first sample, counted from a time.

        Args:
            origin: the time, in seconds.
            rate: Hz.
            at: where the piece before ends; None if there is none.

        Raises:
            ValueError: it begins long before that.
        """
        if self.time is None:
            return at or 0
        wanted = round((self.time - origin) * rate)
        if at is None or wanted - at > _JITTER * rate:
            return wanted
        if at - wanted > _JITTER * rate:
            raise ValueError("the sound goes back in time")
        return at


class Sound:
    """Collects the sound of a video; `rate` and `channels` are 0 before the first piece."""

    def __init__(self, source: Source, stream: AudioStream, memory: Memory) -> None:
        self._source = source
        self._stream = stream
        self._memory = memory
        self._pieces: list[Piece] = []
        self.rate = 0
        self.channels = 0

    def add(self, frame: av.AudioFrame) -> None:
        """Keep the next piece."""
        self._memory.take(frame.samples * frame.layout.nb_channels * FLOAT32_BYTES)
        self._pieces.append(self.convert(frame))

    def convert(self, frame: av.AudioFrame) -> Piece:
        """The next piece, for a caller that does not need them all at once."""
        channels = frame.layout.nb_channels
        if not self.rate:
            self.rate, self.channels = frame.sample_rate, channels
        if (frame.sample_rate, channels) != (self.rate, self.channels):
            raise self._source.error("media.unsupported", "the rate or the channels of the sound change in the middle")
        if channels > MAX_CHANNELS:
            why = f"at most {MAX_CHANNELS} are read"
            raise self._source.error("media.unsupported", f"the sound has {channels} channels", why=why)
        samples = _float_samples(frame)
        if not np.isfinite(samples).all():
            raise self._source.damaged("the sound contains NaN or infinity")
        told = round(frame.duration * frame.time_base * self.rate) if frame.duration and frame.time_base else 0
        return Piece(samples, time_of(frame), frame.samples - told if 0 < told < frame.samples else 0)

    def waveform(self, start: Fraction) -> Waveform | None:
        """The sound from a time on, in seconds; None if there is none."""
        placed: list[tuple[int, NDArray[np.float32]]] = []
        end = None  # in samples after `start`
        for piece in self._pieces:
            begin = self.placed(piece, start, end)
            placed.append((begin, piece.samples))
            end = begin + piece.samples.shape[1]
        length = self.without_filling(end, start, self._pieces[-1]) if end is not None else 0
        if length <= 0:
            return None
        self._memory.take(length * self.channels * FLOAT32_BYTES)
        samples = np.zeros((self.channels, length), np.float32)
        for begin, piece_samples in placed:
            first, last = max(begin, 0), min(begin + piece_samples.shape[1], length)
            if first < last:
                samples[:, first:last] = piece_samples[:, first - begin : last - begin]
        return Waveform(samples, self.rate)

    def placed(self, piece: Piece, start: Fraction, end: int | None) -> int:
        """Where a piece begins, in samples after a time; see `Piece.place`."""
        try:
            return piece.place(start, self.rate, end)
        except ValueError as error:
            raise self._source.damaged(str(error)) from None

    def without_filling(self, end: int, start: Fraction, last: Piece) -> int:
        """The length without what the encoder added to fill its last block; only mp4 leaves this to the reader."""
        stream = self._stream
        if self._source.format != "mp4" or stream.duration is None or stream.time_base is None:
            return end
        told = end - last.filling
        announced = round((((stream.start_time or 0) + stream.duration) * stream.time_base - start) * self.rate)
        if last.filling and abs(told - announced) <= _COARSE * self.rate:
            return told
        return announced if 0 < end - announced <= LONGEST_FILLING else told


def _float_samples(frame: av.AudioFrame) -> NDArray[np.float32]:
    """`[c, s]`, full scale at 1.0, from any of FFmpeg's sample formats."""
    array: NDArray[Any] = frame.to_ndarray()
    if frame.format.is_packed:
        array = array.reshape(-1, frame.layout.nb_channels).T
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # infinity is looked for elsewhere
            return array.astype(np.float32)
    full = 2 ** (8 * array.dtype.itemsize - 1)
    offset = full if array.dtype.kind == "u" else 0
    samples: NDArray[np.float32] = ((array.astype(np.float64) - offset) / full).astype(np.float32)
    return samples
