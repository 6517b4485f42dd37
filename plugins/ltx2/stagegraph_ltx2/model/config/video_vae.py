"""What the video VAE is built from. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from math import prod

import attrs

from .base import NOT_RELEASED, Config, depth, only, positive, size

STRIDES: Mapping[str, tuple[int, int, int]] = {
    "spatial": (1, 2, 2),
    "temporal": (2, 1, 1),
    "spatiotemporal": (2, 2, 2),
}
"""Frames, height and width that one resampling layer of the video VAE folds into (or unfolds from) channels."""


@attrs.frozen
class VideoVAEConfig(Config):
    """The convolutional video VAE, LTX-2.0 and LTX-2.3."""

    diffusers_class = "AutoencoderKLLTX2Video"

    in_channels: int = size(3)
    out_channels: int = size(3)
    latent_channels: int = size(128)
    block_out_channels: tuple[int, ...] = size((256, 512, 1024, 2048))
    down_block_types: tuple[str, ...] = ("LTX2VideoDownBlock3D",) * 4
    decoder_block_out_channels: tuple[int, ...] = size((256, 512, 1024))  # as in the encoder: shallow to deep
    layers_per_block: tuple[int, ...] = depth((4, 6, 6, 2, 2))  # the last is the mid block
    decoder_layers_per_block: tuple[int, ...] = depth((5, 5, 5, 5))  # shallow to deep, the last is the mid block
    spatio_temporal_scaling: bool | tuple[bool, ...] = (True,) * 4
    decoder_spatio_temporal_scaling: bool | tuple[bool, ...] = (True,) * 3
    decoder_inject_noise: bool | tuple[bool, ...] = (False,) * 4
    downsample_type: tuple[str, ...] = ("spatial", "temporal", "spatiotemporal", "spatiotemporal")
    upsample_type: tuple[str, ...] = ("spatiotemporal",) * 3  # deep to shallow, unlike its neighbours
    upsample_residual: bool | tuple[bool, ...] = (True,) * 3
    upsample_factor: tuple[int, ...] = size((2, 2, 2))
    timestep_conditioning: bool = False
    patch_size: int = size(4)
    patch_size_t: int = only(1)
    resnet_norm_eps: float = positive(1e-6)  # of a norm that only blocks which change their width have
    scaling_factor: float = only(1.0)
    encoder_causal: bool = True
    decoder_causal: bool = True
    encoder_spatial_padding_mode: str = only("zeros", "reflect")
    decoder_spatial_padding_mode: str = only("reflect", "zeros")
    spatial_compression_ratio: int | None = size(None)  # what the strides say already
    temporal_compression_ratio: int | None = size(None)

    @property
    def residual_up_blocks(self) -> tuple[bool, ...]:
        """`upsample_residual` with one entry a block, shallow to deep."""
        flag = self.upsample_residual
        return flag if isinstance(flag, tuple) else (flag,) * len(self.decoder_block_out_channels)

    def _contradictions(self) -> Iterator[str]:
        yield from self._unimplemented()
        lengths = [*self._wrong_lengths()]
        yield from lengths or [*self._encoder_widths(), *self._decoder_widths()]

    def _unimplemented(self) -> Iterator[str]:
        if set(self.down_block_types) != {"LTX2VideoDownBlock3D"}:
            yield f"down_block_types={self.down_block_types} {NOT_RELEASED}; supported: 'LTX2VideoDownBlock3D'"
        for name, supported in (
            ("spatio_temporal_scaling", True),
            ("decoder_spatio_temporal_scaling", True),
            ("decoder_inject_noise", False),
        ):
            value = getattr(self, name)
            if (not supported) in (value if isinstance(value, tuple) else (value,)):
                yield f"{name}={value} {NOT_RELEASED}; supported: {supported} for every block"
        for name in ("downsample_type", "upsample_type"):
            if not set(getattr(self, name)) <= set(STRIDES):
                yield f"{name}={getattr(self, name)} must be made of {', '.join(STRIDES)}"

    def _wrong_lengths(self) -> Iterator[str]:
        down, up = len(self.block_out_channels), len(self.decoder_block_out_channels)
        for name, length in (
            ("down_block_types", down),
            ("downsample_type", down),
            ("layers_per_block", down + 1),
            ("upsample_type", up),
            ("upsample_factor", up),
            ("decoder_layers_per_block", up + 1),
        ):
            if len(getattr(self, name)) != length:
                yield f"{name} has {len(getattr(self, name))} entries and needs {length}"
        if len(self.residual_up_blocks) != up:
            yield f"upsample_residual has {len(self.residual_up_blocks)} entries and needs {up}"

    def _encoder_widths(self) -> Iterator[str]:
        widths = (self.latent_channels, *self.block_out_channels)
        for (width_in, width_out), kind in zip(pairwise(widths), self.downsample_type, strict=True):
            fold = prod(STRIDES.get(kind, (1,)))
            if width_out % fold or width_in * fold % width_out:
                yield f"block_out_channels: a {kind} downsampling by {fold} cannot go from {width_in} to {width_out}"

    def _decoder_widths(self) -> Iterator[str]:
        width = self.decoder_block_out_channels[-1]
        blocks = zip(
            reversed(self.decoder_block_out_channels),
            reversed(self.upsample_factor),
            reversed(self.residual_up_blocks),
            self.upsample_type,
            strict=True,
        )
        for listed, factor, residual, kind in blocks:
            fold = prod(STRIDES.get(kind, (1,)))
            if listed != width:
                yield (
                    f"decoder_block_out_channels: {listed} must be {width}, "
                    "which is what upsample_factor leaves of the deeper block"
                )
            if factor < 1 or width % factor or (residual and (width % fold or fold % factor)):
                yield f"upsample_factor: a {kind} upsampling cannot divide {width} channels by {factor}"
                return
            width = width // factor
