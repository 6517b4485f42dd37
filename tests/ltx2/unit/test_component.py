"""What an LTX-2 checkpoint tells of itself before it is loaded, and how its parts move."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import stagegraph as sg
from stagegraph import events
from stagegraph_ltx2.component import LTX2Checkpoint, _module_of
from stagegraph_ltx2.stages import LTX2DenoisingStage, LTX2LatentPreparationStage, LTX2TextEncodingStage

PARTS = ("text_encoder", "connectors", "transformer", "video_vae", "audio_vae", "vocoder")


def loaded_bytes(module: torch.nn.Module) -> int:
    """What the weights take."""
    return sum(tensor.nbytes for tensor in module.state_dict().values())


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_size_that_is_told_is_the_size_that_is_loaded(tiny: Path, part: str, dtype: str) -> None:
    """From headers alone, in the number format that is asked for."""
    model = LTX2Checkpoint(path=str(tiny), device="cpu", dtype=dtype)
    assert model.part_facts(part)["bytes"] == loaded_bytes(_module_of(getattr(model, part)()))


def test_traits_are_told_before_the_transformer_is_loaded(tiny: Path, tiny_base: Path) -> None:
    """And by it, once it is."""
    for path, distilled in ((tiny, True), (tiny_base, False)):
        model = LTX2Checkpoint(path=str(path), device="cpu")
        traits = {"family": "2.0", "distilled": distilled, "layers": 2}
        facts = model.part_facts("transformer")
        assert {name: facts[name] for name in traits} == traits == dict(model.transformer().traits)
    upsampler = LTX2Checkpoint(path=str(tiny), device="cpu").part_facts("latent_upsampler")
    assert (upsampler["spatial_scale"], upsampler["temporal_scale"]) == ("2", 1)


def test_nothing_is_told_of_what_would_have_to_be_downloaded() -> None:
    """No network for an estimate."""
    assert LTX2Checkpoint(path="Nobody/Nothing").part_facts("transformer") == {}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_moves_away_and_comes_back_as_it_was(tiny: Path, part: str) -> None:
    """The weights are the same, on the device of the component."""
    model = LTX2Checkpoint(path=str(tiny), device="cpu", dtype="fp32")
    value = getattr(model, part)()
    before = {name: tensor.clone() for name, tensor in _module_of(value).state_dict().items()}
    back = model.restore(part, model.offload(part, value))
    after = _module_of(back).state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_two_copies_of_a_checkpoint_share_what_they_load(tiny: Path, tmp_path: Path) -> None:
    """By the identity of the weights; in another number format they are another thing."""
    copy = tmp_path / "copy"
    shutil.copytree(tiny, copy)
    pool = sg.Pool()
    one = pool.lend(LTX2Checkpoint(path=str(tiny), device="cpu"), "vocoder")
    assert pool.lend(LTX2Checkpoint(path=str(copy), device="cpu"), "vocoder") is one
    assert pool.lend(LTX2Checkpoint(path=str(copy), device="cpu", dtype="bf16"), "vocoder") is not one


def test_the_identity_by_contents_sees_what_samples_do_not(tiny: Path, tmp_path: Path) -> None:
    """One bit of one weight between two samples."""
    copy = tmp_path / "copy"
    shutil.copytree(tiny, copy)
    weights = next((copy / "vae").glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    samples, last = 64, len(data) - 4096
    middle = (last * 1 // (samples - 1) + 4096 + last * 2 // (samples - 1)) // 2  # between the second and the third
    data[middle] ^= 1
    weights.write_bytes(data)
    for identity, same in (("samples", True), ("contents", False)):
        first, second = (LTX2Checkpoint(path=str(path), identity=identity) for path in (tiny, copy))
        assert (first.fingerprint() == second.fingerprint()) is same


def test_a_text_encoder_that_was_out_of_the_way_encodes_the_same(tiny: Path) -> None:
    """Two encodings, and the transformer between them."""
    g = sg.Graph("text")
    g.component("model", LTX2Checkpoint(path=str(tiny), device="cpu"), residency={"text_encoder": "offload"})
    prompt = g.input("prompt", str)
    first = g.add(LTX2TextEncodingStage(), name="first", prompt=prompt)
    latents = g.add(LTX2LatentPreparationStage(height=64, width=96, num_frames=9), seed=sg.constant(1))
    g.output("video", g.add(LTX2DenoisingStage(sigmas=(1.0, 0.0)), latents=latents, text=first.positive).video)
    second = g.add(LTX2TextEncodingStage(), name="second", prompt=prompt)
    g.output("first", first.positive)
    g.output("second", second.positive)
    seen: list[events.Event] = []
    run = g.run(prompt="a fox", on_event=seen.append)
    assert torch.equal(run["first"].video, run["second"].video)
    assert [e.part for e in seen if isinstance(e, events.ComponentOffloaded)] == ["text_encoder"]
    loaded = [e.part for e in seen if isinstance(e, events.ComponentLoaded)]
    assert loaded == ["text_encoder", "connectors", "transformer", "text_encoder"]
