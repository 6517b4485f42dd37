"""What stages say that they will take is near what they take, for the released sizes and for small ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import stagegraph as sg
from stagegraph.errors import FitError
from stagegraph.facts import memory_of
from stagegraph_ltx2 import memory, room
from stagegraph_ltx2.checkpoint import device as devices
from stagegraph_ltx2.component import LTX2Checkpoint
from stagegraph_ltx2.decode import decode_video
from stagegraph_ltx2.estimate import grouped, passes
from stagegraph_ltx2.model.adaln import Levels
from stagegraph_ltx2.model.audio_vae import AudioVAE
from stagegraph_ltx2.model.conditions import Text, Timesteps
from stagegraph_ltx2.model.connectors import TextConnectors
from stagegraph_ltx2.model.latent_upsampler import LatentUpsampler
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.model.video_vae import VideoVAE
from stagegraph_ltx2.model.wideband_vocoder import build_vocoder
from stagegraph_ltx2.scales import Guidance, Scales
from stagegraph_ltx2.shapes import LatentShape
from stagegraph_ltx2.stages import (
    LTX2AudioDecodingStage,
    LTX2DenoisingStage,
    LTX2ImageConditioningStage,
    LTX2LatentPreparationStage,
    LTX2LatentUpsamplingStage,
    LTX2TextEncodingStage,
    LTX2VideoConditioningStage,
    LTX2VideoDecodingStage,
    LTX2VideoEncodingStage,
)
from stagegraph_ltx2.tiles import cut
from stagegraph_ltx2.values import TextContext
from stagegraph_media.values import Frames, Image

from ..live_memory import peak_bytes
from ..small import RELEASED

LEAST, MOST = 0.8, 1.5
"""How an estimate may compare with the bytes of the tensors that are alive at once."""

VERSIONS = pytest.mark.parametrize("version", ["2.0", "2.3"])
BF16 = 2


def near(told: int, taken: int) -> bool:
    return LEAST < told / taken < MOST


def hollow(build: Callable[[Any], nn.Module], config: Any) -> Any:
    """A network of the released size, in bf16 and without memory."""
    with torch.device("meta"):
        return build(config).to(torch.bfloat16)


def tensor(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch.empty(*shape, device="meta", dtype=dtype)


def fused(q: Tensor, k: Tensor, v: Tensor, **options: object) -> Tensor:
    """Attention as GPUs do it: without its scores in memory."""
    return torch.empty_like(q)


def drain(pieces: Iterable[object]) -> None:
    for _ in pieces:
        pass


# The released sizes, traced on the meta device


@VERSIONS
@pytest.mark.parametrize(
    ("shape", "chunk"),
    [((16, 16, 24), None), ((16, 16, 24), 16), ((31, 16, 24), 8), ((16, 34, 60), 16)],
    ids=["512x768 at once", "512x768", "512x768, 10 s", "1088x1920"],
)
def test_decoding_at_the_released_size(version: str, shape: tuple[int, int, int], chunk: int | None) -> None:
    """At once and in chunks, up to bytes."""
    config = RELEASED[version]["vae"]
    vae, size = hollow(VideoVAE, config), LatentShape(*shape)
    cuts = cut(size, chunk=chunk)
    z = tensor(1, 128, *shape)
    assert near(memory.video_decoding(config, cuts, BF16), peak_bytes(lambda: drain(decode_video(vae, z, cuts))))


@VERSIONS
@pytest.mark.parametrize("frames", [1, 2, 16])
def test_encoding_at_the_released_size(version: str, frames: int) -> None:
    """A still, one chunk and several."""
    config, chunk = RELEASED[version]["vae"], 16
    vae = hollow(VideoVAE, config)
    x = tensor(1, 3, 8 * frames - 7, 512, 768)
    pieces = [x[:, :, : chunk + 1], *x[:, :, chunk + 1 :].split(chunk, dim=2)] if frames > 3 else []
    taken = peak_bytes((lambda: drain(vae.encode_chunks(pieces))) if pieces else (lambda: vae.encode(x)))
    assert near(memory.video_encoding(config, LatentShape(frames, 16, 24), chunk, BF16), taken)


@VERSIONS
@pytest.mark.parametrize(("tokens", "count", "kept"), [(6144, 1, False), (6144, 3, True), (24576, 1, True)])
def test_denoising_at_the_released_size(
    version: str, tokens: int, count: int, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One forward with all that is there beside it; scores of attention are never in memory as a whole."""
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", fused)
    config, audio = RELEASED[version]["transformer"], 126
    model = hollow(AudioVideoTransformer, config)
    widths = (3840, 3840) if config.use_prompt_embeddings else (4096, 2048)
    fp32 = partial(tensor, dtype=torch.float32)

    def forward() -> object:
        text: Text = model.text(*(tensor(count, 1024, width) for width in widths), ahead=True)
        rotary = model.rotary(fp32(1, 3, tokens, 2), fp32(1, 1, audio, 2))
        t = fp32(count)
        video = Levels(fp32(count, 2), tensor(count, tokens, dtype=torch.int64)) if kept else t
        latents = tensor(count, tokens, 128), tensor(count, audio, 128)
        return model(*latents, text, Timesteps(video, t, t, t), rotary)

    told = memory.denoising(config, tokens, audio, passes=(count,), texts=count, levels=kept, itemsize=BF16)
    assert near(told, peak_bytes(forward))


@VERSIONS
def test_text_and_sound_at_the_released_size(version: str) -> None:
    """From hidden states to text, from latents to a spectrogram and to samples."""
    networks = RELEASED[version]
    connectors = hollow(TextConnectors, networks["connectors"])
    mask = tensor(2, 1024, dtype=torch.int64)
    states = [2, 1024, 3840, 49]
    taken = peak_bytes(lambda: connectors(tensor(*states), mask))
    assert near(memory.text_encoding(networks["connectors"], 2, BF16), taken)
    audio, voice = hollow(AudioVAE, networks["audio_vae"]), hollow(build_vocoder, networks["vocoder"])
    told = memory.audio_decoding(networks["audio_vae"], 251, BF16)
    assert near(told, peak_bytes(lambda: audio.decode(tensor(1, 8, 251, 16))))
    told = memory.vocoding(networks["vocoder"], 251, BF16)
    assert near(told, peak_bytes(lambda: voice(tensor(1, 2, 1001, 64))))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"use_rational_resampler": False},
        {"rational_spatial_scale": 1.5},
        {"spatial_upsample": False, "temporal_upsample": True},
    ],
)
def test_upsampling_at_the_released_size(change: dict[str, Any]) -> None:
    """In space by several ways, and in time."""
    config = attrs.evolve(RELEASED["2.0"]["latent_upsampler"], **change)
    upsampler = hollow(LatentUpsampler, config)
    taken = peak_bytes(lambda: upsampler(tensor(1, 128, 16, 16, 24)))
    assert near(memory.latent_upsampling(config, LatentShape(16, 16, 24), BF16), taken)


# Stages on the embedded checkpoint, traced on the CPU


@pytest.fixture(scope="module")
def model(tiny: Path) -> LTX2Checkpoint:
    """In single precision, on the CPU."""
    return LTX2Checkpoint(path=str(tiny), device="cpu", dtype="fp32")


def told_and_taken(
    stage: Any, model: LTX2Checkpoint, lent: dict[str, str], flows: dict[str, Any], **more: Any
) -> tuple[int, int]:
    """What a stage says of its call from facts, and what the call takes."""
    known = {argument: model.part_facts(part) for argument, part in lent.items()}
    known |= {argument: value.facts for argument, value in flows.items() if hasattr(value, "facts")}
    for facts in known.values():
        facts.pop("device", None) if isinstance(facts, dict) else None  # frames on the host are not traced
    told = memory_of(stage, known)
    assert told is not None
    parts = {argument: getattr(model, part)() for argument, part in lent.items()}
    return told[0], peak_bytes(lambda: stage.run(**flows, **parts, **more))


@pytest.mark.parametrize(("height", "width", "num_frames"), [(128, 192, 25), (256, 384, 49)])
def test_every_stage_takes_about_what_it_says(model: LTX2Checkpoint, height: int, width: int, num_frames: int) -> None:
    """Of all that are lent a network."""
    context, vae = sg.StageContext(), {"video_vae": "video_vae"}
    text = LTX2TextEncodingStage()
    lent = {"text_encoder": "text_encoder", "connectors": "connectors"}
    checks = {"text": told_and_taken(text, model, lent, {"prompt": "a fox", "negative_prompt": "grey"})}
    prompt = text.run("a fox", **{argument: getattr(model, part)() for argument, part in lent.items()}).positive
    latents = LTX2LatentPreparationStage(height=height, width=width, num_frames=num_frames).run(1)
    picture = np.zeros((num_frames, height, width, 3), np.uint8)
    still = LTX2ImageConditioningStage(frame_idx=-1, image_crf=0)
    checks["still"] = told_and_taken(still, model, vae, {"latents": latents, "image": Image(picture[0])})
    kept = still.run(latents, Image(picture[0]), video_vae=model.video_vae())
    denoise, transformer = LTX2DenoisingStage(sigmas=(1.0, 0.5, 0.0)), {"transformer": "transformer"}
    for name, state in (("denoise", latents), ("denoise what is kept", kept)):
        flows = {"latents": state, "text": prompt}
        checks[name] = told_and_taken(denoise, model, transformer, flows, context=context)
    made = denoise.run(latents, prompt, transformer=model.transformer(), context=context)
    video, audio = {"latents": made.video}, {"latents": made.audio}
    for settings in ({}, {"chunk_frames": 4}, {"tiling": "off"}):
        stage = LTX2VideoDecodingStage(**settings)
        checks[f"decode {settings}"] = told_and_taken(stage, model, vae, video, context=context)
    frames = {"frames": Frames(picture, 24)}
    checks["encode"] = told_and_taken(LTX2VideoEncodingStage(), model, vae, frames, context=context)
    clip = LTX2VideoConditioningStage(frame_idx=0)
    checks["clip"] = told_and_taken(clip, model, vae, {"latents": latents, **frames}, context=context)
    lent = {"audio_vae": "audio_vae", "vocoder": "vocoder"}
    checks["sound"] = told_and_taken(LTX2AudioDecodingStage(), model, lent, audio)
    lent = {"upsampler": "latent_upsampler", "statistics": "video_statistics"}
    checks["upsample"] = told_and_taken(LTX2LatentUpsamplingStage(), model, lent, video)
    assert {name: ratio for name, (told, taken) in checks.items() if not LEAST < (ratio := told / taken) < MOST} == {}


def test_what_is_kept_changes_what_is_known_of_latents(model: LTX2Checkpoint) -> None:
    """Tokens of a still or a clip beside the video are counted, in its place they are not."""
    latents = LTX2LatentPreparationStage(height=64, width=96, num_frames=17).run(1)
    picture = Image(np.zeros((64, 96, 3), np.uint8))
    clip = Frames(np.zeros((10, 64, 96, 3), np.uint8), 24)
    vae, context = model.video_vae(), sg.StageContext()
    for frame, place in ((0, "auto"), (-17, "auto"), (8, "auto"), (0, "append"), (0, "replace")):
        still = LTX2ImageConditioningStage(frame_idx=frame, place=place, image_crf=0)
        made = still.run(latents, picture, video_vae=vae).facts
        assert still.facts({"latents": latents.facts})["output"] == made
    for frame in (0, 8):
        keep = LTX2VideoConditioningStage(frame_idx=frame)
        made = keep.run(latents, clip, video_vae=vae, context=context).facts
        assert keep.facts({"latents": latents.facts, "frames": clip.facts})["output"] == made
    unknown = LTX2VideoConditioningStage(frame_idx=8).facts({"latents": latents.facts})["output"]
    assert "video_tokens" not in unknown
    assert LTX2VideoConditioningStage().facts({}) == {"output": {}}


# Guidance


@pytest.mark.parametrize("together", [True, False])
def test_batches_of_guidance_are_counted_as_they_are_made(together: bool) -> None:
    """For every choice of terms."""
    text, negative = (TextContext(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1)) for _ in range(2))
    for terms in product((1, 3), (0, 1), (1, 3)):
        guidance = Guidance(Scales(*terms))
        made = passes(guidance, text, negative)
        groups = grouped(made, together=together)
        assert guidance.batches(together=together) == tuple(len(group) for group in groups)
        shared = {tuple(id(one.text) for one in group) for group in groups}
        assert guidance.texts(together=together) == sum(len(texts) for texts in shared)


@pytest.mark.parametrize(("free", "batches"), [(None, [2]), (10**9, [2]), (10**3, [1, 1])])
def test_passes_of_guidance_go_together_if_memory_allows(
    tiny_base: Path, free: int | None, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nobody knows what is free; the result is the same but for rounding."""
    monkeypatch.setattr(room, "free_memory", lambda device: free)
    model = LTX2Checkpoint(path=str(tiny_base), device="cpu")
    transformer = model.transformer()
    seen: list[int] = []
    transformer.module.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    latents = LTX2LatentPreparationStage(height=64, width=96, num_frames=9).run(1)
    text, context = TextContext(torch.randn(1, 1024, 32), torch.randn(1, 1024, 32)), sg.StageContext()
    made = {}
    for batch in ("auto", "together"):
        stage = LTX2DenoisingStage(sigmas=(1.0, 0.0), guidance_scale=3.0, guidance_batch=batch)
        seen.clear()
        made[batch] = stage.run(latents, text, text, transformer=transformer, context=context).video.latent
        assert seen == (batches if batch == "auto" else [2])
    assert (made["auto"] - made["together"]).abs().max() < 1e-4
    facts = {"latents": latents.facts, "transformer": model.part_facts("transformer")}
    stage = LTX2DenoisingStage(guidance_scale=3.0)
    least, most = stage.memory(facts) or (0, 0)
    assert least < most
    assert attrs.evolve(stage, guidance_batch="apart").memory(facts) == (least, least)
    assert attrs.evolve(stage, guidance_batch="together").memory(facts) == (most, most)


# What is free, and what is said when it was not enough


def test_the_free_memory_of_this_machine_is_what_programs_can_have(tmp_path: Path) -> None:
    """As the kernel tells it, which counts files that are only cached."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    total = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemTotal:"))
    free = devices.free_memory(torch.device("cpu"))
    assert free is not None
    assert 0 < free <= total
    assert devices.free_memory(torch.device("meta")) is None


def test_a_device_that_runs_out_tells_what_takes_less() -> None:
    """With the size of what was tried."""
    with pytest.raises(FitError) as caught, room.room_for("decoding", 5 * 2**30, "set tiling to spatial"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1 GiB.")
    assert caught.value.exit_code == 4
    assert str(caught.value) == (
        "error[ltx2.out_of_memory]: decoding ran out of memory\n"
        "  why: it takes about 5.0 GiB beside the weights; CUDA out of memory\n"
        "  fix: set tiling to spatial"
    )
