"""What is to be kept is kept; what is not is generated."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stagegraph_ltx2.conditioning import AppendFrames, KeepFrames, KeepSound, Regenerate, blend, fresh, noisy
from stagegraph_ltx2.denoise import Recipe, denoise
from stagegraph_ltx2.model.config import TransformerConfig
from stagegraph_ltx2.model.positions import audio_positions, keyframe_positions, video_positions
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.model.video_vae import pack
from stagegraph_ltx2.rules import RULES
from stagegraph_ltx2.samplers import sampler_of
from stagegraph_ltx2.scales import Guidance, Scales
from stagegraph_ltx2.shapes import LatentShape, PixelShape
from stagegraph_ltx2.values import DenoisingProgress, LatentState, TextContext

from ..random_weights import randomize
from ..small import TRANSFORMER

SIZE = PixelShape(17, 64, 96)
CHANNELS = TRANSFORMER.in_channels


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    """The same numbers for the same shape and seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def state(seed: int = 0, scale: float = 1.0) -> LatentState:
    """Latents of which nothing is kept."""
    shape, sound = SIZE.latent(), SIZE.audio()
    return LatentState(
        fresh(
            randn(1, shape.tokens, CHANNELS, seed=seed),
            video_positions(shape, 24.0),
            randn(1, shape.tokens, CHANNELS, seed=9),
        ),
        fresh(randn(1, sound.tokens, TRANSFORMER.audio_in_channels, seed=seed + 1), audio_positions(sound)),
        SIZE,
        Fraction(24),
        scale,
        seed,
    )


@pytest.fixture(scope="module")
def model() -> AudioVideoTransformer:
    """A small transformer."""
    made = AudioVideoTransformer(TRANSFORMER).eval().requires_grad_(False)
    randomize(made)
    return made


def text(config: TransformerConfig = TRANSFORMER) -> TextContext:
    """A prompt."""
    return TextContext(randn(1, 6, config.caption_channels), randn(1, 6, config.caption_channels, seed=1))


schedules = st.lists(st.floats(0.01, 0.99), min_size=0, max_size=3, unique=True).map(
    lambda middle: (1.0, *sorted(middle, reverse=True), 0.0)
)


@settings(max_examples=25)
@given(
    schedules,
    st.integers(0, 10**6),
    st.sampled_from(["euler", "euler_ancestral", "res_2s", "gradient_estimation"]),
    st.sampled_from(["diffusers", "official"]),
    st.booleans(),
)
def test_what_is_kept_with_strength_1_comes_out_as_it_is(
    model: AudioVideoTransformer, sigmas: tuple[float, ...], seed: int, sampler: Any, rules: Any, whole_sound: bool
) -> None:
    """Bit for bit, for any schedule, seed and sampler; and the rest is generated."""
    frames, sound = randn(1, CHANNELS, 1, 2, 3, seed=5), randn(1, 4, TRANSFORMER.audio_in_channels, seed=6)
    kept = KeepSound(sound)(KeepFrames(frames)(state(seed)))
    kept = AppendFrames(randn(1, CHANNELS, 1, 2, 3, seed=7), 9, 1, randn(1, 6, CHANNELS, seed=8))(kept)
    if whole_sound:
        kept = KeepSound(randn(1, kept.audio.tokens, TRANSFORMER.audio_in_channels, seed=11))(kept)
    recipe = Recipe(sigmas, Guidance(video=Scales(text=2)), sampler_of(sampler), RULES[rules])
    video, audio = denoise(model, kept, recipe, text(), text())
    assert video.shape[1] == SIZE.latent().tokens
    assert torch.equal(video[:, :6], pack(frames))
    for tokens, result in ((kept.video, video), (kept.audio, audio)):
        mask = tokens.mask[:, : result.shape[1], 0] == 0
        assert torch.equal(result[mask], tokens.clean[:, : result.shape[1]][mask])
    assert not torch.isclose(video[:, 6:], kept.video.clean[:, 6:18]).all()
    assert torch.isfinite(video).all()


def test_a_frozen_stream_is_told_to_be_clean(model: AudioVideoTransformer) -> None:
    """The video then sees a sound without noise: another video than beside a sound that is generated."""
    sound = randn(1, state().audio.tokens, TRANSFORMER.audio_in_channels, seed=6)
    frozen = KeepSound(sound)(state())
    assert frozen.audio.frozen
    video, audio = denoise(model, frozen, Recipe((1.0, 0.5, 0.0)), text())
    assert torch.equal(audio, sound)
    free, _ = denoise(model, state(), Recipe((1.0, 0.5, 0.0)), text())
    assert not torch.allclose(video, free, atol=1e-3)


@given(st.just(0.0) | st.floats(0.01, 1), st.floats(0.05, 1))
def test_what_denoising_starts_from(strength: float, scale: float) -> None:
    """Noise in proportion; the two rules agree where everything is kept or nothing, and at a noise scale of 1."""
    tokens = KeepFrames(randn(1, CHANNELS, 1, 2, 3, seed=5), strength=strength)(state()).video
    ours, official = (noisy(tokens, scale, rules) for rules in (RULES["diffusers"], RULES["official"]))
    plain = (1 - scale) * tokens.initial + scale * tokens.noise
    assert torch.allclose(ours[:, 6:], plain[:, 6:], atol=1e-5)
    assert torch.allclose(official[:, 6:], plain[:, 6:], atol=1e-5)
    kept = strength * tokens.clean + (1 - strength) * plain
    assert torch.allclose(official[:, :6], kept[:, :6], atol=1e-5)
    m = (1 - strength) * scale
    if strength:
        expected = (1 - m) * tokens.clean + m * tokens.noise
        assert torch.allclose(ours[:, :6], expected[:, :6], atol=1e-5)
    if strength in (0, 1):
        assert torch.allclose(ours, official, atol=1e-5)
    whole = [noisy(tokens, 1.0, rules) for rules in RULES.values()]
    assert torch.allclose(*whole, atol=1e-5)


def test_items_leave_the_state_that_they_are_given() -> None:
    """Other nodes may read it."""
    before = state()
    copies = [getattr(before.video, f.name).clone() for f in attrs.fields(type(before.video))]
    KeepFrames(randn(1, CHANNELS, 2, 2, 3))(before)
    AppendFrames(randn(1, CHANNELS, 1, 2, 3), 9, 1, randn(1, 6, CHANNELS))(before)
    KeepSound(randn(1, 3, TRANSFORMER.audio_in_channels))(before)
    Regenerate("video", 0.2)(before)
    assert all(
        torch.equal(getattr(before.video, f.name), c)
        for f, c in zip(attrs.fields(type(before.video)), copies, strict=True)
    )


def test_kept_frames_must_be_within_the_video() -> None:
    """So many tokens there are."""
    with pytest.raises(ValueError, match="tokens 12 to 24 are kept, but there are 18"):
        KeepFrames(randn(1, CHANNELS, 2, 2, 3), start=2)(state())


def test_a_stretch_of_time_is_generated_anew() -> None:
    """Every latent frame that it touches: 0 is pixel frame 0, 1 the frames 1 to 8, 2 the frames 9 to 16."""
    kept = KeepFrames(randn(1, CHANNELS, 3, 2, 3))(state())
    assert kept.video.frozen

    def generated(start: float, end: float | None) -> list[int]:
        mask = Regenerate("video", start, end)(kept).video.mask[0, ::6, 0]
        return [int(m) for m in mask]

    assert generated(0, None) == [1, 1, 1]
    assert generated(0, 1 / 24) == [1, 0, 0]
    assert generated(1.5 / 24, 5 / 24) == [0, 1, 0]
    assert generated(8.5 / 24, 10 / 24) == [0, 1, 1]
    sound = KeepSound(randn(1, 10, TRANSFORMER.audio_in_channels))(state())
    again = Regenerate("audio", 0.1, 0.2)(sound).audio.mask[0, :, 0]
    assert [int(m) for m in again] == [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, *[1] * (len(again) - 10)]


@pytest.mark.parametrize(
    ("frame", "pixel_frames", "frames", "bounds"),
    [
        (0, 1, 1, [(0, 1)]),
        (0, 9, 2, [(0, 1), (1, 9)]),
        (9, 1, 1, [(9, 10)]),
        (1, 9, 2, [(1, 9), (9, 17)]),
        (16, 1, 1, [(16, 17)]),
    ],
)
def test_keyframes_stand_where_they_begin(
    frame: int, pixel_frames: int, frames: int, bounds: list[tuple[int, int]]
) -> None:
    """In pixel frames; a still covers one, a clip eight for each latent frame but for the first of the video."""
    made = keyframe_positions(LatentShape(frames, 1, 2), frame, pixel_frames, 1.0)
    assert [tuple(b) for b in made[0, 0, ::2].tolist()] == bounds
    assert torch.equal(made[:, 1:], video_positions(LatentShape(frames, 1, 2), 1.0)[:, 1:])


def test_keyframes_move_with_the_video() -> None:
    """Where the video begins later, so does what stands beside it."""
    before = state()
    where = before.video.positions.clone()
    where[:, 0] += 2
    later = attrs.evolve(before, video=attrs.evolve(before.video, positions=where))
    item = AppendFrames(randn(1, CHANNELS, 1, 2, 3), 9, 1, randn(1, 6, CHANNELS))
    assert torch.allclose(item(later).video.positions[:, 0, 18:], item(before).video.positions[:, 0, 18:] + 2)


def test_blending_keeps_exactly_what_is_kept() -> None:
    """Whatever the estimate is, also where it is no number."""
    tokens = KeepFrames(randn(1, CHANNELS, 1, 2, 3))(state()).video
    x0 = torch.full_like(tokens.noise, float("nan"))
    assert torch.equal(blend(x0, tokens)[:, :6], tokens.clean[:, :6])


@pytest.mark.parametrize("sampler", ["euler", "euler_ancestral", "res_2s", "gradient_estimation"])
def test_a_loop_that_is_continued_ends_with_the_same_bits(model: AudioVideoTransformer, sampler: Any) -> None:
    """After any of its steps, with the noise and the memory that it would have had."""
    sigmas = (1.0, 0.8, 0.5, 0.2, 0.0)
    recipe, seen = Recipe(sigmas, sampler=sampler_of(sampler)), list[DenoisingProgress]()
    whole = denoise(model, state(), recipe, text(), on_step=lambda progress, total: seen.append(progress))
    assert [progress.step for progress in seen] == [1, 2, 3, 4]
    for progress in seen[:3]:
        rest = denoise(model, state(), recipe, text(), start=progress)
        assert all(torch.equal(a, b) for a, b in zip(whole, rest, strict=True))


def test_passes_together_and_apart_agree(model: AudioVideoTransformer) -> None:
    """One batch, or one for each."""
    kept = KeepFrames(randn(1, CHANNELS, 1, 2, 3), strength=0.5)(state())
    guidance = Guidance(Scales(3, 1, 3, 0.7), Scales(7, 0.5, 2, 0.7), (1,))
    negative = TextContext(randn(1, 6, TRANSFORMER.caption_channels, seed=3), text().audio)
    results = [
        denoise(model, kept, Recipe((1.0, 0.5, 0.0), guidance, rules=RULES[rules], together=together), text(), negative)
        for rules in ("diffusers", "official")
        for together in (True, False)
    ]
    assert torch.allclose(results[0][0], results[1][0], atol=1e-4)
    assert torch.allclose(results[2][0], results[3][0], atol=1e-4)
    assert not torch.allclose(results[0][0], results[2][0], atol=1e-3)
