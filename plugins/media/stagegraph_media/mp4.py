"""What `write_video` can put into an mp4 file, as plain rules: nothing here needs PyAV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import attrs

from stagegraph.errors import Fault
from stagegraph_media.values import Frames, Waveform

#: The encoder's speeds: a slower one makes a smaller file of the same quality.
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
#: The `crf` of the worst quality; the best is 0.
WORST_CRF = 51
#: Sample rates, in Hz, that AAC can store.
AAC_RATES = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
#: Number of channels -> FFmpeg's name of their layout.
LAYOUTS = {1: "mono", 2: "stereo"}
#: The tag that holds the run record.
RECORD_TAG = "stagegraph"
#: Tags that the muxer fills in itself.
RESERVED_TAGS = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder"})

# The clocks of an mp4 file are products of these numbers, in 32 bits
_MIN_RATE, _MAX_RATE_NUMBER = Fraction(1, 1000), 2**24


def faults(
    path: Path, frames: Frames, waveform: Waveform | None, crf: int, preset: str, tags: Mapping[str, str]
) -> list[Fault]:
    """Every reason why these values cannot be written as they are."""
    settings = [*_path_faults(path), *_setting_faults(crf, preset)]
    sound = aac_faults(waveform.num_channels, waveform.sample_rate) if waveform else ()
    found = [*settings, *_frames_faults(frames), *sound, *_tag_faults(tags)]
    return [attrs.evolve(fault, where=str(path)) for fault in found]


def _path_faults(target: Path) -> Iterator[Fault]:
    if target.suffix.lower() != ".mp4":
        fix = f'use "{target.with_suffix(".mp4")}"' if target.name else ""
        yield Fault("media.unwritable", "the name does not end in .mp4, which is what is written", fix=fix)
    elif target.is_dir():
        yield Fault("media.unwritable", "the path is a directory")


def _setting_faults(crf: int, preset: str) -> Iterator[Fault]:
    if not 0 <= crf <= WORST_CRF:
        yield Fault("media.invalid_output", f"crf is {crf}", why=f"must be from 0 (best) to {WORST_CRF} (worst)")
    if preset not in PRESETS:
        yield Fault("media.invalid_output", f'preset is "{preset}"', why=f"must be one of {', '.join(PRESETS)}")


def _frames_faults(frames: Frames) -> Iterator[Fault]:
    height, width = frames.height, frames.width
    if height % 2 or width % 2:
        yield Fault(
            "media.invalid_output",
            f"the frames are {width}x{height}",
            why="4:2:0 video needs an even width and height",
            fix=f"crop or scale to {max(width // 2, 1) * 2}x{max(height // 2, 1) * 2}",
        )
    rate = frames.frame_rate
    if rate < _MIN_RATE or max(rate.numerator, rate.denominator) > _MAX_RATE_NUMBER:
        yield Fault(
            "media.invalid_output",
            f"the frame rate is {rate}",
            why=f"must be at least {_MIN_RATE}, and no number of the fraction above {_MAX_RATE_NUMBER}",
            fix="use a rate such as 24 or 24000/1001",
        )


def aac_faults(num_channels: int, sample_rate: int) -> Iterator[Fault]:
    """Why AAC in an mp4 file cannot hold that many channels, or that rate in Hz."""
    if num_channels not in LAYOUTS:
        yield Fault(
            "media.invalid_output",
            f"the sound has {num_channels} channels",
            why="mono and stereo are written; for more channels the waveform does not say which is which",
            fix="mix it down to 2 channels",
        )
    if sample_rate not in AAC_RATES:
        near = min(AAC_RATES, key=lambda rate: abs(rate - sample_rate))
        yield Fault(
            "media.invalid_output",
            f"the sample rate is {sample_rate} Hz",
            why=f"AAC has {', '.join(map(str, AAC_RATES))}",
            fix=f"resample to {near} Hz",
        )


def _tag_faults(tags: Mapping[str, str]) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    for key, value in tags.items():
        what = f"the tag {key!r}"
        if not key:
            yield Fault("media.invalid_output", "a tag has an empty key")
        elif key.lower() in RESERVED_TAGS:
            yield Fault("media.invalid_output", f"{what} is written by the muxer", fix="use another key")
        elif key.lower() in seen:
            why = "keys that differ only in capitals are one key in an mp4 file"
            yield Fault("media.invalid_output", f"{what} is given twice, also as {seen[key.lower()]!r}", why=why)
        if "\0" in key + value:
            yield Fault("media.invalid_output", f"{what} contains a NUL character", why="it would end the text there")
        if not _encodable(key + value):
            yield Fault("media.invalid_output", f"{what} is not valid Unicode", why="it contains half a surrogate pair")
        seen[key.lower()] = key


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
