"""What the audio VAE is built from. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from .base import Config, depth, only, size


@attrs.frozen
class AudioVAEConfig(Config):
    """The audio VAE over mel spectrograms, the same in every release."""

    diffusers_class = "AutoencoderKLLTX2Audio"

    base_channels: int = size(128)
    output_channels: int = size(2)
    ch_mult: tuple[int, ...] = (1, 2, 4)
    num_res_blocks: int = depth(2)
    attn_resolutions: tuple[int, ...] | None = only(None)
    in_channels: int = size(2)
    resolution: int = size(256)  # read together with attn_resolutions only
    latent_channels: int = size(8)
    norm_type: str = only("pixel")
    causality_axis: str = only("height")  # the time axis
    dropout: float = only(0.0)
    mid_block_add_attention: bool = only(False)
    sample_rate: int = only(16000)
    mel_hop_length: int = only(160)
    is_causal: bool = only(True)
    mel_bins: int = size(64)
    double_z: bool = only(True)

    def _contradictions(self) -> Iterator[str]:
        if len(self.ch_mult) != 3 or min(self.ch_mult) < 1:
            yield f"ch_mult={self.ch_mult} must be 3 counts: two halvings make the compression of 4"
        if self.mel_bins % 4:
            yield f"mel_bins={self.mel_bins} must be a multiple of 4"
        elif self.base_channels != (packed := self.latent_channels * self.mel_bins // 4):
            yield (
                f"base_channels={self.base_channels} must be latent_channels x mel_bins / 4 = {packed}: "
                "the statistics of packed latents are stored with base_channels entries"
            )
