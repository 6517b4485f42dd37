"""Image-to-video, keyframes, two passes and every term of guidance against the pipelines of diffusers.

Each comparison hands our latents the noise that the reference draws, and compares latents after a few steps.
"""

from __future__ import annotations

import json
import shutil
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import PIL.Image
import pytest
import torch
from diffusers import LTX2ConditionPipeline, LTX2ImageToVideoPipeline, LTX2LatentUpsamplePipeline, LTX2Pipeline
from diffusers.pipelines.ltx2.latent_upsampler import LTX2LatentUpsamplerModel
from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2VideoCondition
from torch import Tensor

from stagegraph import Pool, StageContext
from stagegraph_ltx2.component import LTX2Checkpoint
from stagegraph_ltx2.model import audio_vae
from stagegraph_ltx2.model.video_vae import pack
from stagegraph_ltx2.noise import seeded
from stagegraph_ltx2.parts import Transformer
from stagegraph_ltx2.pixels import fitted
from stagegraph_ltx2.schedule import REFINE_SIGMAS, base_sigmas
from stagegraph_ltx2.shapes import PixelShape
from stagegraph_ltx2.stages import (
    LTX2DenoisingStage,
    LTX2ImageConditioningStage,
    LTX2LatentPreparationStage,
    LTX2LatentRenoisingStage,
    LTX2LatentUpsamplingStage,
    LTX2TextEncodingStage,
    LTX2VideoConditioningStage,
)
from stagegraph_ltx2.stages.denoising import Denoised
from stagegraph_ltx2.values import LatentState
from stagegraph_media import Frames, Image

from ..random_weights import relative_error

SIZE = PixelShape(17, 64, 96)
STEPS = base_sigmas(3)
PROMPT, NEGATIVE, SEED = "a red circle moves right", "blurry, grey", 7
SIGNATURE = LTX2ImageToVideoPipeline._get_signature_keys(LTX2ImageToVideoPipeline)[0]
UNGUIDED = {
    "guidance_scale": 1.0,
    "audio_guidance_scale": 1.0,
    "stg_scale": 0.0,
    "audio_stg_scale": 0.0,
    "modality_scale": 1.0,
    "audio_modality_scale": 1.0,
    "guidance_rescale": 0.0,
    "audio_guidance_rescale": 0.0,
}


@attrs.frozen(eq=False, slots=False)
class Both:
    """The same checkpoint, opened by diffusers and by us."""

    pipe: LTX2Pipeline
    model: LTX2Checkpoint
    pool: Pool = attrs.field(factory=Pool)

    def lend(self, part: str) -> Any:
        """One of our parts."""
        return self.pool.lend(self.model, part)

    @cached_property
    def text(self) -> Any:
        """Both prompts, for us."""
        lent = {name: self.lend(name) for name in ("text_encoder", "connectors")}
        return LTX2TextEncodingStage().run(PROMPT, NEGATIVE, **lent)

    @cached_property
    def embeds(self) -> dict[str, Tensor]:
        """Both prompts, for diffusers."""
        names = ("prompt_embeds", "prompt_attention_mask", "negative_prompt_embeds", "negative_prompt_attention_mask")
        return dict(zip(names, self.pipe.encode_prompt(PROMPT, NEGATIVE), strict=True))

    def denoise(self, state: LatentState, **params: Any) -> Denoised:
        """Our loop over given latents, whether or not the checkpoint is distilled."""
        transformer = Transformer(self.lend("transformer").module, {"family": "2.0", "distilled": None, "layers": 2})
        text = self.text
        stage = LTX2DenoisingStage(**{"sigmas": STEPS, **params})
        return stage.run(state, text.positive, text.negative, transformer=transformer, context=StageContext())

    def reference(self, kind: Any, **arguments: Any) -> tuple[Tensor, Tensor]:
        """Normalised latents [b, c, f, h, w] and tokens [b, t, c] of a pipeline of diffusers."""
        pipe = kind(**{name: self.pipe.components.get(name) for name in kind._get_signature_keys(kind)[0]})
        pipe.set_progress_bar_config(disable=True)
        size = {"height": SIZE.height, "width": SIZE.width, "num_frames": SIZE.frames, "frame_rate": 24.0}
        settings = {**size, **UNGUIDED, "sigmas": list(STEPS[:-1]), "generator": seeded(SEED), **arguments}
        video, audio = pipe(**self.embeds, output_type="latent", return_dict=False, **settings)
        return self.normalized(video), self.normalized_audio(audio)

    def normalized(self, video: Tensor) -> Tensor:
        """Of what diffusers returns."""
        mean, std = (v.view(1, -1, 1, 1, 1) for v in (self.pipe.vae.latents_mean, self.pipe.vae.latents_std))
        return (video - mean) / std

    def denormalized(self, video: Tensor) -> Tensor:
        """For diffusers to take."""
        mean, std = (v.view(1, -1, 1, 1, 1) for v in (self.pipe.vae.latents_mean, self.pipe.vae.latents_std))
        return video * std + mean

    def normalized_audio(self, audio: Tensor) -> Tensor:
        """Of what diffusers returns."""
        return (audio_vae.pack(audio) - self.pipe.audio_vae.latents_mean) / self.pipe.audio_vae.latents_std


@pytest.fixture(scope="module")
def both(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """A checkpoint that can be perturbed."""
    folder = tmp_path_factory.mktemp("perturbed") / "checkpoint"
    shutil.copytree(tiny, folder)
    path = folder / "transformer" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "perturbed_attn": True}))
    pipe = LTX2Pipeline.from_pretrained(folder)
    return Both(pipe, LTX2Checkpoint(path=str(folder), device="cpu", dtype="fp32"))


def noise(state: LatentState, *, packed: bool) -> LatentState:
    """The state with the noise that a pipeline draws: as tokens, or in the layout of latents."""
    generator, shape = seeded(SEED), state.size.latent()
    if packed:
        video = torch.randn(state.video.noise.shape, generator=generator)
        audio = torch.randn(state.audio.noise.shape, generator=generator)
    else:
        video = pack(torch.randn(1, 128, shape.frames, shape.height, shape.width, generator=generator))
        audio = audio_vae.pack(torch.randn(1, 8, state.audio.tokens, 16, generator=generator))
    return attrs.evolve(
        state, video=attrs.evolve(state.video, noise=video), audio=attrs.evolve(state.audio, noise=audio)
    )


def prepared() -> LatentState:
    """Latents without conditions."""
    stage = LTX2LatentPreparationStage(height=SIZE.height, width=SIZE.width, num_frames=SIZE.frames)
    return stage.run(SEED)


def picture(seed: int, height: int = 80, width: int = 90) -> Image:
    """A smooth picture of another shape than the video."""
    rng = np.random.default_rng(seed)
    small = PIL.Image.fromarray(rng.integers(0, 255, (6, 7, 3), dtype=np.uint8))
    return Image(np.asarray(small.resize((width, height), PIL.Image.Resampling.BICUBIC)))


@pytest.mark.parametrize("shape", [(480, 640), (80, 90), (33, 47)])
def test_stretching_gives_the_pixels_of_diffusers(both: Both, shape: tuple[int, int]) -> None:
    """But for one step of 255."""
    image = picture(4, *shape)
    processor = LTX2ImageToVideoPipeline(**{n: both.pipe.components.get(n) for n in SIGNATURE}).video_processor
    theirs = processor.preprocess(PIL.Image.fromarray(image.pixels), height=64, width=96)
    ours = fitted(image.pixels[None], 64, 96, "stretch")[:, :, 0]
    assert (ours - theirs).abs().max() * 127.5 < 1.01


def agree(ours: Denoised, theirs: tuple[Tensor, Tensor]) -> None:
    """Latents are equal but for rounding, and are no noise any more."""
    assert ours.video.latent.std() > 0.1
    assert relative_error(ours.video.latent, theirs[0]) < 2e-5
    assert relative_error(ours.audio.latent, theirs[1]) < 2e-5


@pytest.mark.parametrize(
    "guidance",
    [
        {"guidance_scale": 3.0, "audio_guidance_scale": 7.0},
        {"stg_scale": 1.0, "audio_stg_scale": 0.5},
        {"modality_scale": 3.0, "audio_modality_scale": 2.0},
        {"guidance_scale": 3.0, "audio_guidance_scale": 1.0, "guidance_rescale": 0.7},
        {
            "guidance_scale": 3.0,
            "audio_guidance_scale": 7.0,
            "stg_scale": 1.0,
            "audio_stg_scale": 1.0,
            "modality_scale": 3.0,
            "audio_modality_scale": 3.0,
            "guidance_rescale": 0.7,
            "audio_guidance_rescale": 0.7,
        },
    ],
    ids=["text", "perturbation", "modality", "rescale of one stream", "all together"],
)
@pytest.mark.parametrize("batch", ["together", "apart"])
def test_every_term_of_guidance(both: Both, guidance: dict[str, float], batch: str) -> None:
    """Alone and all together, as one batch and as several."""
    ours = both.denoise(
        noise(prepared(), packed=False), **{**UNGUIDED, **guidance}, stg_blocks=(1,), guidance_batch=batch
    )
    theirs = both.reference(LTX2Pipeline, **guidance, spatio_temporal_guidance_blocks=[1])
    agree(ours, theirs)


def test_the_terms_change_the_result(both: Both) -> None:
    """So that agreement about them means something."""
    state = noise(prepared(), packed=False)
    plain = both.denoise(state, **UNGUIDED).video.latent
    for term in ({"guidance_scale": 3.0}, {"stg_scale": 1.0, "stg_blocks": (1,)}, {"modality_scale": 3.0}):
        assert relative_error(both.denoise(state, **{**UNGUIDED, **term}).video.latent, plain) > 1e-3


@pytest.mark.parametrize("crf", [0, 33])
def test_image_to_video(both: Both, crf: int) -> None:
    """The first frame is kept, stretched to size with antialiasing; with and without compression before."""
    image = picture(1, 34, 48)  # of a size at which PIL and torch round alike
    lent = {"video_vae": both.lend("video_vae")}
    state = LTX2ImageConditioningStage(image_crf=crf, fit="stretch").run(prepared(), image, **lent)
    ours = both.denoise(noise(state, packed=False), **UNGUIDED)
    theirs = both.reference(
        LTX2ImageToVideoPipeline, image=PIL.Image.fromarray(image.pixels), image_crf=crf, noise_scale=0.0
    )
    agree(ours, theirs)


@pytest.mark.parametrize(("first", "last"), [(1.0, 1.0), (0.7, 0.4)], ids=["kept", "kept in part"])
def test_first_and_last_frame(both: Both, first: float, last: float) -> None:
    """One replaces the first latent frame, one stands beside the video; the reference counts latent frames."""
    images, vae = [picture(1), picture(2)], both.lend("video_vae")
    state = prepared()
    for image, frame, strength in zip(images, (0, 9), (first, last), strict=True):
        stage = LTX2ImageConditioningStage(frame_idx=frame, strength=strength, image_crf=0)
        state = stage.run(state, image, video_vae=vae)
    ours = both.denoise(noise(state, packed=True), **{**UNGUIDED, "guidance_scale": 3.0, "audio_guidance_scale": 3.0})
    conditions = [
        LTX2VideoCondition(frames=PIL.Image.fromarray(image.pixels), index=index, strength=strength, crf=0)
        for image, index, strength in zip(images, (0, -1), (first, last), strict=True)
    ]
    theirs = both.reference(LTX2ConditionPipeline, conditions=conditions, guidance_scale=3.0, audio_guidance_scale=3.0)
    agree(ours, theirs)


def test_clips_at_the_beginning_and_beside_the_video(both: Both) -> None:
    """Nine frames at the start, and nine more from pixel frame 1 on."""
    clips = [np.stack([picture(seed + i).pixels for i in range(9)]) for seed in (10, 20)]
    vae, state = both.lend("video_vae"), prepared()
    for clip, frame in zip(clips, (0, 1), strict=True):
        stage = LTX2VideoConditioningStage(frame_idx=frame)
        state = stage.run(state, Frames(clip, 24), video_vae=vae, context=StageContext())
    ours = both.denoise(noise(state, packed=True), **UNGUIDED)
    conditions = [
        LTX2VideoCondition(frames=list(map(PIL.Image.fromarray, clip)), index=index, crf=0)
        for clip, index in zip(clips, (0, 1), strict=True)
    ]
    agree(ours, both.reference(LTX2ConditionPipeline, conditions=conditions))


def test_two_passes_with_an_image(both: Both) -> None:
    """Upsampled latents are noised again and refined, with the image kept at the new size in part."""
    first = both.denoise(noise(prepared(), packed=False), **UNGUIDED)
    upsampled = LTX2LatentUpsamplingStage().run(
        first.video, upsampler=both.lend("latent_upsampler"), statistics=both.lend("video_statistics")
    )
    upsample = LTX2LatentUpsamplePipeline(
        vae=both.pipe.vae,
        latent_upsampler=LTX2LatentUpsamplerModel.from_pretrained(both.model.path, subfolder="latent_upsampler"),
    )
    upsample.set_progress_bar_config(disable=True)
    (theirs,) = upsample(
        latents=both.denormalized(first.video.latent), output_type="latent", return_dict=False, height=64, width=96
    )
    assert relative_error(upsampled.latent, both.normalized(theirs)) < 2e-6

    image = picture(3)
    state = LTX2LatentRenoisingStage().run(upsampled, first.audio, SEED)
    state = LTX2ImageConditioningStage(strength=0.6, image_crf=0).run(state, image, video_vae=both.lend("video_vae"))
    ours = both.denoise(noise(state, packed=True), sigmas=REFINE_SIGMAS)
    audio = audio_vae.unpack(first.audio.latent * both.pipe.audio_vae.latents_std + both.pipe.audio_vae.latents_mean)
    result = both.reference(
        LTX2ConditionPipeline,
        conditions=[LTX2VideoCondition(frames=PIL.Image.fromarray(image.pixels), index=0, strength=0.6, crf=0)],
        latents=both.denormalized(upsampled.latent),
        audio_latents=audio,
        noise_scale=REFINE_SIGMAS[0],
        sigmas=list(REFINE_SIGMAS[:-1]),
        height=128,
        width=192,
    )
    agree(ours, result)
