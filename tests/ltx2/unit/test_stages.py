"""The stages as ordinary objects: called without an engine, on the embedded checkpoint."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import attrs
import pytest
import torch

import stagegraph as sg
from stagegraph.cli.app import call
from stagegraph.context import Cancellation
from stagegraph.errors import Cancelled, InputError
from stagegraph_ltx2.component import LTX2Checkpoint
from stagegraph_ltx2.parts import Transformer
from stagegraph_ltx2.stages import (
    LTX2DenoisingStage,
    LTX2LatentPreparationStage,
    LTX2TextEncodingStage,
    LTX2VideoDecodingStage,
)
from stagegraph_ltx2.stages.text_encoding import EncodedPrompts
from stagegraph_ltx2.values import LatentState

SMALL = LTX2LatentPreparationStage(height=64, width=96, num_frames=9, frame_rate="24000/1001")


@pytest.fixture(scope="module")
def model(tiny: Path) -> LTX2Checkpoint:
    """The embedded checkpoint, on the CPU."""
    return LTX2Checkpoint(path=str(tiny), device="cpu")


@pytest.fixture(scope="module")
def prompts(model: LTX2Checkpoint) -> EncodedPrompts:
    """A prompt and a negative prompt, encoded."""
    return encode(model, LTX2TextEncodingStage(), "a red circle", "grey")


def encode(model: LTX2Checkpoint, stage: LTX2TextEncodingStage, *texts: str) -> EncodedPrompts:
    """Call the text encoding stage."""
    return stage.run(*texts, text_encoder=model.text_encoder(), connectors=model.connectors())


def test_text_encoding_gives_a_context_for_each_prompt(model: LTX2Checkpoint, prompts: EncodedPrompts) -> None:
    """1024 positions each; no negative prompt gives none, an empty one is a prompt; outer spaces do not count."""
    assert prompts.negative is not None
    assert prompts.positive.video.shape[:2] == prompts.negative.audio.shape[:2] == (1, 1024)
    assert not torch.equal(prompts.positive.video, prompts.negative.video)
    alone = encode(model, LTX2TextEncodingStage(), "  a red circle\n")
    assert alone.negative is None
    torch.testing.assert_close(alone.positive.video, prompts.positive.video, rtol=0, atol=1e-5)
    assert encode(model, LTX2TextEncodingStage(), "a", "").negative is not None


def test_prompts_that_are_too_long_are_an_error_unless_they_may_be_cut(model: LTX2Checkpoint) -> None:
    """The error tells how many tokens there are and how many are too many."""
    long = "circle " * 1100
    with pytest.raises(InputError) as error:
        encode(model, LTX2TextEncodingStage(), long)
    tokens = len(model.text_encoder().gemma.tokenizer.tokenizer.encode(long.strip(), add_special_tokens=False).ids) + 1
    assert str(error.value) == (
        f"error[ltx2.prompt_too_long]: a prompt has {tokens} tokens\n"
        "  why: the model reads 1024\n"
        f"  fix: shorten it by {tokens - 1024} tokens, or set the param truncate to cut the end off"
    )
    assert encode(model, LTX2TextEncodingStage(truncate=True), long).positive.video.shape[1] == 1024


def test_latent_preparation_draws_the_noise_of_the_seed_at_the_exact_rate() -> None:
    """The same seed the same noise, unit variance, and a rate that is a fraction."""
    one, same, other = SMALL.run(1), SMALL.run(1), SMALL.run(2)
    assert torch.equal(one.video.noise, same.video.noise)
    assert torch.equal(one.audio.noise, same.audio.noise)
    assert not torch.equal(one.video.noise, other.video.noise)
    assert one.video.noise.shape == (1, 2 * 2 * 3, 128)
    assert one.audio.noise.shape == (1, 9, 128)
    assert one.frame_rate == Fraction(24000, 1001)
    assert abs(LTX2LatentPreparationStage().run(1).video.noise.std() - 1) < 1e-2


def test_sound_may_begin_before_the_video() -> None:
    """Then there is more of it, and the video stands later in time."""
    stage = attrs.evolve(SMALL, video_position_offset_sec=40 / 24, frame_rate=24)
    plain, later = attrs.evolve(SMALL, frame_rate=24).run(1), stage.run(1)
    assert (plain.audio.tokens, later.audio.tokens) == (9, 51)
    assert torch.allclose(later.video.positions[:, 0], plain.video.positions[:, 0] + 40 / 24)
    assert torch.equal(later.video.positions[:, 1:], plain.video.positions[:, 1:])


def denoise(
    model: LTX2Checkpoint, stage: LTX2DenoisingStage, latents: LatentState, prompts: EncodedPrompts, guided: bool = True
) -> torch.Tensor:
    """Call the denoising stage; gives the video latent."""
    negative = prompts.negative if guided else None
    context = sg.StageContext()
    result = stage.run(latents, prompts.positive, negative, transformer=model.transformer(), context=context)
    return result.video.latent


def test_guidance_of_1_does_not_read_the_negative_text(
    model: LTX2Checkpoint, tiny_base: Path, prompts: EncodedPrompts
) -> None:
    """With and without it the latents are equal; a larger scale changes them, and a rescale changes them again."""
    latents, steps = SMALL.run(1), (1.0, 0.5, 0.0)
    plain = denoise(model, LTX2DenoisingStage(sigmas=steps), latents, prompts)
    assert torch.equal(plain, denoise(model, LTX2DenoisingStage(sigmas=steps), latents, prompts, guided=False))
    base = LTX2Checkpoint(path=str(tiny_base), device="cpu")
    guided = denoise(base, LTX2DenoisingStage(sigmas=steps, guidance_scale=3.0), latents, prompts)
    rescaled = LTX2DenoisingStage(sigmas=steps, guidance_scale=3.0, guidance_rescale=0.7)
    assert not torch.equal(guided, plain)
    assert not torch.equal(guided, denoise(base, rescaled, latents, prompts))


def test_denoising_stops_at_the_step_at_which_it_is_cancelled(model: LTX2Checkpoint, prompts: EncodedPrompts) -> None:
    """The transformer is not called again."""
    cancellation = Cancellation()
    told = []

    def on_progress(done: int, total: int, message: str) -> None:
        told.append((done, total))
        if done == 3:
            cancellation.cancel()

    context = sg.StageContext("denoise", on_progress=on_progress, cancellation=cancellation)
    transformer: Transformer = model.transformer()
    with pytest.raises(Cancelled):
        LTX2DenoisingStage().run(SMALL.run(1), prompts.positive, transformer=transformer, context=context)
    assert told == [(1, 8), (2, 8), (3, 8)]


def test_denoising_does_not_change_its_inputs(model: LTX2Checkpoint, prompts: EncodedPrompts) -> None:
    """Whoever reads the same noise afterwards finds it as it was."""
    latents = SMALL.run(1)
    before = [tensor.clone() for tensor in tensors_of(latents)], prompts.positive.video.clone()
    denoise(model, LTX2DenoisingStage(), latents, prompts)
    assert all(torch.equal(a, b) for a, b in zip(tensors_of(latents), before[0], strict=True))
    assert torch.equal(prompts.positive.video, before[1])


def tensors_of(latents: LatentState) -> list[torch.Tensor]:
    """All of both streams."""
    return [getattr(tokens, f.name) for tokens in (latents.video, latents.audio) for f in attrs.fields(type(tokens))]


def test_video_decoding_gives_every_frame_at_the_exact_rate(model: LTX2Checkpoint, prompts: EncodedPrompts) -> None:
    """8k+1 frames of the asked size."""
    latents = SMALL.run(1)
    stage = LTX2DenoisingStage()
    video = stage.run(latents, prompts.positive, transformer=model.transformer(), context=sg.StageContext()).video
    frames = LTX2VideoDecodingStage().run(video, video_vae=model.video_vae(), context=sg.StageContext())
    assert (frames.num_frames, frames.height, frames.width) == (9, 64, 96)
    assert frames.frame_rate == Fraction(24000, 1001)


def test_make_tiny_writes_a_checkpoint_and_refuses_to_overwrite(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command gives the files of the embedded checkpoint for the same seed, and others for another."""
    folder = tmp_path / "new"
    assert call(["ltx2", "make-tiny", str(folder)]) == 0
    assert capsys.readouterr().out == f"wrote {folder}: 8.1 MB\n"
    weights = "transformer/diffusion_pytorch_model.safetensors"
    assert (folder / weights).read_bytes() == (tiny / weights).read_bytes()
    assert call(["ltx2", "make-tiny", str(folder)]) == 3
    assert capsys.readouterr().err.startswith(f"{folder}: error[ltx2.not_empty]: ")
    assert call(["ltx2", "make-tiny", str(tmp_path / "other"), "--seed", "1"]) == 0
    assert (tmp_path / "other" / weights).read_bytes() != (tiny / weights).read_bytes()
