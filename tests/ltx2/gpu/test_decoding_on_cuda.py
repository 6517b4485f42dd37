"""On a CUDA device: chunks give the frames of the whole, copies are complete, and memory is what was estimated."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

import stagegraph as sg
from stagegraph_ltx2 import memory
from stagegraph_ltx2.component import LTX2Checkpoint
from stagegraph_ltx2.decode import decode_video, on_host
from stagegraph_ltx2.model.video_vae import VideoVAE
from stagegraph_ltx2.shapes import LatentShape
from stagegraph_ltx2.stages import LTX2VideoDecodingStage
from stagegraph_ltx2.tiles import cut
from stagegraph_ltx2.values import VideoLatent

from ..small import RELEASED

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

LATENT = VideoLatent(torch.randn(1, 128, 13, 8, 12, generator=torch.Generator().manual_seed(0)), Fraction(24))


@pytest.fixture(autouse=True)
def _full_precision() -> Iterator[None]:
    """fp32 means fp32: without TF32, which a program may have switched on."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def test_chunks_on_the_gpu_give_the_frames_of_the_cpu(tiny: Path) -> None:
    """In fp32, whatever the chunks, and at once; every byte has come."""
    frames = {}
    for device in ("cpu", "cuda"):
        vae = LTX2Checkpoint(path=str(tiny), device=device, dtype="fp32").video_vae()
        for chunk in (3, 16, None):
            stage = LTX2VideoDecodingStage(chunk_frames=chunk, tiling="auto" if chunk else "off")
            made = stage.run(LATENT, video_vae=vae, context=sg.StageContext())
            frames[device, chunk] = made.pixels.astype(int)
    for made in frames.values():
        assert np.abs(made - frames["cpu", None]).max() <= 1


def test_the_decoder_computes_with_the_channels_of_a_position_together(tiny: Path) -> None:
    """As tensor cores want them, from the first convolution to the last."""
    vae = LTX2Checkpoint(path=str(tiny), device="cuda").video_vae().module
    seen = []
    for layer in vae.decoder.modules():
        if isinstance(layer, torch.nn.Conv3d):
            layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        vae.decode(LATENT.latent[:, :, :2].to(vae.latents_mean))
    assert seen
    assert all(x.is_contiguous(memory_format=torch.channels_last_3d) for x in seen)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["2.0", "2.3"])
def test_decoding_takes_about_what_it_says(version: str) -> None:
    """The released network with random weights, 512x768, 121 frames: 0.7 to 1.5 times the peak beside the weights."""
    config = RELEASED[version]["vae"]
    with torch.device("meta"):
        vae = VideoVAE(config).to(torch.bfloat16)
    vae = vae.to_empty(device="cuda").eval().requires_grad_(False)
    for tensor in vae.state_dict().values():
        tensor.normal_(0, 0.02) if tensor.ndim > 1 else tensor.fill_(1)
    vae.to(memory_format=torch.channels_last_3d)
    z = torch.randn(1, 128, 16, 16, 24)
    for chunk in (16, 4):
        cuts = cut(LatentShape(16, 16, 24), chunk=chunk)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        assert sum(piece.pixels.shape[0] for piece in on_host(decode_video(vae, z, cuts))) == 121
        taken = torch.cuda.max_memory_allocated() - before
        assert 0.7 < memory.video_decoding(config, cuts, 2) / taken < 1.5
