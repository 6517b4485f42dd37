"""`write_segment`: a part of a video that grows, as fragments of an mp4 file whose times go on from the part before.

The fragments of all segments, one after the other behind the header of the first, are one video: a file, or what a
player is fed. That they meet exactly rests on three choices. Sound is FLAC, of which every packet stands for the
samples that it has and no others; AAC and Opus let what comes before into each packet, begin with samples that nobody
gave them, and fill their last packet up. Pictures are stored in the order in which they are shown, so that times of
decoding go on just as times of showing do. And each segment begins with a picture that needs no other: a player can
begin at any of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
import av

from stagegraph.errors import Fault
from stagegraph_media import mp4, soundforms
from stagegraph_media.errors import MediaError
from stagegraph_media.files import replacing
from stagegraph_media.soundforms import FLAC
from stagegraph_media.soundtrack import SoundTrack
from stagegraph_media.trimming import sound_of
from stagegraph_media.values import Frames, Waveform
from stagegraph_media.writing import encode, encoding, require_encoders, video_stream

#: How a file of fragments is written: a header without samples, then a fragment from each key frame on.
_FRAGMENTED = "empty_moov+default_base_moof+frag_keyframe+frag_discont+use_metadata_tags"


def write_segment(
    path: str | os.PathLike[str],
    frames: Frames,
    waveform: Waveform | None = None,
    *,
    start_frame: int = 0,
    crf: int = 18,
    preset: str = "medium",
    bits: int = 16,
    clip: bool = False,
    metadata: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a fragmented mp4 file: H.264 4:2:0 and FLAC, with times that count from the start of the whole video.

    The same values give the same bytes. The file replaces one of the same name when it is complete, and not before.

    Args:
        path: ends in `.mp4`, in a directory that exists.
        frames: both sizes even, for 4:2:0.
        waveform: one or two channels; exactly as long as the frames: see `trimming.sound_of`.
        start_frame: how many frames come before this segment.
        crf: quality, from 0 (best) to 51 (worst).
        preset: one of `mp4.PRESETS`.
        bits: of a sample: 16 or 24.
        clip: cut what is beyond full scale off, instead of refusing it.
        metadata: tags of the file; see `write_video`.
        progress: called after each frame with (frames written, frames in all); what it raises ends the writing.

    Raises:
        MediaError: the values cannot be stored as they are (all reasons at once), or the file cannot be written.
        EncoderMissingError: the installed PyAV lacks an encoder.
    """
    target = Path(path)
    tags = dict(metadata or {})
    faults = mp4.faults(target, frames, None, crf, preset, tags)
    if waveform:
        found = _sound_faults(frames, waveform, start_frame, bits, clip)
        faults += [attrs.evolve(fault, where=str(target)) for fault in found]
    if faults:
        raise MediaError(*faults)
    require_encoders("libx264", "flac")
    options = {"movflags": _FRAGMENTED, "use_editlist": "0", "avoid_negative_ts": "disabled"}
    with (
        replacing(target) as draft,
        encoding(target),
        av.open(f"file:{draft}", "w", format="mp4", container_options=options) as container,
    ):
        container.metadata.update(tags)
        video = video_stream(container, frames, crf, preset, bf="0")
        track = None
        if waveform:
            begin, _ = sound_of(start_frame, 0, frames.frame_rate, waveform.sample_rate)
            track = SoundTrack(container, waveform.num_channels, waveform.sample_rate, FLAC[bits], begin)
        encode(container, frames, video, waveform, track, start=start_frame, progress=progress)
    return target


def _sound_faults(frames: Frames, waveform: Waveform, start_frame: int, bits: int, clip: bool) -> list[Fault]:
    """Why the sound of a segment cannot be written as it is."""
    found = []
    if bits not in FLAC:
        why = f"must be {' or '.join(map(str, sorted(FLAC)))}"
        return [Fault("media.invalid_output", f"bits is {bits}", why=why)]
    if waveform.num_channels not in mp4.LAYOUTS:
        what, fix = f"the sound has {waveform.num_channels} channels", "mix it down to 2 channels"
        found.append(Fault("media.invalid_output", what, why="mono and stereo are written", fix=fix))
    found += soundforms.rate_faults(FLAC[bits], waveform.num_channels, waveform.sample_rate)
    found += soundforms.peak_faults(FLAC[bits], waveform, clip)
    begin, end = sound_of(start_frame, start_frame + frames.num_frames, frames.frame_rate, waveform.sample_rate)
    if waveform.num_samples != end - begin:
        what = f"the sound has {waveform.num_samples} samples, but the frames last {end - begin}"
        why = "the next segment would begin with a gap, or before this one ends"
        fix = "cut both with media.trim, with pad_sound"
        found.append(Fault("media.invalid_output", what, why=why, fix=fix))
    return found
