"""The port types: `Frames`, `Waveform`, `Image`.

Each holds a numpy array that it has checked. The array is not copied (a video has gigabytes) unless it must be made
C-contiguous: the value keeps a read-only view, so that no stage changes the input of another, and whoever made the
array hands it over and no longer writes to it. Equality is by content; the values are not hashable.

Shapes: `f` pixel frames, `h w` pixels, `c` audio channels, `s` samples per channel.
"""

from __future__ import annotations

import math
from fractions import Fraction
from numbers import Rational
from typing import TYPE_CHECKING, Any

import attrs

from stagegraph.facts import Facts

if TYPE_CHECKING:  # numpy takes 60 ms to import, and every console command imports this module
    import numpy as np
    from numpy.typing import NDArray

#: The most channels that a `Waveform` has.
MAX_CHANNELS = 8
#: A float frame rate becomes the nearest fraction with at most this denominator: the denominator of the NTSC rates.
RATE_DENOMINATOR = 1001


def exact_rate(value: float | str | Fraction) -> Fraction:
    """A frame rate as a fraction, in frames per second.

    Integers, fractions and texts ("24", "24000/1001", "23.976") are taken as they are. A float becomes the nearest
    fraction whose denominator is at most 1001, so that `24000 / 1001` computed in floating point is 24000/1001 again;
    23.976 is 2997/125, as written: for the NTSC rate write "24000/1001".

    Raises:
        ValueError: it is not a number, not finite, or not above zero.
    """
    rate = _fraction(value)
    if rate is None or rate <= 0:
        raise ValueError(f'frame_rate is {value!r}: must be a finite number above 0, such as 24 or "24000/1001"')
    return rate


def _fraction(value: object) -> Fraction | None:
    if isinstance(value, Rational) and not isinstance(value, bool):
        return Fraction(int(value.numerator), int(value.denominator))
    if isinstance(value, float):
        return Fraction(value).limit_denominator(RATE_DENOMINATOR) if math.isfinite(value) else None
    if isinstance(value, str):
        try:
            return Fraction(value)
        except (ValueError, ZeroDivisionError):
            return None
    return None


def _array(name: str, value: Any, dtype: str, shape: str) -> Any:
    """A read-only C-contiguous view of an array of this dtype and shape; a number in `shape` is that exact length."""
    import numpy as np

    lengths = shape.split()
    if not isinstance(value, np.ndarray):
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        raise ValueError(f"{name} is a {kind}: must be a numpy array of {dtype} [{', '.join(lengths)}]")
    fits = len(lengths) == value.ndim and all(
        have == int(want) if want.isdecimal() else have > 0 for want, have in zip(lengths, value.shape, strict=True)
    )
    if value.dtype != dtype or not fits:
        have = f"{value.dtype} [{', '.join(map(str, value.shape))}]"
        raise ValueError(f"{name} is {have}: must be {dtype} [{', '.join(lengths)}], no length zero")
    view = np.ascontiguousarray(value).view()
    view.setflags(write=False)
    return view


def _same(one: Any, other: Any) -> bool:
    import numpy as np

    return np.array_equal(one, other)


def _video_pixels(value: NDArray[np.uint8]) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = _array("pixels", value, "uint8", "f h w 3")
    return pixels


def _image_pixels(value: NDArray[np.uint8]) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = _array("pixels", value, "uint8", "h w 3")
    return pixels


def _samples(value: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    samples: NDArray[np.float32] = _array("samples", value, "float32", "c s")
    if len(samples) > MAX_CHANNELS:
        raise ValueError(f"samples has {len(samples)} channels: must have 1 to {MAX_CHANNELS}, as [c, s]")
    if not np.isfinite(samples).all():
        raise ValueError("samples contains NaN or infinity: must be finite")
    return samples


def _sample_rate(value: int) -> int:
    if not isinstance(value, Rational) or isinstance(value, bool) or value.denominator != 1 or value <= 0:
        raise ValueError(f"sample_rate is {value!r}: must be a whole number of Hz above 0")
    return int(value)


@attrs.frozen(repr=False)
class Frames:
    """The pictures of a video.

    Attributes:
        pixels: uint8 `[f, h, w, 3]`, RGB with the sRGB or BT.709 primaries, full range; read-only.
        frame_rate: pixel frames per second; see `exact_rate` for what it is made from.
    """

    pixels: NDArray[np.uint8] = attrs.field(converter=_video_pixels, eq=attrs.cmp_using(eq=_same))
    frame_rate: Fraction = attrs.field(converter=exact_rate)

    @property
    def num_frames(self) -> int:
        """`f`."""
        return int(self.pixels.shape[0])

    @property
    def height(self) -> int:
        """`h`, in pixels."""
        return int(self.pixels.shape[1])

    @property
    def width(self) -> int:
        """`w`, in pixels."""
        return int(self.pixels.shape[2])

    @property
    def duration(self) -> Fraction:
        """Seconds from the start of the first frame to the end of the last."""
        return self.num_frames / self.frame_rate

    @property
    def facts(self) -> Facts:
        """What can be known of it before it is made."""
        names = ("num_frames", "height", "width", "frame_rate")
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        return f"Frames({self.num_frames}x{self.height}x{self.width}, {self.frame_rate} fps)"


@attrs.frozen(repr=False)
class Waveform:
    """Sound.

    Attributes:
        samples: float32 `[c, s]`, finite, nominally in [-1, 1], 1 to 8 channels (left before right); read-only.
        sample_rate: Hz.
    """

    samples: NDArray[np.float32] = attrs.field(converter=_samples, eq=attrs.cmp_using(eq=_same))
    sample_rate: int = attrs.field(converter=_sample_rate)

    @property
    def num_channels(self) -> int:
        """`c`."""
        return int(self.samples.shape[0])

    @property
    def num_samples(self) -> int:
        """`s`."""
        return int(self.samples.shape[1])

    @property
    def duration(self) -> Fraction:
        """Seconds."""
        return Fraction(self.num_samples, self.sample_rate)

    @property
    def facts(self) -> Facts:
        """What can be known of it before it is made."""
        return {name: getattr(self, name) for name in ("num_channels", "num_samples", "sample_rate")}

    def __repr__(self) -> str:
        return f"Waveform({self.num_channels}x{self.num_samples}, {self.sample_rate} Hz)"


@attrs.frozen(repr=False)
class Image:
    """One picture.

    Attributes:
        pixels: uint8 `[h, w, 3]`, RGB, full range; read-only.
    """

    pixels: NDArray[np.uint8] = attrs.field(converter=_image_pixels, eq=attrs.cmp_using(eq=_same))

    @property
    def height(self) -> int:
        """`h`, in pixels."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """`w`, in pixels."""
        return int(self.pixels.shape[1])

    @property
    def facts(self) -> Facts:
        """What can be known of it before it is made."""
        return {name: getattr(self, name) for name in ("height", "width")}

    def __repr__(self) -> str:
        return f"Image({self.height}x{self.width})"
