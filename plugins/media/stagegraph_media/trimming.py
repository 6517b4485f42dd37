"""`trim` and `concat`: parts of videos and sounds, and several of them one after the other; exact to the sample.

Shapes: `f` pixel frames, `c` audio channels, `s` samples per channel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import attrs

from stagegraph.errors import Fault
from stagegraph_media.errors import MediaError
from stagegraph_media.values import Frames, Waveform

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@attrs.frozen
class Cut:
    """From where to where, as in a slice: below zero from the end, `end` None for the end.

    Attributes:
        start, end: in units; of seconds the nearest frame or sample counts.
        unit: "seconds", or whole "frames" or "samples".
    """

    start: float = 0
    end: float | None = None
    unit: str = "seconds"

    def check(self) -> None:
        """Raise a ValueError if there is no part that this names, however long the whole is."""
        for name, place in (("start", self.start), ("end", self.end)):
            if self.unit != "seconds" and place is not None and place != int(place):
                raise ValueError(f"{name} is {place:g}: must be a whole number of {self.unit}")
        if self.end is not None and (self.start < 0) == (self.end < 0) and self.end <= self.start:
            raise ValueError(f"end is {_number(self.end)}: must be after start, which is {_number(self.start)}")

    def span(self, count: int, rate: Fraction) -> tuple[int, int]:
        """The first frame or sample, and the one after the last.

        Args:
            count: how many there are.
            rate: how many there are in a second.

        Raises:
            ValueError: there is no such part.
        """
        first, last = self._place(self.start, count, rate), count
        if self.end is not None:
            last = self._place(self.end, count, rate)
        if not 0 <= first < last <= count:
            what = {"seconds": f"{float(count / rate):g} s"}.get(self.unit, f"{count} {self.unit}")
            end = "the end" if self.end is None else _number(self.end)
            raise ValueError(f"there are {what}, of which the part from {_number(self.start)} to {end} is asked for")
        return first, last

    def _place(self, place: float, count: int, rate: Fraction) -> int:
        number = round(Fraction(place) * rate) if self.unit == "seconds" else int(place)
        return number + count if place < 0 else number


def _number(value: float) -> str:
    return f"{value:.12g}"


def trim(
    frames: Frames, waveform: Waveform | None, cut: Cut, *, pad_sound: bool = False
) -> tuple[Frames, Waveform | None]:
    """A part of a video, with the sound from the start of its first frame to the end of its last.

    Args:
        frames: pixels [f, h, w, 3].
        waveform: its sound, from the start of the first frame on.
        cut: in seconds or frames.
        pad_sound: fill sound that ends before the frames up with silence, so that joined parts stay in step; else it
            is as long as there is sound.

    Returns:
        The part; no sound if there is none in it.

    Raises:
        MediaError: there is no such part.
    """
    first, last = _span(cut, frames.num_frames, frames.frame_rate)
    part = Frames(frames.pixels[first:last], frames.frame_rate)
    if waveform is None:
        return part, None
    begin, end = sound_of(first, last, frames.frame_rate, waveform.sample_rate)
    length = part_length((begin, end), waveform.num_samples, pad_sound)
    return part, Waveform(_padded(waveform.samples[:, begin:end], length), waveform.sample_rate) if length else None


def sound_of(first: int, last: int, frame_rate: Fraction, sample_rate: int) -> tuple[int, int]:
    """The first sample of a span of frames, and the one after the last; spans that meet have sound that meets."""
    begin, end = (round(number / frame_rate * sample_rate) for number in (first, last))
    return begin, end


def part_length(span: tuple[int, int], num_samples: int, pad_sound: bool) -> int:
    """How many samples of a span a sound has, or gets."""
    begin, end = span
    return end - begin if pad_sound else max(min(end, num_samples) - begin, 0)


def trim_waveform(waveform: Waveform, cut: Cut) -> Waveform:
    """A part of a sound.

    Raises:
        MediaError: there is no such part.
    """
    first, last = _span(cut, waveform.num_samples, Fraction(waveform.sample_rate))
    return Waveform(waveform.samples[:, first:last], waveform.sample_rate)


def concat_frames(parts: Sequence[Frames]) -> Frames:
    """Videos of one size and rate, one after the other.

    Raises:
        MediaError: there are none, or they differ.
    """
    import numpy as np

    _require_same("frames", [form_of_frames(part.height, part.width, part.frame_rate) for part in parts])
    return Frames(np.concatenate([part.pixels for part in parts]), parts[0].frame_rate)


def concat_waveforms(parts: Sequence[Waveform | None]) -> Waveform | None:
    """Sounds of one rate and number of channels, one after the other; None if all parts are.

    Raises:
        MediaError: there are none, or they differ.
    """
    import numpy as np

    forms = [form_of_sound(part.num_channels, part.sample_rate) if part else "no sound" for part in parts]
    _require_same("sounds", forms)
    sounds = [part for part in parts if part is not None]
    if not sounds:
        return None
    return Waveform(np.concatenate([part.samples for part in sounds], axis=1), sounds[0].sample_rate)


def form_of_frames(height: int, width: int, frame_rate: Fraction) -> str:
    """What must be the same of frames that are joined, in words."""
    return f"{width}x{height} at {frame_rate} fps"


def form_of_sound(num_channels: int, sample_rate: int) -> str:
    """What must be the same of sounds that are joined, in words."""
    return f"{num_channels} channels at {sample_rate} Hz"


@attrs.frozen
class Difference:
    """Which part, counted from 0, is not like those before it, and how, in words."""

    number: int
    text: str


def difference(forms: Mapping[int, str]) -> Difference | None:
    """The first part that differs, by the forms of those that are known; None if none does."""
    first = min(forms, default=0)
    for number, form in forms.items():
        if form != forms[first]:
            return Difference(number, f"part {first + 1} is {forms[first]}, part {number + 1} is {form}")
    return None


def _require_same(kind: str, forms: Sequence[str]) -> None:
    if not forms:
        raise MediaError(Fault("media.not_joinable", f"there are no {kind} to join", fix="wire at least one"))
    different = difference(dict(enumerate(forms)))
    if different is not None:
        what = f"the {kind} cannot be joined: {different.text}"
        raise MediaError(Fault("media.not_joinable", what, fix="scale or resample them to the same"))


def _span(cut: Cut, count: int, rate: Fraction) -> tuple[int, int]:
    try:
        return cut.span(count, rate)
    except ValueError as error:
        raise MediaError(Fault("media.no_such_part", str(error), fix="ask for a part that is there")) from None


def _padded(samples: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    import numpy as np

    return np.pad(samples, ((0, 0), (0, max(length - samples.shape[1], 0))))
