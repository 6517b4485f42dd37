"""The whole chain of stages against the pipeline of diffusers, from a prompt to frames and samples."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from diffusers import LTX2Pipeline, LTX2VideoTransformer3DModel

import stagegraph as sg
from stagegraph_ltx2.checkpoint.contents import Layout
from stagegraph_ltx2.checkpoint.convert import convert
from stagegraph_ltx2.checkpoint.opening import open_checkpoint
from stagegraph_ltx2.checkpoint.resolve import resolve
from stagegraph_ltx2.component import LTX2Checkpoint
from stagegraph_ltx2.model import audio_vae
from stagegraph_ltx2.noise import draw_noise, seeded
from stagegraph_ltx2.schedule import DISTILLED_SIGMAS, base_sigmas
from stagegraph_ltx2.shapes import PixelShape
from stagegraph_ltx2.stages import (
    LTX2AudioDecodingStage,
    LTX2DenoisingStage,
    LTX2LatentPreparationStage,
    LTX2TextEncodingStage,
    LTX2VideoDecodingStage,
)

PROMPT, NEGATIVE, SEED = "a red circle moves right on a white background", "blurry, grey", 7
STEPS = base_sigmas(4)


@attrs.frozen
class Case:
    """A size, guidance and a checkpoint to try the chain with."""

    size: PixelShape
    video_scale: float
    audio_scale: float
    rescale: float
    stg: float = 0.0
    modality: float = 1.0
    transformer: Mapping[str, Any] = attrs.field(factory=dict)
    checkpoint: str = "tiny-base"
    layout: Layout = "diffusers"
    sigmas: Sequence[float] = STEPS


CASES = {
    "as shipped": Case(PixelShape(9, 96, 64), 3.0, 7.0, 0.7),
    "another transformer of one head, in shards, odd sizes": Case(
        PixelShape(17, 64, 160, 25.0),
        2.0,
        1.0,
        0.0,
        transformer={
            "num_attention_heads": 1,
            "attention_head_dim": 48,
            "cross_attention_dim": 48,
            "audio_num_attention_heads": 1,
            "audio_attention_head_dim": 32,
            "audio_cross_attention_dim": 32,
            "num_layers": 3,
        },
    ),
    "LTX-2.3 with every term of guidance, ours from a single file": Case(
        PixelShape(9, 96, 64), 3.0, 7.0, 0.7, stg=1.0, modality=3.0, checkpoint="tiny-2.3-base", layout="single"
    ),
    "the trained checkpoint of the package, in its 8 steps": Case(
        PixelShape(9, 128, 192), 1.0, 1.0, 0.0, checkpoint="micro", sigmas=DISTILLED_SIGMAS
    ),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> Case:
    """Each case."""
    return request.param


@pytest.fixture
def checkpoint(case: Case, cache: Path, tmp_path: Path) -> Path:
    """The checkpoint of a case, as diffusers opens it."""
    whole = resolve(case.checkpoint)
    if not case.transformer:
        return whole
    folder = tmp_path / "checkpoint"
    shutil.copytree(whole, folder)
    config = json.loads((folder / "transformer" / "config.json").read_text())
    shutil.rmtree(folder / "transformer")
    torch.manual_seed(1)
    transformer = LTX2VideoTransformer3DModel.from_config({**config, **case.transformer})
    transformer.save_pretrained(folder / "transformer", max_shard_size="200KB")
    assert len(list((folder / "transformer").glob("*.safetensors"))) > 1
    return folder


@pytest.fixture
def laid_out(case: Case, checkpoint: Path, tmp_path: Path) -> Path:
    """The same checkpoint, in the layout that we are to open."""
    if case.layout == "diffusers":
        return checkpoint
    return convert(open_checkpoint(checkpoint), tmp_path / "laid out", case.layout)


def ours(checkpoint: Path, case: Case) -> sg.Run:
    """The chain as a graph of stages."""
    size = case.size
    g = sg.Graph("chain")
    g.component("model", LTX2Checkpoint(path=str(checkpoint), device="cpu", dtype="fp32"))
    text = g.add(LTX2TextEncodingStage(), prompt=g.input("prompt", str), negative_prompt=g.input("negative", str))
    latents = g.add(
        LTX2LatentPreparationStage(
            height=size.height, width=size.width, num_frames=size.frames, frame_rate=size.frame_rate
        ),
        seed=g.input("seed", int),
    )
    denoising = LTX2DenoisingStage(
        sigmas=case.sigmas,
        guidance_scale=case.video_scale,
        audio_guidance_scale=case.audio_scale,
        guidance_rescale=case.rescale,
        stg_scale=case.stg,
        modality_scale=case.modality,
        stg_blocks=(1,),
    )
    denoised = g.add(denoising, latents=latents, text=text.positive, negative_text=text.negative)
    g.output("video latent", denoised.video)
    g.output("audio latent", denoised.audio)
    g.output("frames", g.add(LTX2VideoDecodingStage(), latents=denoised.video))
    g.output("sound", g.add(LTX2AudioDecodingStage(), latents=denoised.audio))
    return g.run(prompt=PROMPT, negative=NEGATIVE, seed=SEED)


def reference(pipe: LTX2Pipeline, case: Case, output_type: str) -> tuple[Any, torch.Tensor]:
    """The chain in diffusers, with the noise that our stages draw."""
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler.register_to_config(use_dynamic_shifting=False, shift_terminal=None)  # the sigmas as they are
    size = case.size
    video, audio = draw_noise(seeded(SEED), size.latent(), size.audio())
    return pipe(
        prompt=PROMPT,
        negative_prompt=NEGATIVE,
        height=size.height,
        width=size.width,
        num_frames=size.frames,
        frame_rate=size.frame_rate,
        sigmas=list(case.sigmas[:-1]),
        guidance_scale=case.video_scale,
        audio_guidance_scale=case.audio_scale,
        guidance_rescale=case.rescale,
        audio_guidance_rescale=case.rescale,
        stg_scale=case.stg,
        modality_scale=case.modality,
        audio_stg_scale=case.stg,
        audio_modality_scale=case.modality,
        spatio_temporal_guidance_blocks=[1],
        latents=video,
        # It takes packed video latents as normalised, audio latents never.
        audio_latents=audio * pipe.audio_vae.latents_std + pipe.audio_vae.latents_mean,
        output_type=output_type,
        return_dict=False,
    )


def test_chain_gives_the_latents_frames_and_sound_of_diffusers(checkpoint: Path, laid_out: Path, case: Case) -> None:
    """After all steps, latents agree to 1e-3, decoded pixels to one step of 255, samples to 1e-3."""
    run = ours(laid_out, case)
    pipe = LTX2Pipeline.from_pretrained(checkpoint)
    video, audio = reference(pipe, case, "latent")
    pixels, samples = reference(pipe, case, "np")

    mean, std = (v.view(1, -1, 1, 1, 1) for v in (pipe.vae.latents_mean, pipe.vae.latents_std))
    video = (video - mean) / std
    audio = (audio_vae.pack(audio) - pipe.audio_vae.latents_mean) / pipe.audio_vae.latents_std
    assert run["video latent"].latent.std() > 0.1
    torch.testing.assert_close(run["video latent"].latent, video, rtol=0, atol=1e-3)
    torch.testing.assert_close(run["audio latent"].latent, audio, rtol=0, atol=1e-3)

    frames = run["frames"].pixels.astype(int)
    assert frames.std() > 1
    assert np.abs(frames - (pixels[0] * 255).round().astype(int)).max() <= 1
    assert run["sound"].samples.std() > 1e-3
    np.testing.assert_allclose(run["sound"].samples, samples[0].float().numpy(), rtol=0, atol=1e-3)
    assert run["sound"].sample_rate == pipe.vocoder.config.output_sampling_rate
