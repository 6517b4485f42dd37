"""`write_audio`: sound into a WAV, FLAC or M4A file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import av

from stagegraph_media import soundforms
from stagegraph_media.errors import MediaError
from stagegraph_media.files import replacing
from stagegraph_media.soundtrack import SoundTrack
from stagegraph_media.values import Waveform
from stagegraph_media.writing import encoding, require_encoders


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
        track = SoundTrack(container, waveform.num_channels, waveform.sample_rate, form)
        seconds = -(-waveform.num_samples // waveform.sample_rate)
        for second in range(seconds):
            start = second * waveform.sample_rate
            track.add(waveform, start, min(start + waveform.sample_rate, waveform.num_samples))
            if progress:
                progress(second + 1, seconds)
        track.finish()
    return target
