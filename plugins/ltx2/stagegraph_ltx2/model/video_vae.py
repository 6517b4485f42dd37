"""The video VAE: pixels to latents that are 32 times smaller in height and width and 8 times in time, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from ..shapes import LatentShape
from .adaln import TimestepEmbedder
from .config import STRIDES, VideoVAEConfig
from .layers import learned_table
from .stream import Stream, flow, regrouped
from .video_blocks import CausalConv3d, DownBlock, NormConv3d, ResBlocks, UpBlock, channelwise, patchify, unpatchify


def pack(z: Tensor) -> Tensor:
    """Latents [b, c, f, h, w] to tokens [b, t, c], ordered by frame, row and column."""
    return z.flatten(2).transpose(1, 2)


def unpack(tokens: Tensor, shape: LatentShape) -> Tensor:
    """The inverse of `pack`."""
    return torch.unflatten(tokens.transpose(1, 2), 2, (shape.frames, shape.height, shape.width))


class Encoder(nn.Module):
    """Pixels to the mean of the latent distribution."""

    def __init__(self, config: VideoVAEConfig) -> None:
        super().__init__()
        c = config
        self.patch_size = c.patch_size
        self.latent_channels = c.latent_channels
        causal, padding = c.encoder_causal, c.encoder_spatial_padding_mode
        widths = c.latent_channels, *c.block_out_channels
        self.conv_in = CausalConv3d(c.in_channels * c.patch_size**2, widths[0], causal=causal, padding=padding)
        self.down_blocks = nn.ModuleList(
            DownBlock(*pair, layers, STRIDES[kind], causal=causal, padding=padding)
            for pair, layers, kind in zip(pairwise(widths), c.layers_per_block[:-1], c.downsample_type, strict=True)
        )
        self.mid_block = ResBlocks(widths[-1], c.layers_per_block[-1], causal=causal, padding=padding)
        # One more channel, for a variance that all latent channels share and nobody samples from.
        self.conv_out = NormConv3d(widths[-1], c.latent_channels + 1, causal=causal, padding=padding)

    def forward(self, x: Tensor, *, stream: Stream | None = None) -> Tensor:
        x = self.conv_in(patchify(x, self.patch_size), stream=stream)
        for block in self.down_blocks:
            x = block(x, stream=stream)
        x = self.conv_out(self.mid_block(x, stream=stream), stream=stream)
        return x[:, : self.latent_channels]


class Decoder(nn.Module):
    """Latents to pixels, if so configured with the timestep of the noise that was left in them."""

    def __init__(self, config: VideoVAEConfig) -> None:
        super().__init__()
        c = config
        self.patch_size = c.patch_size
        causal, padding, timestep = c.decoder_causal, c.decoder_spatial_padding_mode, c.timestep_conditioning
        mid_layers, *layers = reversed(c.decoder_layers_per_block)
        width = c.decoder_block_out_channels[-1]
        self.conv_in = CausalConv3d(c.latent_channels, width, causal=causal, padding=padding)
        self.mid_block = ResBlocks(width, mid_layers, causal=causal, padding=padding, timestep=timestep)
        self.up_blocks = nn.ModuleList()
        for block_layers, factor, residual, kind in zip(
            layers, reversed(c.upsample_factor), reversed(c.residual_up_blocks), c.upsample_type, strict=True
        ):
            self.up_blocks.append(
                UpBlock(
                    width,
                    factor,
                    block_layers,
                    STRIDES[kind],
                    residual=residual,
                    causal=causal,
                    padding=padding,
                    timestep=timestep,
                )
            )
            width //= factor
        self.conv_out = NormConv3d(width, c.out_channels * c.patch_size**2, causal=causal, padding=padding)
        self.timestep_scale_multiplier = nn.Parameter(torch.tensor(1000.0)) if timestep else None
        self.time_embedder = TimestepEmbedder(2 * width) if timestep else None
        self.scale_shift_table = learned_table(2, width) if timestep else None

    def forward(self, z: Tensor, t: Tensor | None = None) -> Tensor:
        t = self._timestep(t)
        x = self._begin(z, t)
        for block in self.up_blocks:
            x = block(x, t)
        return self._end(x, t)

    def chunks(self, z: Tensor, t: Tensor | None, frames: int) -> Iterator[Tensor]:
        """Pixels in chunks of so many frames, and all layers on as many frames of theirs at a time."""
        t = self._timestep(t)
        pieces = flow(partial(self._begin, t=t), regrouped([z], frames))
        for block in cast("Iterable[UpBlock]", self.up_blocks):
            pieces = flow(partial(block, t=t), regrouped(pieces, max(1, frames // block.stride[0])))
        return flow(partial(self._end, t=t), regrouped(pieces, frames))

    def _timestep(self, t: Tensor | None) -> Tensor | None:
        return t if t is None or self.timestep_scale_multiplier is None else t * self.timestep_scale_multiplier

    def _begin(self, z: Tensor, t: Tensor | None, *, stream: Stream | None = None) -> Tensor:
        x: Tensor = self.mid_block(self.conv_in(z, stream=stream), t, stream=stream)
        return x

    def _end(self, x: Tensor, t: Tensor | None, *, stream: Stream | None = None) -> Tensor:
        return unpatchify(self.conv_out(x, *self._last_modulation(x, t), stream=stream), self.patch_size)

    def _last_modulation(self, x: Tensor, t: Tensor | None) -> tuple[Tensor, ...]:
        """Scale and shift of the last norm, or nothing."""
        if t is None or self.time_embedder is None or self.scale_shift_table is None:
            return ()
        modulation = torch.unflatten(self.time_embedder(t, x.dtype), 1, (2, -1))
        shift, scale = channelwise(self.scale_shift_table + modulation)
        return scale, shift


class VideoVAE(nn.Module):
    """Encoder, decoder, and the statistics by which the transformer's latents are normalised."""

    latents_mean: Tensor
    latents_std: Tensor

    def __init__(self, config: VideoVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.register_buffer("latents_mean", torch.zeros(config.latent_channels))
        self.register_buffer("latents_std", torch.ones(config.latent_channels))

    def encode(self, x: Tensor) -> Tensor:
        """Encode pixels in [-1, 1].

        Args:
            x: [b, 3, 8k + 1, h x 32, w x 32].

        Returns:
            The mode of the latents [b, c, k + 1, h, w], not normalised.
        """
        y: Tensor = self.encoder(x)
        return y

    def encode_chunks(self, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
        """Encode pixels as they come, with the result that `encode` has of all of them.

        Args:
            pieces: [b, 3, any number, h x 32, w x 32], 8k + 1 frames in all. Pieces of 8 frames, after one of 8k + 1,
                give latents at once.

        Returns:
            Latents [b, c, 1 or more, h, w], in order.
        """
        return flow(self.encoder, pieces)

    def decode(self, z: Tensor, timestep: Tensor | None = None) -> Tensor:
        """Decode latents that are not normalised.

        Args:
            z: [b, c, f, h, w].
            timestep: [b], noise level in [0, 1] left in the latents; given if and only if the VAE is conditioned on it.

        Returns:
            Pixels [b, 3, 8 (f - 1) + 1, h x 32, w x 32], nominally in [-1, 1].
        """
        self._check(timestep)
        y: Tensor = self.decoder(z, timestep)
        return y

    def decode_chunks(self, z: Tensor, timestep: Tensor | None = None, *, frames: int) -> Iterator[Tensor]:
        """Decode in chunks, with the result that `decode` has at once.

        Every layer works on a few frames at a time and keeps two for the next chunk, so that memory does not grow with
        the length of the video and no frame is computed twice. The first chunk takes longer than the others: a frame
        depends on up to 22 latent frames around it.

        Args:
            z: [b, c, f, h, w].
            timestep: as for `decode`.
            frames: how many a layer works on, and how many a chunk has at most.

        Returns:
            Pixels [b, 3, 1 or more, h x 32, w x 32], in order.
        """
        self._check(timestep)
        return self.decoder.chunks(z, timestep, frames)

    def _check(self, timestep: Tensor | None) -> None:
        if (timestep is not None) != self.config.timestep_conditioning:
            expected = "a timestep" if self.config.timestep_conditioning else "no timestep"
            raise ValueError(f"this video VAE decodes with {expected}")

    def normalize(self, z: Tensor) -> Tensor:
        """Latents [b, c, ...] of the VAE to those of the transformer."""
        shape = (-1,) + (1,) * (z.ndim - 2)
        return (z - self.latents_mean.to(z).view(shape)) / self.latents_std.to(z).view(shape)

    def denormalize(self, z: Tensor) -> Tensor:
        """Latents [b, c, ...] of the transformer to those of the VAE."""
        shape = (-1,) + (1,) * (z.ndim - 2)
        return z * self.latents_std.to(z).view(shape) + self.latents_mean.to(z).view(shape)
