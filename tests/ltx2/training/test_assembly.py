"""From states to a checkpoint that both stagegraph and diffusers open, and what is said of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import LTX2Pipeline
from torch import nn

from ltx2_training import assembly, networks, reporting, state
from ltx2_training.reporting import Asked
from ltx2_training.words import tokens
from stagegraph_ltx2.checkpoint.components import COMPONENTS
from stagegraph_ltx2.checkpoint.opening import open_checkpoint
from stagegraph_ltx2.text_encoder import load_text_encoder

SCALES = ("stg_scale", "modality_scale", "guidance_rescale")


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pieces leave that have trained nothing."""
    folder = tmp_path_factory.mktemp("states")
    for piece, names in assembly.PIECES.items():
        modules = {name: networks.gemma() if name == "text_encoder" else networks.build(name) for name in names}
        state.save(folder, piece, nn.ModuleDict(modules).state_dict())
    return folder


@pytest.fixture(scope="module")
def micro(states: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return assembly.assemble([states], tmp_path_factory.mktemp("made") / "micro")


def test_it_is_a_whole_distilled_checkpoint(micro: Path) -> None:
    """With every component, in files small enough for a package."""
    checkpoint = open_checkpoint(micro)
    assert (checkpoint.family, checkpoint.distilled) == ("2.0", True)
    assert set(checkpoint.found) == set(COMPONENTS)
    assert not checkpoint.broken
    sizes = [path.stat().st_size for path in micro.rglob("*") if path.is_file()]
    assert max(sizes) <= 16 * 2**20
    assert sum(sizes) <= 24 * 2**20


def test_its_text_encoder_is_the_one_that_was_trained(micro: Path, states: Path) -> None:
    """Weights rounded to bf16, under the names of the whole Gemma 3; the same ids as in training."""
    encoder = load_text_encoder(open_checkpoint(micro), device=torch.device("cpu"), dtype=torch.float32)
    trained = {k: v for k, v in state.load(states, "flow").items() if k.startswith("text_encoder.")}
    for name, tensor in encoder.model.state_dict().items():
        assert torch.equal(tensor, trained[f"text_encoder.{name}"].bfloat16().float())
    prompt = "A red circle moves slowly to the left on a blue background."
    ids = encoder.tokenizer([prompt], 64).ids[0]
    assert ids[ids != 0].tolist() == [int(i) for i in tokens([prompt])[0] if i]


def test_diffusers_opens_it(micro: Path) -> None:
    """And makes a video of a prompt, in one step."""
    pipeline = LTX2Pipeline.from_pretrained(micro)
    pipeline.set_progress_bar_config(disable=True)
    unguided = {f"{of}guidance_scale": 1.0 for of in ("", "audio_")}
    unguided |= {f"{of}{name}": float(name == "modality_scale") for of in ("", "audio_") for name in SCALES}
    output = pipeline(
        "a red circle moves left on blue",
        height=64,
        width=96,
        num_frames=9,
        num_inference_steps=1,
        output_type="np",
        **unguided,
    )
    assert output.frames[0].shape == (9, 64, 96, 3)
    assert torch.isfinite(output.audio[0]).all()


def test_the_last_state_counts(states: Path, tmp_path: Path) -> None:
    """Of a piece that is in two folders."""
    other = networks.build("latent_upsampler", seed=1)
    state.save(tmp_path / "later", "upsampler", nn.ModuleDict({"latent_upsampler": other}).state_dict())
    parts = assembly._parts([states, tmp_path / "later"])
    assert torch.equal(parts["latent_upsampler"]["final_conv.weight"], other.final_conv.weight)


def test_a_piece_that_is_missing_is_named(tmp_path: Path) -> None:
    """And nothing is written."""
    with pytest.raises(SystemExit) as caught:
        assembly.assemble([tmp_path / "a", tmp_path / "b"], tmp_path / "made")
    a, b = tmp_path / "a", tmp_path / "b"
    assert str(caught.value) == f"no video in {a}, {b}: train it first, and name its folder"
    assert not (tmp_path / "made").exists()


def test_a_piece_of_another_form_is_refused(states: Path, tmp_path: Path) -> None:
    """As it is after the recipe has changed."""
    tensors = state.load(states, "upsampler")
    tensors["latent_upsampler.final_conv.bias"] = torch.zeros(7)
    state.save(tmp_path, "upsampler", tensors)
    with pytest.raises(SystemExit) as caught:
        assembly.assemble([states, tmp_path], tmp_path / "made")
    assert str(caught.value) == (
        "the latent_upsampler is not of the form that recipe.py says: train upsampler again, --anew"
    )


def test_a_checkpoint_that_is_too_large_is_not_written(
    states: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sizes are told."""
    monkeypatch.setattr(assembly, "LARGEST", 20_000_000)
    with pytest.raises(SystemExit, match=r"too large: all files have \d+ bytes; allowed are 16777216 and 20000000"):
        assembly.assemble([states], tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_a_checkpoint_is_measured_through_its_stages(micro: Path, tmp_path: Path) -> None:
    """Weights that have learned nothing follow no prompt; the card has what was found and what training took."""
    measured = reporting.measure(Asked(str(micro), count=2, num_frames=9, device="cpu"))
    assert measured["agreement"]["motion"] == 0
    assert measured["weights"] == reporting.digest(micro)
    piece = {"steps": 7, "wall": 3.0, "seed": 0, "device": "cpu", "psnr": {"25x128": {"mean": 33.1, "least": 24.3}}}
    (tmp_path / "report.json").write_text(json.dumps({"video": [piece]}))
    reporting.write(tmp_path, measured, [tmp_path])
    card = (tmp_path / "README.md").read_text()
    assert "| video, seed 0 | 7 | 3 | cpu |" in card
    assert "| and moves so | 0.0% | 90% |" in card
    assert "- video VAE, 25x128: PSNR 33.1 dB on average, 24.3 dB at least" in card
    assert json.loads((tmp_path / "metrics.json").read_text()) == measured


def test_measurements_are_of_weights(micro: Path, tmp_path: Path) -> None:
    """A copy has the same identity, also with other words beside them; changed weights, or others' names, do not."""
    copy = tmp_path / "copy"
    shutil.copytree(micro, copy)
    (copy / "README.md").write_text("other words")
    assert reporting.digest(copy) == reporting.digest(micro)
    weights = copy / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert reporting.digest(copy) != reporting.digest(micro)
    weights.write_bytes((micro / "vae" / weights.name).read_bytes())
    assert reporting.digest(copy) == reporting.digest(micro)
    weights.rename(weights.with_name("other.safetensors"))
    assert reporting.digest(copy) != reporting.digest(micro)


def test_what_is_not_as_good_as_it_should_be_is_told() -> None:
    """Shares that are too small, and a distance that is too large."""
    assert reporting.missed({"colour": 0.95, "shape": 0.5, "panning_error": 0.2}) == [
        "shape is 0.500, wanted at least 0.85",
        "panning_error is 0.200, wanted at most 0.1",
    ]
