"""What a latent upsampler is built from. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Self

import attrs

from .base import Config, depth, only, size

SCALES: Mapping[float, Fraction] = {
    0.75: Fraction(3, 4),
    1.5: Fraction(3, 2),
    2.0: Fraction(2),
    4.0: Fraction(4),
}
"""What the rational resampler can scale by: it enlarges by the numerator and thins out by the denominator."""

OFFICIAL_NAMES = {"spatial_scale": "rational_spatial_scale", "rational_resampler": "use_rational_resampler"}
OFFICIAL_DEFAULTS = {"mid_channels": 512, "use_rational_resampler": False}


@attrs.frozen
class LatentUpsamplerConfig(Config):
    """A network that enlarges video latents: in height and width, in time, or both."""

    diffusers_class = "LTX2LatentUpsamplerModel"

    in_channels: int = size(128)
    mid_channels: int = size(1024)
    num_blocks_per_stage: int = depth(4)
    dims: int = only(3)
    spatial_upsample: bool = True
    temporal_upsample: bool = False
    rational_spatial_scale: float = only(2.0, *(scale for scale in SCALES if scale != 2.0))
    use_rational_resampler: bool = True  # read together with spatial_upsample alone

    @classmethod
    def from_header(cls, data: Mapping[str, object]) -> Self:
        """Read the `config` in the header of an official single file, whose names and defaults differ.

        Raises:
            ConfigError: as `from_dict`.
        """
        return cls.from_dict(OFFICIAL_DEFAULTS | {OFFICIAL_NAMES.get(key, key): value for key, value in data.items()})

    def to_header(self) -> dict[str, object]:
        """What `from_header` reads."""
        official = {ours: name for name, ours in OFFICIAL_NAMES.items()}
        return {official.get(key, key): value for key, value in self.to_dict().items()}

    @property
    def scale(self) -> Fraction:
        """By how much height and width grow; what is not whole is rounded up."""
        return SCALES[self.rational_spatial_scale] if self.spatial_upsample else Fraction(1)

    def _contradictions(self) -> Iterator[str]:
        if self.mid_channels % 32:
            yield f"mid_channels={self.mid_channels} must be a multiple of 32: its norms have 32 groups"
        if not (self.spatial_upsample or self.temporal_upsample):
            yield "spatial_upsample and temporal_upsample are both False: nothing would be enlarged"
        rational = self.use_rational_resampler and self.spatial_upsample and not self.temporal_upsample
        if self.rational_spatial_scale != 2 and not rational:
            yield f"rational_spatial_scale={self.rational_spatial_scale} needs the rational resampler, in space alone"
