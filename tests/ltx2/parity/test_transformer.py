"""The transformer gives what diffusers' LTX2VideoTransformer3DModel gives with the same weights, fp32 on the CPU."""

from __future__ import annotations

import attrs
import pytest
import torch
from diffusers import LTX2VideoTransformer3DModel
from torch import Tensor

from stagegraph_ltx2.model.adaln import levels, scaled
from stagegraph_ltx2.model.attention import as_bias
from stagegraph_ltx2.model.conditions import Biases, Perturbation, Timesteps
from stagegraph_ltx2.model.config import TransformerConfig
from stagegraph_ltx2.model.positions import audio_positions, video_positions
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.shapes import AudioShape, LatentShape

from ..random_weights import relative_error, share
from ..small import LTX_2_3, LTX_2_5

TOLERANCE = 5e-6

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
# Every key that later releases changed, alone and together.
CASES = {
    "one head": ONE_HEAD,
    "four heads": FOUR_HEADS,
    "2.3, one head": attrs.evolve(ONE_HEAD, **LTX_2_3),
    "2.3, four heads": attrs.evolve(FOUR_HEADS, **LTX_2_3),
    "2.3, static text": attrs.evolve(FOUR_HEADS, **LTX_2_3, use_prompt_adaln_single=False),
    "2.5": attrs.evolve(FOUR_HEADS, **LTX_2_5),
    "gated video": attrs.evolve(FOUR_HEADS, gated_attn=True, perturbed_attn=True),
    "modulated video text": attrs.evolve(ONE_HEAD, cross_attn_mod=True, audio_ff_bias=False),
    "modulated audio text": attrs.evolve(FOUR_HEADS, audio_gated_attn=True, audio_cross_attn_mod=True),
}
CONFIGS = pytest.mark.parametrize("config", CASES.values(), ids=CASES.keys())
NAMES = "four heads", "2.3, one head", "2.3, static text"
SOME = pytest.mark.parametrize("config", [CASES[name] for name in NAMES], ids=NAMES)
PERTURBED = pytest.mark.parametrize("name", ["2.3, one head", "2.3, four heads", "2.5", "gated video"])

SHAPE = LatentShape(3, 5, 7)
AUDIO = AudioShape(11)
FRAME_RATE = 29.97
TEXT = 9
SIGMAS = torch.tensor([909.375, 725.0]), torch.tensor([700.0, 300.0])


class Pair:
    """Our transformer and diffusers', with the same weights and a batch of two inputs."""

    def __init__(self, config: TransformerConfig) -> None:
        self.ours = AudioVideoTransformer(config)
        self.theirs = LTX2VideoTransformer3DModel.from_config(config.to_dict())
        share(self.ours, self.theirs)
        generator = torch.Generator().manual_seed(1)
        text = [config.caption_channels] * 2 if config.use_prompt_embeddings else [config.width, config.audio_width]
        self.inputs = [
            torch.randn(2, tokens, channels, generator=generator)
            for tokens, channels in (
                (SHAPE.tokens, config.in_channels),
                (AUDIO.tokens, config.audio_in_channels),
                (TEXT, text[0]),
                (TEXT, text[1]),
            )
        ]
        self.positions = video_positions(SHAPE, FRAME_RATE), audio_positions(AUDIO)

    def run(self, timesteps: Timesteps | Tensor, *, ahead: bool = False, **options: object) -> tuple[Tensor, Tensor]:
        """Our velocities."""
        video, audio, *contexts = self.inputs
        output: tuple[Tensor, Tensor] = self.ours(
            video,
            audio,
            self.ours.text(*contexts, ahead=ahead),
            timesteps if isinstance(timesteps, Timesteps) else Timesteps.alike(timesteps),
            self.ours.rotary(*self.positions),
            **options,
        )
        return output

    def run_theirs(self, timesteps: Timesteps | Tensor, **options: object) -> tuple[Tensor, Tensor]:
        """Velocities of diffusers, which builds positions of its own."""
        t = timesteps if isinstance(timesteps, Timesteps) else Timesteps.alike(timesteps)
        output: tuple[Tensor, Tensor] = self.theirs(
            *self.inputs,
            timestep=t.video,
            audio_timestep=t.audio,
            sigma=t.video_sigma,
            audio_sigma=t.audio_sigma,
            num_frames=SHAPE.frames,
            height=SHAPE.height,
            width=SHAPE.width,
            fps=FRAME_RATE,
            audio_num_frames=AUDIO.frames,
            return_dict=False,
            **{"use_cross_timestep": True} | options,
        )
        return output


def assert_same(got: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    for ours, theirs in zip(got, expected, strict=True):
        assert relative_error(ours, theirs) < TOLERANCE


def assert_other(got: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    """What a test varies has an effect on both streams."""
    for ours, theirs in zip(got, expected, strict=True):
        assert relative_error(ours, theirs) > 100 * TOLERANCE


def per_token() -> Timesteps:
    """Few distinct timesteps, scattered over the tokens, none of which need be at the level of the stream."""
    generator = torch.Generator().manual_seed(2)
    masks = (torch.rand(2, n, generator=generator).round(decimals=1) for n in (SHAPE.tokens, AUDIO.tokens))
    return Timesteps(*(sigma[:, None] * mask for sigma, mask in zip(SIGMAS, masks, strict=True)), *SIGMAS)


@CONFIGS
@torch.no_grad()
def test_whole_samples_at_different_timesteps(config: TransformerConfig) -> None:
    """Each sample of a batch has a timestep of its own, the same for both streams."""
    pair = Pair(config)
    t = torch.tensor([1000.0, 421.875])
    assert_same(pair.run(t), pair.run_theirs(t))


@CONFIGS
@pytest.mark.parametrize("use_cross_timestep", [False, True])
@torch.no_grad()
def test_tokens_at_different_timesteps(config: TransformerConfig, use_cross_timestep: bool) -> None:
    """Between the streams, modulation follows the own tokens or the other stream's noise level."""
    pair = Pair(config)
    theirs = pair.run_theirs(per_token(), use_cross_timestep=use_cross_timestep)
    names = ["own", "other"]
    assert_same(pair.run(per_token(), cross_timestep=names[use_cross_timestep]), theirs)
    assert_other(pair.run(per_token(), cross_timestep=names[not use_cross_timestep]), theirs)
    assert_other(pair.run(per_token(), cross_timestep="mixed"), theirs)


@SOME
@pytest.mark.parametrize("cross_timestep", ["other", "own", "mixed"])
@torch.no_grad()
def test_tokens_that_share_timesteps_need_each_only_once(config: TransformerConfig, cross_timestep: str) -> None:
    """Levels of a mask, scaled by the noise level of each sample, are the timesteps of all tokens."""
    pair = Pair(config)
    t = per_token()
    mask, audio_mask = (levels(x / sigma[:, None]) for x, sigma in zip(t[:2], SIGMAS, strict=True))
    assert mask.values.shape[1] == 11
    shared = Timesteps(scaled(mask, SIGMAS[0][:, None]), scaled(audio_mask, SIGMAS[1][:, None]), *SIGMAS)
    expected = pair.run(t, cross_timestep=cross_timestep)
    assert_same(pair.run(shared, cross_timestep=cross_timestep), expected)


@SOME
@torch.no_grad()
def test_text_that_is_masked(config: TransformerConfig) -> None:
    """Padding on the left for the video and on the right for the audio."""
    pair = Pair(config)
    t = torch.tensor([987.5, 100.0])
    position = torch.arange(TEXT)
    left, right = torch.stack((position >= 4, position >= 1)), torch.stack((position < 8, position < 2))
    theirs = pair.run_theirs(t, encoder_attention_mask=left.long(), audio_encoder_attention_mask=right.long())
    biases = Biases(video_text=as_bias(left, torch.float32), audio_text=as_bias(right, torch.float32))
    assert_same(pair.run(t, biases=biases), theirs)
    assert_other(pair.run(t), theirs)


@CONFIGS
@torch.no_grad()
def test_text_that_was_read_ahead(config: TransformerConfig) -> None:
    """The same bits, whether each block reads the prompt before a loop or at every step."""
    pair = Pair(config)
    t = torch.tensor([500.0, 250.0])
    ahead, each = pair.run(t, ahead=True), pair.run(t)
    assert len(pair.ours.text(*pair.inputs[2:], ahead=True).read) == (
        0 if config.text_follows_noise else config.num_layers
    )
    assert torch.equal(ahead[0], each[0])
    assert torch.equal(ahead[1], each[1])


@PERTURBED
@torch.no_grad()
def test_blocks_without_self_attention(name: str) -> None:
    """In some blocks, video and audio tokens keep their own values: spatio-temporal guidance."""
    pair = Pair(CASES[name])
    t = torch.tensor([900.0, 300.0])
    last = CASES[name].num_layers - 1
    theirs = pair.run_theirs(t, spatio_temporal_guidance_blocks=[last])
    assert_same(pair.run(t, perturbation=Perturbation(frozenset({last}), frozenset({last}))), theirs)
    assert_other(pair.run(t, perturbation=Perturbation(frozenset({0}), frozenset({0}))), theirs)
    assert_other(pair.run(t), theirs)


@PERTURBED
@torch.no_grad()
def test_blocks_without_self_attention_in_one_sample(name: str) -> None:
    """Passes with and without guidance share a batch."""
    pair = Pair(CASES[name])
    t = torch.tensor([900.0, 300.0])
    kept = torch.tensor([1.0, 0.0])
    theirs = pair.run_theirs(t, spatio_temporal_guidance_blocks=[1], perturbation_mask=kept)
    both = frozenset({1})
    got = pair.run(t, perturbation=Perturbation(both, both, kept))
    assert_same(got, theirs)
    plain, perturbed = pair.run(t), pair.run(t, perturbation=Perturbation(both, both))
    for x, first, second in zip(got, plain, perturbed, strict=True):
        assert torch.allclose(x, torch.stack((first[0], second[1])), atol=1e-5)


@torch.no_grad()
def test_each_stream_has_blocks_of_its_own_to_perturb() -> None:
    """In the first block, perturbing a stream leaves the other as it is until they meet."""
    pair = Pair(FOUR_HEADS)  # LTX-2.0, which diffusers never perturbs
    t = torch.tensor([900.0, 300.0])
    isolated = pair.run(t, perturbation=Perturbation(isolated=True))
    video = pair.run(t, perturbation=Perturbation(video_blocks=frozenset({0}), isolated=True))
    audio = pair.run(t, perturbation=Perturbation(audio_blocks=frozenset({0}), isolated=True))
    assert torch.equal(video[1], isolated[1])
    assert torch.equal(audio[0], isolated[0])
    assert relative_error(video[0], isolated[0]) > 0.01
    assert relative_error(audio[1], isolated[1]) > 0.01


@SOME
@torch.no_grad()
def test_streams_that_do_not_meet(config: TransformerConfig) -> None:
    """No attention between video and audio: modality guidance."""
    pair = Pair(config)
    t = torch.tensor([900.0, 300.0])
    theirs = pair.run_theirs(t, isolate_modalities=True)
    assert_same(pair.run(t, perturbation=Perturbation(isolated=True)), theirs)
    assert_other(pair.run(t), theirs)


@SOME
@torch.no_grad()
def test_video_tokens_that_may_not_see_each_other(config: TransformerConfig) -> None:
    """A mask of queries and keys, with values between 0 and 1."""
    pair = Pair(config)
    t = torch.tensor([900.0, 300.0])
    mask = torch.rand(2, SHAPE.tokens, SHAPE.tokens, generator=torch.Generator().manual_seed(3))
    mask = torch.where(mask < 0.5, 0.0, torch.where(mask < 0.9, 1.0, 0.9999))
    theirs = pair.run_theirs(t, video_self_attention_mask=mask)
    assert_same(pair.run(t, biases=Biases(video=as_bias(mask, torch.float32))), theirs)
    assert_other(pair.run(t), theirs)


@torch.no_grad()
def test_keyframes_are_marked() -> None:
    """LTX-2.5 has an embedding of tokens that stand for one pixel frame."""
    pair = Pair(CASES["2.5"])
    t = torch.tensor([900.0, 300.0])
    keyframes = (torch.arange(SHAPE.tokens) < SHAPE.tokens_per_frame).expand(2, -1)
    theirs = pair.run_theirs(t, video_keyframes_mask=keyframes[:, :, None])
    assert_same(pair.run(t, keyframes=keyframes), theirs)
    assert_other(pair.run(t), theirs)


@pytest.mark.parametrize("name", ["four heads", "2.3, one head", "2.3, static text", "2.5"])
def test_gradients(name: str) -> None:
    """Of every weight and input, through levels of timesteps and a perturbed block."""
    config = CASES[name]
    pair = Pair(config)
    t = per_token()
    mask, audio_mask = (levels(x / sigma[:, None]) for x, sigma in zip(t[:2], SIGMAS, strict=True))
    shared = Timesteps(scaled(mask, SIGMAS[0][:, None]), scaled(audio_mask, SIGMAS[1][:, None]), *SIGMAS)
    keyframes = torch.ones(2, SHAPE.tokens) if config.use_keyframes_abs_pos_embedding else None
    options = {"video_keyframes_mask": keyframes[:, :, None]} if keyframes is not None else {}
    blocks = frozenset({1} if config.perturbed_attn else ())
    for x in pair.inputs:
        x.requires_grad_(True)
    theirs = pair.run_theirs(t, spatio_temporal_guidance_blocks=[*blocks], **options)
    expected = _gradients(pair, theirs, pair.theirs)
    ours = pair.run(shared, perturbation=Perturbation(blocks, blocks), keyframes=keyframes)
    got = _gradients(pair, ours, pair.ours)
    assert got.keys() == expected.keys()
    for key, gradient in expected.items():
        scale = gradient.abs().max()
        assert (got[key] - gradient).abs().max() <= 2e-5 * scale, key


def _gradients(pair: Pair, output: tuple[Tensor, Tensor], model: torch.nn.Module) -> dict[str, Tensor]:
    """Of a loss that weighs every output differently."""
    generator = torch.Generator().manual_seed(4)
    loss = sum((x * torch.randn(x.shape, generator=generator)).sum() for x in output)
    names = [*(f"input {i}" for i in range(4)), *(name for name, _ in model.named_parameters())]
    found = torch.autograd.grad(loss, [*pair.inputs, *model.parameters()], allow_unused=True)
    return {name: gradient for name, gradient in zip(names, found, strict=True) if gradient is not None}


@SOME
@torch.no_grad()
def test_one_loop_needs_one_rotary(config: TransformerConfig) -> None:
    """Positions of one sample serve the whole batch exactly as repeated positions do."""
    pair = Pair(config)
    t = torch.tensor([500.0, 250.0])
    shared = pair.run(t)
    pair.positions = tuple(positions.repeat(2, 1, 1, 1) for positions in pair.positions)
    repeated = pair.run(t)
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
