"""The transformer gives what diffusers' LTX2VideoTransformer3DModel gives with the same weights, fp32 on the CPU."""

from __future__ import annotations

import pytest
import torch
from diffusers import LTX2VideoTransformer3DModel
from torch import Tensor

from stagegraph_ltx2.model.attention import as_bias
from stagegraph_ltx2.model.config import TransformerConfig
from stagegraph_ltx2.model.positions import audio_positions, video_positions
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.shapes import AudioShape, LatentShape

from ..random_weights import relative_error, share

TOLERANCE = 2e-5

ONE_HEAD = TransformerConfig(
    in_channels=6,
    out_channels=None,
    num_attention_heads=1,
    attention_head_dim=20,  # three axes leave one channel pair over
    cross_attention_dim=20,
    audio_in_channels=8,
    audio_out_channels=5,
    audio_num_attention_heads=1,
    audio_attention_head_dim=12,
    audio_cross_attention_dim=12,
    num_layers=2,
    caption_channels=14,
    attention_bias=False,
    attention_out_bias=False,
    pos_embed_max_pos=7,
    audio_pos_embed_max_pos=11,
    base_height=320,
    base_width=640,
    timestep_scale_multiplier=500,
    norm_eps=1e-5,
    rope_theta=500.0,
)
FOUR_HEADS = TransformerConfig(
    num_attention_heads=4,
    attention_head_dim=32,
    cross_attention_dim=128,
    audio_num_attention_heads=4,
    audio_attention_head_dim=16,
    audio_cross_attention_dim=64,
    num_layers=3,
    caption_channels=40,
    rope_double_precision=False,
    rope_type="split",
)
CONFIGS = pytest.mark.parametrize("config", [ONE_HEAD, FOUR_HEADS], ids=["one head", "four heads"])

SHAPE = LatentShape(3, 5, 7)
AUDIO = AudioShape(11)
FRAME_RATE = 29.97
TEXT = 9


class Pair:
    """Our transformer and diffusers', with the same weights and a batch of two inputs."""

    def __init__(self, config: TransformerConfig) -> None:
        self.ours = AudioVideoTransformer(config)
        self.theirs = LTX2VideoTransformer3DModel.from_config(config.to_dict())
        share(self.ours, self.theirs)
        generator = torch.Generator().manual_seed(1)
        self.inputs = [
            torch.randn(2, tokens, channels, generator=generator)
            for tokens, channels in (
                (SHAPE.tokens, config.in_channels),
                (AUDIO.tokens, config.audio_in_channels),
                (TEXT, config.caption_channels),
                (TEXT, config.caption_channels),
            )
        ]
        self.positions = video_positions(SHAPE, FRAME_RATE), audio_positions(AUDIO)

    @torch.no_grad()
    def run(self, video_t: Tensor, audio_t: Tensor, **options: Tensor | None) -> tuple[Tensor, Tensor]:
        """Our velocities."""
        output: tuple[Tensor, Tensor] = self.ours(
            *self.inputs, video_t, audio_t, self.ours.rotary(*self.positions), **options
        )
        return output

    @torch.no_grad()
    def run_theirs(self, video_t: Tensor, audio_t: Tensor, **options: Tensor | bool) -> tuple[Tensor, Tensor]:
        """Velocities of diffusers, which builds positions of its own."""
        output: tuple[Tensor, Tensor] = self.theirs(
            *self.inputs,
            timestep=video_t,
            audio_timestep=audio_t,
            num_frames=SHAPE.frames,
            height=SHAPE.height,
            width=SHAPE.width,
            fps=FRAME_RATE,
            audio_num_frames=AUDIO.frames,
            return_dict=False,
            **options,
        )
        return output


def assert_same(got: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    for ours, theirs in zip(got, expected, strict=True):
        assert relative_error(ours, theirs) < TOLERANCE


@CONFIGS
def test_whole_samples_at_different_timesteps(config: TransformerConfig) -> None:
    """Each sample of a batch has a timestep of its own, the same for both streams."""
    pair = Pair(config)
    t = torch.tensor([1000.0, 421.875])
    assert_same(pair.run(t, t), pair.run_theirs(t, t))


@CONFIGS
@pytest.mark.parametrize("use_cross_timestep", [False, True])
def test_tokens_at_different_timesteps(config: TransformerConfig, use_cross_timestep: bool) -> None:
    """Between the streams, modulation follows the own tokens or the other stream's noise level."""
    pair = Pair(config)
    video_sigma, audio_sigma = torch.tensor([909.375, 725.0]), torch.tensor([700.0, 300.0])
    generator = torch.Generator().manual_seed(2)
    video_t = video_sigma[:, None] * torch.rand(2, SHAPE.tokens, generator=generator).round(decimals=1)
    audio_t = audio_sigma[:, None] * torch.rand(2, AUDIO.tokens, generator=generator).round(decimals=1)
    theirs = pair.run_theirs(
        video_t, audio_t, sigma=video_sigma, audio_sigma=audio_sigma, use_cross_timestep=use_cross_timestep
    )
    cross = {"video_cross_timestep": audio_sigma, "audio_cross_timestep": video_sigma} if use_cross_timestep else {}
    assert_same(pair.run(video_t, audio_t, **cross), theirs)
    other = {} if use_cross_timestep else {"video_cross_timestep": audio_sigma, "audio_cross_timestep": video_sigma}
    assert relative_error(pair.run(video_t, audio_t, **other)[0], theirs[0]) > 100 * TOLERANCE


@CONFIGS
def test_text_that_is_masked(config: TransformerConfig) -> None:
    """Padding on the left for the video and on the right for the audio."""
    pair = Pair(config)
    t = torch.tensor([987.5, 100.0])
    position = torch.arange(TEXT)
    left, right = torch.stack((position >= 4, position >= 1)), torch.stack((position < 8, position < 2))
    theirs = pair.run_theirs(t, t, encoder_attention_mask=left.long(), audio_encoder_attention_mask=right.long())
    ours = pair.run(
        t,
        t,
        video_context_bias=as_bias(left, torch.float32),
        audio_context_bias=as_bias(right, torch.float32),
    )
    assert_same(ours, theirs)
    assert relative_error(pair.run(t, t)[1], theirs[1]) > 100 * TOLERANCE


@CONFIGS
def test_one_loop_needs_one_rotary(config: TransformerConfig) -> None:
    """Positions of one sample serve the whole batch exactly as repeated positions do."""
    pair = Pair(config)
    t = torch.tensor([500.0, 250.0])
    shared = pair.run(t, t)
    pair.positions = tuple(positions.repeat(2, 1, 1, 1) for positions in pair.positions)
    repeated = pair.run(t, t)
    assert_same(shared, repeated)


def test_positions_are_those_of_diffusers() -> None:
    """Bounds in seconds and pixels, bit for bit."""
    theirs = LTX2VideoTransformer3DModel.from_config(ONE_HEAD.to_dict())
    for shape, frame_rate in ((LatentShape(16, 16, 24), 24.0), (SHAPE, FRAME_RATE), (LatentShape(1, 2, 2), 50.0)):
        expected = theirs.rope.prepare_video_coords(1, shape.frames, shape.height, shape.width, "cpu", fps=frame_rate)
        assert torch.equal(video_positions(shape, frame_rate), expected)
    for frames in (1, 11, 126):
        expected = theirs.audio_rope.prepare_audio_coords(1, frames, "cpu")
        assert torch.equal(audio_positions(AudioShape(frames)), expected)
