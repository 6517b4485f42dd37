"""`write_audio`: sound into a WAV, FLAC or M4A file."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from stagegraph_media import soundforms
from stagegraph_media.errors import MediaError
from stagegraph_media.files import replacing
from stagegraph_media.values import Waveform
from stagegraph_media.writing import aac_bit_rate, encoding, require_encoders


def write_audio(
    path: str | os.PathLike[str],
    waveform: Waveform,
    *,
    bits: int | None = None,
    clip: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a sound file, of the kind that its name tells: `.wav`, `.flac`, `.m4a` (AAC).

    Nothing is resampled, mixed or padded. WAV with 32 bits holds the samples as they are; whole numbers are the nearest
    of 2**bits steps. The file replaces one of the same name when it is complete, and not before.

    Args:
        path: in a directory that exists.
        waveform: up to 8 channels; one or two, at one of `mp4.AAC_RATES`, for AAC.
        bits: of a sample: 16, 24, or 32 for floating point, which only WAV has; by default 32 for WAV, 24 for FLAC.
        clip: cut what is beyond full scale off, where 16 and 24 bits cannot hold it, instead of refusing it.
        progress: called after each second of sound with (seconds written, seconds in all); what it raises ends the
            writing.

    Returns:
        The path.

    Raises:
        MediaError: the sound cannot be stored as it is (all reasons at once), or the file cannot be written.
        EncoderMissingError: the installed PyAV lacks an encoder.
    """
    target = Path(path)
    faults = soundforms.faults(target, waveform, bits, clip)
    if faults:
        raise MediaError(*faults)
    form = soundforms.form_of(target, bits)
    require_encoders(form.encoder)
    options = {"rf64": "auto"} if form.muxer == "wav" else {}
    if form.encoder == "aac":  # else the length would be rounded to milliseconds
        options = {"movie_timescale": str(waveform.sample_rate), "movflags": "faststart"}
    with (
        replacing(target) as draft,
        encoding(target),
        av.open(f"file:{draft}", "w", format=form.muxer, container_options=options) as container,
    ):
        stream = container.add_stream(form.encoder, rate=waveform.sample_rate)
        assert isinstance(stream, AudioStream)
        stream.codec_context.layout = _layout(waveform)
        stream.codec_context.format = form.sample_format
        if form.encoder == "aac":
            stream.codec_context.bit_rate = aac_bit_rate(waveform)
        seconds = -(-waveform.num_samples // waveform.sample_rate)
        for second in range(seconds):
            start = second * waveform.sample_rate
            piece = waveform.samples[:, start : start + waveform.sample_rate]
            container.mux(stream.encode(_frame(_stored(piece, form.bits), form.sample_format, waveform, start)))
            if progress:
                progress(second + 1, seconds)
        container.mux(stream.encode(None))
    return target


def _layout(waveform: Waveform) -> str:
    """The waveform does not say which channel is which; only one and two are told by their number."""
    return {1: "mono", 2: "stereo"}.get(waveform.num_channels, f"{waveform.num_channels} channels")


def _stored(samples: NDArray[np.float32], bits: int | None) -> NDArray[np.generic]:
    """`[c, s]` as the encoder takes them: 24 bits are the upper ones of 32."""
    if bits not in (16, 24):
        return samples
    full = 2 ** (bits - 1)
    whole: NDArray[np.float64] = np.clip(np.rint(samples.astype(np.float64) * full), -full, full - 1)
    return whole.astype(np.int16) if bits == 16 else (whole * 2**8).astype(np.int32)


def _frame(samples: NDArray[np.generic], sample_format: str, waveform: Waveform, start: int) -> av.AudioFrame:
    planar = sample_format.endswith("p")
    array = np.ascontiguousarray(samples) if planar else np.ascontiguousarray(samples.T).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(array, format=sample_format, layout=_layout(waveform))
    frame.sample_rate = waveform.sample_rate
    frame.pts, frame.time_base = start, Fraction(1, waveform.sample_rate)
    return frame
