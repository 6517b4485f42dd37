"""On a CUDA device: the same noise, the same latents as on the CPU, bf16 by default, the same bytes twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import stagegraph as sg
from stagegraph_ltx2.component import LTX2Checkpoint
from stagegraph_ltx2.stages import (
    LTX2AudioDecodingStage,
    LTX2DenoisingStage,
    LTX2LatentPreparationStage,
    LTX2TextEncodingStage,
    LTX2VideoDecodingStage,
)

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(autouse=True)
def _full_precision() -> Iterator[None]:
    """fp32 means fp32: without TF32, which a program may have switched on."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def chain(path: Path, device: str, dtype: str) -> sg.Run:
    """Text to latents, frames and sound on a device."""
    g = sg.Graph("chain")
    g.component("model", LTX2Checkpoint(path=str(path), device=device, dtype=dtype))
    text = g.add(LTX2TextEncodingStage(), prompt=g.input("prompt", str), negative_prompt=g.input("negative", str))
    size = LTX2LatentPreparationStage(height=128, width=192, num_frames=25)
    latents = g.add(size, seed=g.input("seed", int))
    denoised = g.add(
        LTX2DenoisingStage(num_inference_steps=8), latents=latents, text=text.positive, negative_text=text.negative
    )
    g.output("video", denoised.video)
    g.output("audio", denoised.audio)
    g.output("frames", g.add(LTX2VideoDecodingStage(), latents=denoised.video))
    g.output("sound", g.add(LTX2AudioDecodingStage(), latents=denoised.audio))
    return g.run(prompt="a red circle", negative="grey", seed=5)


def test_gpu_and_cpu_agree_in_fp32(tiny_base: Path) -> None:
    """From the same seed, after 8 guided steps, latents and samples agree to 0.5 % of their range, frames to 2 of 255.

    They can't agree to the last bits: the sinusoids of the timestep are taken of up to 1000 radians, where one bit of
    the frequencies is 6e-5 radians.
    """
    cpu, gpu = chain(tiny_base, "cpu", "fp32"), chain(tiny_base, "cuda", "fp32")
    for name in ("video", "audio"):
        range_ = cpu[name].latent.abs().max()
        assert (gpu[name].latent.cpu() - cpu[name].latent).abs().max() < 5e-3 * range_
    difference = np.abs(gpu["frames"].pixels.astype(int) - cpu["frames"].pixels.astype(int))
    assert difference.max() <= 2
    samples = cpu["sound"].samples
    assert np.abs(gpu["sound"].samples - samples).max() < 5e-3 * np.abs(samples).max()


def test_auto_means_the_gpu_in_bf16_and_repeats_byte_by_byte(tiny: Path) -> None:
    """Two runs give the same bytes; they are near the fp32 result, but not equal to it."""
    assert next(LTX2Checkpoint(path=str(tiny)).transformer().module.parameters()).dtype == torch.bfloat16
    first, second, exact = chain(tiny, "auto", "auto"), chain(tiny, "auto", "auto"), chain(tiny, "cuda", "fp32")
    assert first["video"].latent.device.type == "cuda"
    assert torch.equal(first["video"].latent, second["video"].latent)
    assert np.array_equal(first["frames"].pixels, second["frames"].pixels)
    error = (first["video"].latent - exact["video"].latent).abs().mean() / exact["video"].latent.abs().mean()
    assert 0 < error < 0.1
