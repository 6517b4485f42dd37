"""A transformer with LoRAs gives what diffusers gives with PEFT, for files that either of them reads, in fp32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import LTX2VideoTransformer3DModel
from diffusers.loaders.lora_pipeline import LTX2LoraLoaderMixin
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict

from stagegraph_ltx2.checkpoint.lora.tiny import write_tiny_lora
from stagegraph_ltx2.checkpoint.opening import open_checkpoint
from stagegraph_ltx2.checkpoint.resolve import resolve
from stagegraph_ltx2.component import LTX2Checkpoint
from stagegraph_ltx2.lora_component import Adapter, LTX2Lora
from stagegraph_ltx2.model.conditions import Timesteps
from stagegraph_ltx2.model.positions import audio_positions, video_positions
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.shapes import AudioShape, LatentShape

from ..random_weights import relative_error

TOLERANCE = 5e-6
SHAPE, AUDIO, RATE = LatentShape(2, 3, 4), AudioShape(9), 24.0
FAMILIES = pytest.mark.parametrize("name", ["tiny", "tiny-2.3"])


def inputs(model: AudioVideoTransformer) -> list[torch.Tensor]:
    c = model.config
    text = [c.caption_channels] * 2 if c.use_prompt_embeddings else [c.width, c.audio_width]
    generator = torch.Generator().manual_seed(1)
    sizes = ((SHAPE.tokens, c.in_channels), (AUDIO.tokens, c.audio_in_channels), (5, text[0]), (5, text[1]))
    return [torch.randn(1, tokens, channels, generator=generator) for tokens, channels in sizes]


@torch.inference_mode()
def ours(model: AudioVideoTransformer, timestep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    video, audio, *contexts = inputs(model)
    rotary = model.rotary(video_positions(SHAPE, RATE), audio_positions(AUDIO))
    velocities: tuple[torch.Tensor, torch.Tensor] = model(
        video, audio, model.text(*contexts), Timesteps.alike(timestep), rotary
    )
    return velocities


@torch.inference_mode()
def theirs(model: Any, like: AudioVideoTransformer, timestep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    told: tuple[torch.Tensor, torch.Tensor] = model(
        *inputs(like),
        timestep=timestep,
        sigma=timestep,
        num_frames=SHAPE.frames,
        height=SHAPE.height,
        width=SHAPE.width,
        fps=RATE,
        audio_num_frames=AUDIO.frames,
        use_cross_timestep=True,
        return_dict=False,
    )
    return told


def reference(name: str) -> LTX2VideoTransformer3DModel:
    folder = resolve(name) / "transformer"
    return LTX2VideoTransformer3DModel.from_pretrained(folder, torch_dtype=torch.float32)


def compare(name: str, their_model: Any, *adapters: Adapter) -> None:
    """Velocities with LoRAs, of both; they change something."""
    style = LTX2Lora(base=LTX2Checkpoint(path=name, device="cpu", dtype="fp32"), adapters=adapters)
    timestep = torch.tensor([700.0])
    base = style.base.transformer()
    plain = ours(base.module, timestep)
    got = ours(style.transformer(base, keep=False).module, timestep)
    expected = theirs(their_model, base.module, timestep)
    for mine, other, before in zip(got, expected, plain, strict=True):
        assert relative_error(mine, other) < TOLERANCE
        assert relative_error(mine, before) > 0.01


@FAMILIES
@pytest.mark.parametrize("form", ["official", "diffusers"])
def test_files_that_diffusers_loads_give_what_they_give_there(tmp_path: Path, name: str, form: Any) -> None:
    """Two of them, with strengths; alpha as the header of diffusers says it."""
    model = reference(name)
    files = {
        f"a{seed}": write_tiny_lora(
            tmp_path / f"{seed}.safetensors",
            open_checkpoint(resolve(name)),
            form,
            alpha=None if form == "official" else 6 + seed,
            seed=seed,
        )
        for seed in (1, 2)
    }
    for adapter, file in files.items():
        state, metadata = LTX2LoraLoaderMixin.lora_state_dict(str(file), return_lora_metadata=True)
        if metadata is not None:  # PEFT has to be told, too, which layers they are
            layers = sorted({key.removeprefix("transformer.").partition(".lora_")[0] for key in state})
            metadata["transformer.target_modules"] = layers
        model.load_lora_adapter(state, adapter_name=adapter, metadata=metadata, prefix="transformer")
    model.set_adapters(list(files), [0.8, -0.5])
    strengths = zip(files.values(), (0.8, -0.5), strict=True)
    compare(name, model, *(Adapter(path=str(file), strength=strength) for file, strength in strengths))


@FAMILIES
@pytest.mark.parametrize("stabilized", [False, True])
def test_adapters_that_peft_trains_give_what_they_give_there(tmp_path: Path, name: str, stabilized: bool) -> None:
    """Saved by PEFT itself: patterns of ranks and alphas, scaled by rank or its root."""
    config = LoraConfig(
        r=4,
        lora_alpha=10,
        target_modules=["to_q", "to_out.0", "proj_in", "audio_proj_out", "net.2"],
        rank_pattern={"proj_in": 3},
        alpha_pattern={"to_q": 2},
        use_rslora=stabilized,
        init_lora_weights=False,
    )
    model = get_peft_model(reference(name), config)
    with torch.no_grad():
        for key, tensor in get_peft_model_state_dict(model).items():
            tensor.copy_(torch.randn(tensor.shape) * (0.2 if "lora_B" in key else 0.1))
    model.save_pretrained(tmp_path / "adapter")
    compare(name, model, Adapter(path=str(tmp_path / "adapter")))


@FAMILIES
def test_files_of_kohya_give_what_the_same_numbers_give_in_diffusers(tmp_path: Path, name: str) -> None:
    """No converter of diffusers reads them, so it is given the same factors by its own names."""
    checkpoint = open_checkpoint(resolve(name))
    model = reference(name)
    same = write_tiny_lora(tmp_path / "official.safetensors", checkpoint, "official", rank=4)
    model.load_lora_adapter(LTX2LoraLoaderMixin.lora_state_dict(str(same)), adapter_name="a", prefix="transformer")
    model.set_adapters(["a"], [0.75])
    kohya = write_tiny_lora(tmp_path / "kohya.safetensors", checkpoint, "kohya", rank=4, alpha=2)
    compare(name, model, Adapter(path=str(kohya), strength=1.5))
