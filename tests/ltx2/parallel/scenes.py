"""Transformers with six heads, and what they denoise: of any number of tokens."""

from __future__ import annotations

from fractions import Fraction

import attrs
import torch
from torch import Tensor

from stagegraph_ltx2.conditioning import AppendFrames, KeepFrames, KeepSound, fresh
from stagegraph_ltx2.model.config import TransformerConfig
from stagegraph_ltx2.model.positions import audio_positions, video_positions
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.shapes import AudioShape, PixelShape
from stagegraph_ltx2.values import LatentState, TextContext

from ..random_weights import randomize
from ..small import LTX_2_3, TRANSFORMER

SIX_HEADS = attrs.evolve(
    TRANSFORMER,
    num_attention_heads=6,
    attention_head_dim=8,
    cross_attention_dim=48,
    audio_num_attention_heads=6,
    audio_attention_head_dim=4,
    audio_cross_attention_dim=24,
)
SIX_HEADS_2_3 = attrs.evolve(SIX_HEADS, **LTX_2_3)
CONFIGS = {"2.0": SIX_HEADS, "2.3": SIX_HEADS_2_3}


def randn(*shape: int, seed: int = 0) -> Tensor:
    """The same numbers for the same shape and seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def transformer(config: TransformerConfig) -> AudioVideoTransformer:
    """With random weights."""
    made = AudioVideoTransformer(config).eval().requires_grad_(False)
    randomize(made)
    return made


def text(config: TransformerConfig, seed: int = 0) -> TextContext:
    """A prompt."""
    widths = (config.caption_channels,) * 2 if config.use_prompt_embeddings else (config.width, config.audio_width)
    video, audio = (randn(1, 7, width, seed=seed + i) for i, width in enumerate(widths))
    return TextContext(video, audio)


def plain(frames: int = 17, height: int = 96, width: int = 160, sound: int | None = None) -> LatentState:
    """Latents of which nothing is kept; by default 45 video and 18 audio tokens."""
    size = PixelShape(frames, height, width)
    shape, audio = size.latent(), size.audio() if sound is None else AudioShape(sound)
    return LatentState(
        fresh(randn(1, shape.tokens, SIX_HEADS.in_channels), video_positions(shape, 24.0)),
        fresh(randn(1, audio.tokens, SIX_HEADS.audio_in_channels, seed=1), audio_positions(audio)),
        size,
        Fraction(24),
    )


def conditioned() -> LatentState:
    """The first latent frame is kept, and one before the last stands as tokens beside the video, which are 47 then."""
    state = plain(17, 64, 192)
    channels, shape = SIX_HEADS.in_channels, state.size.latent()
    frame = randn(1, channels, 1, shape.height, shape.width, seed=5)
    state = KeepFrames(frame, 0, strength=0.9)(state)
    keyframe = randn(1, channels, 1, 1, 11, seed=6)
    return AppendFrames(keyframe, 8, 1, randn(1, 11, channels, seed=7))(state)


def frozen_sound() -> LatentState:
    """All of the sound is kept."""
    state = plain()
    return KeepSound(randn(1, state.audio.tokens, SIX_HEADS.audio_in_channels, seed=8))(state)
