"""What an LTX-2 checkpoint tells of itself before it is loaded, and how its parts move."""

from __future__ import annotations

import shutil
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path

import pytest
import torch

import stagegraph as sg
from stagegraph import events
from stagegraph.errors import ComponentError
from stagegraph_ltx2.checkpoint.convert import convert
from stagegraph_ltx2.checkpoint.device import DTYPES
from stagegraph_ltx2.checkpoint.fingerprint import SAMPLE_BYTES, SAMPLES
from stagegraph_ltx2.checkpoint.header import read_header
from stagegraph_ltx2.checkpoint.opening import open_checkpoint
from stagegraph_ltx2.checkpoint.resolve import resolve
from stagegraph_ltx2.component import LTX2Checkpoint
from stagegraph_ltx2.lending import module_of
from stagegraph_ltx2.stages import LTX2DenoisingStage, LTX2LatentPreparationStage, LTX2TextEncodingStage
from stagegraph_ltx2.upsampler_component import LTX2LatentUpsampler

PARTS = ("text_encoder", "connectors", "transformer", "video_vae", "audio_vae", "vocoder")


def loaded_bytes(module: torch.nn.Module) -> int:
    """What the weights take."""
    return sum(tensor.nbytes for tensor in module.state_dict().values())


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_size_that_is_told_is_the_size_that_is_loaded(tiny: Path, part: str, dtype: str) -> None:
    """From headers alone, in the number format that is asked for."""
    model = LTX2Checkpoint(path=str(tiny), device="cpu", dtype=dtype)
    assert model.part_facts(part)["bytes"] == loaded_bytes(module_of(getattr(model, part)()))


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
    before = {name: tensor.clone() for name, tensor in module_of(value).state_dict().items()}
    back = model.restore(part, model.offload(part, value))
    after = module_of(back).state_dict()
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
    tensors = sorted(read_header(weights).tensors.items())
    ends = list(accumulate(info.nbytes for _, info in tensors))
    last = ends[-1] - SAMPLE_BYTES
    # Between the second sample and the third, counting bytes in the order of the tensors' names.
    middle = (last * 1 // (SAMPLES - 1) + SAMPLE_BYTES + last * 2 // (SAMPLES - 1)) // 2
    index = bisect_right(ends, middle)
    info = tensors[index][1]
    data = bytearray(weights.read_bytes())
    data[info.offset + middle - (ends[index] - info.nbytes)] ^= 1
    weights.write_bytes(data)
    for identity, same in (("samples", True), ("contents", False)):
        first, second = (LTX2Checkpoint(path=str(path), identity=identity) for path in (tiny, copy))
        assert (first.fingerprint() == second.fingerprint()) is same


@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp32"])
def test_the_wideband_vocoder_is_in_full_precision_whatever_is_asked_for(
    tiny: Path, tiny_2_3: Path, dtype: str
) -> None:
    """That of LTX-2.3, and its size is told so; that of LTX-2.0 and everything else follows."""
    for path, formats in ((tiny_2_3, {torch.float32}), (tiny, {DTYPES[dtype]})):
        model = LTX2Checkpoint(path=str(path), device="cpu", dtype=dtype)
        module = model.vocoder().module
        assert {tensor.dtype for tensor in module.state_dict().values()} == formats
        assert model.part_facts("vocoder")["bytes"] == loaded_bytes(module)
        assert {tensor.dtype for tensor in model.transformer().module.state_dict().values()} == {DTYPES[dtype]}


def test_traits_of_ltx_2_3_are_its_own(tiny_2_3: Path) -> None:
    """Before and after it is loaded; its upsampler tells by how much it enlarges."""
    model = LTX2Checkpoint(path=str(tiny_2_3), device="cpu")
    traits = {"family": "2.3", "distilled": True, "layers": 2}
    assert model.part_facts("transformer").items() >= traits.items()
    assert dict(model.transformer().traits) == traits
    assert model.part_facts("latent_upsampler")["spatial_scale"] == "2"


def test_an_upsampler_of_its_own_is_a_component(tiny_2_3: Path) -> None:
    """With the size, the identity and the weights of that in the checkpoint."""
    own = LTX2LatentUpsampler(path=str(tiny_2_3), device="cpu", dtype="bf16")
    whole = LTX2Checkpoint(path=str(tiny_2_3), device="cpu", dtype="bf16")
    assert not list(own.check(frozenset({"latent_upsampler"})))
    assert own.part_facts("latent_upsampler") == whole.part_facts("latent_upsampler")
    assert own.placement() == {"device": "cpu", "dtype": "bfloat16"} == dict(own.cache_facts())
    one, other = (model.latent_upsampler().module.state_dict() for model in (own, whole))
    assert all(torch.equal(one[name], tensor) for name, tensor in other.items())
    assert LTX2LatentUpsampler(path="Nobody/Nothing/x.safetensors").part_facts("latent_upsampler") == {}


def test_check_tells_what_the_parts_lack_and_nothing_of_others(tiny: Path, tmp_path: Path) -> None:
    """Files that are absent, and files that are no weights, before anything loads."""
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    shutil.rmtree(folder / "latent_upsampler")
    (folder / "audio_vae" / "diffusion_pytorch_model.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1"
    )
    model = LTX2Checkpoint(path=str(folder), device="cpu")
    codes = {
        part: [fault.code for fault in model.check(frozenset({part}))]
        for part in ("transformer", "latent_upsampler", "audio_vae")
    }
    assert codes == {
        "transformer": [],
        "latent_upsampler": ["ltx2.missing_component"],
        "audio_vae": ["ltx2.not_safetensors"],
    }


def test_what_was_mended_meanwhile_is_seen(tiny: Path, tmp_path: Path) -> None:
    """Every run checks its components first, and they are looked at again."""
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    (folder / "tokenizer").rename(tmp_path / "tokenizer")
    model = LTX2Checkpoint(path=str(folder), device="cpu")
    with pytest.raises(ComponentError, match="has no tokenizer"):
        model.text_encoder()
    (tmp_path / "tokenizer").rename(folder / "tokenizer")
    assert not list(model.check(frozenset({"text_encoder"})))
    model.text_encoder()


def test_what_lies_elsewhere_is_found_through_params(tmp_path: Path) -> None:
    """A text encoder and an upsampler that are not beside a single file; absent paths are told."""
    made = convert(open_checkpoint(resolve("tiny")), tmp_path / "model", "single")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (made / "gemma").rename(elsewhere / "gemma")
    upsampler = (made / "model-spatial-upscaler.safetensors").rename(elsewhere / "upscaler.safetensors")
    needed = frozenset({"text_encoder", "latent_upsampler"})
    alone = LTX2Checkpoint(path=str(made))
    assert [fault.code for fault in alone.check(needed)] == ["ltx2.missing_component"] * 3
    model = LTX2Checkpoint(path=str(made), text_encoder_path=str(elsewhere / "gemma"), upsampler_path=str(upsampler))
    assert not list(model.check(needed))
    assert model.fingerprint() == LTX2Checkpoint(path=str(resolve("tiny"))).fingerprint() != alone.fingerprint()
    absent = LTX2Checkpoint(path=str(made), upsampler_path=str(tmp_path / "absent"))
    assert [fault.code for fault in absent.check(needed)] == ["ltx2.no_such_checkpoint"]
    # What would be downloaded is not looked for.
    assert not list(LTX2Checkpoint(path=str(made), text_encoder_path="org/gemma").check(needed))


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
