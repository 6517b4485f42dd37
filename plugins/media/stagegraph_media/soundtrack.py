"""`SoundTrack`: waveforms become a track of sound in a file that is being written."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from numpy.typing import NDArray

from stagegraph_media.soundforms import Form
from stagegraph_media.values import Waveform

# Per channel. 96 kbit/s is transparent for AAC-LC; at low rates the format itself holds at most 6 bits a sample
_AAC_BITS_PER_SECOND, _AAC_BITS_PER_SAMPLE = 96_000, 4


class SoundTrack:
    """Takes a sound piece by piece, so that a file can hold it next to its pictures.

    Args:
        container: where the track is added.
        num_channels: of the sound.
        sample_rate: of the sound, in Hz.
        form: how it is stored.
        start: the time of its first sample, in samples.
    """

    def __init__(
        self, container: OutputContainer, num_channels: int, sample_rate: int, form: Form, start: int = 0
    ) -> None:
        stream = container.add_stream(form.encoder, rate=sample_rate)
        assert isinstance(stream, AudioStream)
        # The sound does not say which channel is which; only one and two are told by their number
        self._layout = {1: "mono", 2: "stereo"}.get(num_channels, f"{num_channels} channels")
        stream.codec_context.layout = self._layout
        stream.codec_context.format = form.sample_format
        if form.encoder == "aac":
            per_channel = min(_AAC_BITS_PER_SECOND, _AAC_BITS_PER_SAMPLE * sample_rate)
            stream.codec_context.bit_rate = num_channels * per_channel
        self._container = container
        self._stream = stream
        self._form = form
        self._rate = sample_rate
        self._end = start

    def add(self, waveform: Waveform, first: int = 0, last: int | None = None) -> None:
        """Encode the samples from `first` to `last`, to the end if None; they follow what was added before."""
        last = waveform.num_samples if last is None else last
        for begin in range(first, last, self._rate):
            piece = waveform.samples[:, begin : min(begin + self._rate, last)]
            self._container.mux(self._stream.encode(self._frame(piece)))
            self._end += piece.shape[1]

    def finish(self) -> None:
        """Encode what the encoder has kept back."""
        self._container.mux(self._stream.encode(None))

    def _frame(self, samples: NDArray[np.float32]) -> av.AudioFrame:
        stored, format = _stored(samples, self._form.bits), self._form.sample_format
        planar = format.endswith("p")
        array = np.ascontiguousarray(stored) if planar else np.ascontiguousarray(stored.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(array, format=format, layout=self._layout)
        frame.sample_rate = self._rate
        frame.pts, frame.time_base = self._end, Fraction(1, self._rate)
        return frame


def _stored(samples: NDArray[np.float32], bits: int | None) -> NDArray[np.generic]:
    """`[c, s]` as the encoder takes them: 24 bits are the upper ones of 32."""
    if bits not in (16, 24):
        return samples
    full = 2 ** (bits - 1)
    whole: NDArray[np.float64] = np.clip(np.rint(samples.astype(np.float64) * full), -full, full - 1)
    return whole.astype(np.int16) if bits == 16 else (whole * 2**8).astype(np.int32)
