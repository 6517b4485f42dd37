"""The noise that generation starts from."""

from __future__ import annotations

import torch

from stagegraph_ltx2.noise import add_noise, draw_noise, seeded
from stagegraph_ltx2.shapes import AudioShape, LatentShape

VIDEO, AUDIO = LatentShape(3, 4, 5), AudioShape(7)


def test_one_stream_of_numbers_makes_video_first_and_then_audio() -> None:
    """In token order, for the whole batch."""
    video, audio = draw_noise(seeded(3), VIDEO, AUDIO, batch=2)
    stream = torch.randn(2 * 60 * 128 + 2 * 7 * 128, generator=seeded(3))
    assert torch.equal(video, stream[: 2 * 60 * 128].view(2, 60, 128))
    assert torch.allclose(audio, stream[2 * 60 * 128 :].view(2, 7, 128))
    assert video.dtype == audio.dtype == torch.float32
    assert video.device.type == "cpu"


def test_a_seed_gives_the_same_noise_each_time_and_another_seed_other_noise() -> None:
    """To the bit."""
    first, again, other = (draw_noise(seeded(seed), VIDEO, AUDIO) for seed in (10, 10, 11))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_a_generator_goes_on_for_the_refine_pass() -> None:
    """The second drawing differs from the first."""
    generator = seeded(10)
    first, second = (draw_noise(generator, VIDEO, AUDIO) for _ in range(2))
    assert not torch.equal(first[0], second[0])
    assert not torch.equal(first[1], second[1])


def test_the_first_sample_of_a_batch_has_the_video_noise_of_a_batch_of_one() -> None:
    """And audio noise of its own, which is drawn after the video of the other samples."""
    alone, batch = (draw_noise(seeded(10), VIDEO, AUDIO, batch=size) for size in (1, 2))
    assert torch.equal(alone[0][0], batch[0][0])
    assert not torch.equal(alone[1][0], batch[1][0])


def test_noise_is_standard_normal_and_channels_can_be_chosen() -> None:
    """As a small model needs."""
    video, audio = draw_noise(seeded(0), VIDEO, AUDIO, batch=50, video_channels=16, audio_channels=12)
    assert video.shape == (50, 60, 16)
    assert audio.shape == (50, 7, 12)
    assert abs(video.mean()) < 0.02
    assert abs(video.std() - 1) < 0.02


def test_adding_noise_keeps_latents_at_0_and_replaces_them_at_1() -> None:
    """And mixes in between."""
    x, noise = torch.randn(2, 2, 6, 4)
    assert torch.equal(add_noise(x, noise, 0), x)
    assert torch.allclose(add_noise(x, noise, 1), noise)
    assert torch.allclose(add_noise(x, noise, 0.25), 0.75 * x + 0.25 * noise)
