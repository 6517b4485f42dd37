"""The stages `media.trim`, `media.trim_waveform`, `media.concat_frames` and `media.concat_waveforms`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

from stagegraph import outputs, param, stage
from stagegraph.facts import FactError, Facts, facts_of_each
from stagegraph_media import trimming
from stagegraph_media.trimming import Cut
from stagegraph_media.values import Frames, Waveform

# Beyond any video: a limit that keeps infinity out
_FARTHEST = 1e9
_START_HELP = "Where the part begins, in `unit`; below 0 from the end"
_END_HELP = "Where it ends, which is not part of it; below 0 from the end; the end if not set"


@outputs
class Part:
    """A part of a video; `waveform` is None if there is no sound in it."""

    frames: Frames
    waveform: Waveform | None


@stage("media.trim", version=1)
class Trim:
    """Take a part of a video, with the sound from the start of its first frame to the end of its last.

    What is cut at one place fits together again, to the frame and to the sample.
    """

    start: float = param(default=0.0, ge=-_FARTHEST, le=_FARTHEST, help=_START_HELP)
    end: float | None = param(default=None, ge=-_FARTHEST, le=_FARTHEST, help=_END_HELP)
    unit: str = param(
        default="seconds", choices=("seconds", "frames"), help="What start and end count; seconds to the nearest frame"
    )
    pad_sound: bool = param(
        default=False,
        help="Whether sound that ends before the frames is filled up with silence, so that joined parts stay in step",
    )

    def __attrs_post_init__(self) -> None:
        self._cut.check()

    @property
    def _cut(self) -> Cut:
        return Cut(self.start, self.end, self.unit)

    def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
        """The length of the part, if that of the whole is known."""
        frames = inputs.get("frames", {})
        if not {"num_frames", "frame_rate"} <= frames.keys():
            return {"frames": frames}
        rate = frames["frame_rate"]
        first, last = _span(self._cut, frames["num_frames"], rate, "frames")
        told: dict[str, Facts] = {"frames": {**frames, "num_frames": last - first}}
        sound = inputs.get("waveform", {})
        if {"num_samples", "sample_rate"} <= sound.keys():
            span = trimming.sound_of(first, last, rate, sound["sample_rate"])
            count = trimming.part_length(span, sound["num_samples"], self.pad_sound)
            if count:
                told["waveform"] = {**sound, "num_samples": count}
        return told

    def run(self, frames: Frames, waveform: Waveform | None = None) -> Part:
        """The part."""
        return Part(*trimming.trim(frames, waveform, self._cut, pad_sound=self.pad_sound))


@stage("media.trim_waveform", version=1)
class TrimWaveform:
    """Take a part of a sound, exact to the sample."""

    start: float = param(default=0.0, ge=-_FARTHEST, le=_FARTHEST, help=_START_HELP)
    end: float | None = param(default=None, ge=-_FARTHEST, le=_FARTHEST, help=_END_HELP)
    unit: str = param(
        default="seconds",
        choices=("seconds", "samples"),
        help="What start and end count; seconds to the nearest sample",
    )

    def __attrs_post_init__(self) -> None:
        self._cut.check()

    @property
    def _cut(self) -> Cut:
        return Cut(self.start, self.end, self.unit)

    def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
        """The length of the part, if that of the whole is known."""
        sound = inputs.get("waveform", {})
        if not {"num_samples", "sample_rate"} <= sound.keys():
            return {"output": sound}
        first, last = _span(self._cut, sound["num_samples"], Fraction(sound["sample_rate"]), "waveform")
        return {"output": {**sound, "num_samples": last - first}}

    def run(self, waveform: Waveform) -> Waveform:
        """The part."""
        return trimming.trim_waveform(waveform, self._cut)


@stage("media.concat_frames", version=1)
class ConcatFrames:
    """Join videos of one size and frame rate, one after the other."""

    def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
        """The length of all, if each is known; parts must have one size and rate."""
        return _joined(inputs, "frames", ("height", "width", "frame_rate"), "num_frames", trimming.form_of_frames)

    def run(self, *frames: Frames) -> Frames:
        """All frames, in the order of the wires."""
        return trimming.concat_frames(frames)


@stage("media.concat_waveforms", version=1)
class ConcatWaveforms:
    """Join sounds of one rate and number of channels, one after the other; None if no part has sound."""

    def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
        """The length of all, if each is known; parts must have one rate and number of channels."""
        return _joined(inputs, "waveforms", ("num_channels", "sample_rate"), "num_samples", trimming.form_of_sound)

    def run(self, *waveforms: Waveform | None) -> Waveform | None:
        """All samples, in the order of the wires."""
        return trimming.concat_waveforms(waveforms)


def _span(cut: Cut, count: int, rate: Fraction, port: str) -> tuple[int, int]:
    try:
        return cut.span(count, rate)
    except ValueError as error:
        raise FactError(str(error), port=port, fix="ask for a part that is there") from None


def _joined(
    inputs: Mapping[str, Facts], port: str, same: Sequence[str], count: str, form: Callable[..., str]
) -> Mapping[str, Facts]:
    """What follows for the whole: what is the `same` of all parts, and the sum of their `count`."""
    parts = facts_of_each(inputs, port)
    known = {number: part for number, part in enumerate(parts) if set(same) <= part.keys()}
    forms = {number: form(*(part[name] for name in same)) for number, part in known.items()}
    different = trimming.difference(forms)
    if different is not None:
        fix = "scale or resample them to the same"
        raise FactError(different.text, port=f"{port}[{different.number}]", fix=fix)
    told = {name: part[name] for part in [*known.values()][:1] for name in same}
    if parts and all(count in part for part in parts):
        told[count] = sum(part[count] for part in parts)
    return {"output": told}
