"""One model in every layout: found out from headers and names, and loaded to the same weights."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from stagegraph_ltx2.checkpoint.components import COMPONENTS
from stagegraph_ltx2.checkpoint.contents import Checkpoint, Layout
from stagegraph_ltx2.checkpoint.families import LACKS
from stagegraph_ltx2.checkpoint.fingerprint import fingerprint
from stagegraph_ltx2.checkpoint.header import read_header
from stagegraph_ltx2.checkpoint.opening import FORMS, Elsewhere, open_checkpoint
from stagegraph_ltx2.checkpoint.upsampler import WHY, open_upsampler
from stagegraph_ltx2.component import LTX2Checkpoint
from stagegraph_ltx2.lending import module_of

from .conftest import rewrite

LaidOut = Callable[[str, Layout], Path]
Refusal = Callable[[Callable[[], object]], str]
ALL: tuple[Layout, ...] = ("diffusers", "single", "split", "fastvideo")
FAMILIES = {"tiny": "2.0", "tiny-2.3": "2.3"}
PARTS = ("text_encoder", "connectors", "transformer", "video_vae", "audio_vae", "vocoder", "latent_upsampler")
GEMMA = "hf download google/gemma-3-12b-it-qat-q4_0-unquantized --local-dir"
USE = "use Lightricks/LTX-2 or Lightricks/LTX-2.3/ltx-2.3-22b-distilled-1.1.safetensors"


def single_file(folder: Path) -> Path:
    """The checkpoint in a folder with a single file, which may lie beside an upsampler."""
    (path,) = (path for path in folder.glob("*.safetensors") if "upscaler" not in path.name)
    return path


def only(folder: Path, pattern: str) -> Path:
    (path,) = folder.glob(pattern)
    return path


def gemma_config(path: Path, **changes: Any) -> str:
    """The configuration of a text encoder in the header of its file, changed."""
    return json.dumps(json.loads(read_header(path).metadata["gemma_config"]) | changes)


def broken(checkpoint: Checkpoint, *names: str) -> Callable[[], object]:
    return lambda: checkpoint.components(names or checkpoint.names)


def loaded(path: Path) -> dict[tuple[str, str], torch.Tensor]:
    """Every tensor of every part."""
    model = LTX2Checkpoint(path=str(path), device="cpu")
    return {
        (part, name): tensor
        for part in PARTS
        for name, tensor in module_of(getattr(model, part)()).state_dict().items()
    }


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("layout", ALL)
def test_each_layout_is_found_out(laid_out: LaidOut, name: str, layout: Layout) -> None:
    """With the family, whether it is distilled, and every component."""
    checkpoint = open_checkpoint(laid_out(name, layout))
    assert (checkpoint.layout, checkpoint.family, checkpoint.distilled) == (layout, FAMILIES[name], True)
    assert set(checkpoint.found) == set(COMPONENTS)
    assert not checkpoint.broken
    assert not checkpoint.remarks


@pytest.mark.parametrize("name", FAMILIES)
def test_every_layout_loads_to_identical_tensors(laid_out: LaidOut, name: str) -> None:
    """Bit by bit, under the same names."""
    expected = loaded(laid_out(name, "diffusers"))
    for layout in ALL[1:]:
        got = loaded(laid_out(name, layout))
        assert got.keys() == expected.keys()
        assert all(torch.equal(got[key], tensor) for key, tensor in expected.items()), layout


@pytest.mark.parametrize("name", FAMILIES)
def test_the_same_weights_have_one_identity_in_every_layout(laid_out: LaidOut, name: str) -> None:
    """By samples, and by every byte."""
    for whole in (False, True):
        prints = [
            {n: fingerprint(files, whole=whole) for n, files in open_checkpoint(laid_out(name, layout)).found.items()}
            for layout in ALL
        ]
        assert all(one.keys() == COMPONENTS.keys() for one in prints)
        assert all({**one, "scheduler": ""} == {**prints[0], "scheduler": ""} for one in prints)
    other = open_checkpoint(laid_out("tiny-2.3" if name == "tiny" else "tiny", "single"))
    assert fingerprint(other.component("transformer")) != prints[0]["transformer"]


def test_layouts_that_say_different_things_of_the_same_weights_do_not_share_results(laid_out: LaidOut) -> None:
    """The identity of the weights is one, but on whether they are distilled depends how they are denoised with."""
    distilled, base = (
        LTX2Checkpoint(path=str(laid_out(name, "single")), device="cpu") for name in ("tiny", "tiny-base")
    )
    assert distilled.fingerprint() == base.fingerprint()
    assert distilled.cache_facts() != base.cache_facts()
    assert distilled.placement() != base.placement()


@pytest.mark.parametrize(
    ("name", "distilled"),
    [
        ("ltx-2-19b-dev", False),
        ("ltx-2-19b-distilled", True),
        ("ltx-2.3-22b-distilled-1.1", True),
        ("ltx-2.3-22b-dev_transformer_only_bf16", False),
        ("ltx-2-19b-distilled-lora-384", None),
        ("my-distilled-merge", None),
        ("ltx-2-19b-development", None),
    ],
)
def test_whether_a_single_file_is_distilled_is_told_by_its_official_name_alone(
    copied: LaidOut, name: str, distilled: bool | None
) -> None:
    """Other names tell nothing, whatever words are in them."""
    path = rewrite(single_file(copied("tiny", "single")), {"diffusers_scheduler": None})
    path = path.rename(path.with_name(f"{name}.safetensors"))
    checkpoint = open_checkpoint(path)
    assert (checkpoint.distilled, bool(checkpoint.evidence)) == (distilled, distilled is not None)


@pytest.mark.parametrize(
    ("repository", "distilled"), [("LTX2-Distilled-Diffusers", True), ("LTX2-base", False), ("x", None)]
)
def test_a_fastvideo_folder_without_a_scheduler_is_known_by_its_repository(
    laid_out: LaidOut, tmp_path: Path, repository: str, distilled: bool | None
) -> None:
    """In the cache of Hugging Face; elsewhere nothing says so."""
    snapshot = tmp_path / f"models--FastVideo--{repository}" / "snapshots" / "0123"
    shutil.copytree(laid_out("tiny", "fastvideo"), snapshot)
    shutil.rmtree(snapshot / "scheduler")
    assert open_checkpoint(snapshot).distilled is distilled


def test_a_single_file_without_gemma_says_where_to_get_it(copied: LaidOut, refusal: Refusal) -> None:
    """For the text encoder and its tokenizer; everything else loads."""
    folder = copied("tiny", "single")
    shutil.rmtree(folder / "gemma")
    path = single_file(folder)
    checkpoint = open_checkpoint(path)
    assert refusal(broken(checkpoint, "text_encoder", "tokenizer")) == "\n".join(
        f"<tmp>/model/{path.name}: error[ltx2.missing_component]: the checkpoint has no {title}\n"
        "  why: it is a single file with "
        "transformer, connectors, vae, audio_vae, vocoder, latent_upsampler, scheduler\n"
        f"  fix: {GEMMA} <tmp>/model/gemma, or set text_encoder_path to where it is"
        for title in ("text encoder", "tokenizer")
    )
    checkpoint.components(["transformer", "vae"])


def test_gemma_is_taken_from_where_it_is_said_to_be(copied: LaidOut, laid_out: LaidOut, tmp_path: Path) -> None:
    """A folder as Hugging Face has it, the folder of a diffusers checkpoint or one in it, a file of a pack."""
    folder = copied("tiny", "single")
    shutil.rmtree(folder / "gemma")
    expected = fingerprint(open_checkpoint(laid_out("tiny", "single")).component("text_encoder"))
    places = [
        laid_out("tiny", "single") / "gemma",
        laid_out("tiny", "diffusers"),
        laid_out("tiny", "diffusers") / "text_encoder",
        laid_out("tiny", "fastvideo"),
        only(laid_out("tiny", "split"), "text_encoders/*"),
    ]
    for place in places:
        checkpoint = open_checkpoint(folder, Elsewhere(text_encoder=place))
        assert fingerprint(checkpoint.component("text_encoder")) == expected
        checkpoint.component("tokenizer")


def test_gemma_that_lies_beside_as_in_a_diffusers_folder_is_found(copied: LaidOut) -> None:
    """The official repository has single files beside such folders."""
    folder = copied("tiny", "single")
    (folder / "tokenizer").mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / "gemma" / name).rename(folder / "tokenizer" / name)
    (folder / "gemma").rename(folder / "text_encoder")
    checkpoint = open_checkpoint(single_file(folder))
    assert not checkpoint.broken
    checkpoint.components(["text_encoder", "tokenizer"])


def test_parts_of_a_snapshot_in_the_cache_of_hugging_face_may_be_links(laid_out: LaidOut, tmp_path: Path) -> None:
    """Into its blobs, also when a folder within it is what was named."""
    store = tmp_path / "models--org--name"
    snapshot, blobs = store / "snapshots" / "0123", store / "blobs"
    blobs.mkdir(parents=True)
    source = laid_out("tiny", "diffusers")
    for number, path in enumerate(sorted(path for path in source.rglob("*") if path.is_file())):
        link = snapshot / path.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, blobs / str(number))
        link.symlink_to(blobs / str(number))
    elsewhere = Elsewhere(
        text_encoder=snapshot / "text_encoder", video_vae=snapshot / "vae", upsampler=snapshot / "latent_upsampler"
    )
    checkpoint = open_checkpoint(laid_out("tiny", "single"), elsewhere)
    assert not checkpoint.broken
    assert checkpoint.component("tokenizer").place == snapshot / "tokenizer"


def test_two_text_encoders_beside_a_file_are_ambiguous(copied: LaidOut, refusal: Refusal) -> None:
    """Neither is guessed."""
    folder = copied("tiny", "single")
    shutil.copytree(folder / "gemma", folder / "gemma-2")
    assert refusal(broken(open_checkpoint(folder), "text_encoder")) == (
        "<tmp>/model: error[ltx2.ambiguous_file]: 2 text encoders lie beside the checkpoint: gemma; gemma-2\n"
        "  why: which of them is meant cannot be told\n"
        "  fix: set text_encoder_path to one, e.g. <tmp>/model/gemma"
    )


def test_a_text_encoder_without_its_tokenizer_says_what_to_fetch(copied: LaidOut, refusal: Refusal) -> None:
    """The commonest way in which such folders are incomplete."""
    folder = copied("tiny", "single")
    (folder / "gemma" / "tokenizer.json").unlink()
    assert refusal(broken(open_checkpoint(folder), "text_encoder", "tokenizer")) == (
        "<tmp>/model/gemma: error[ltx2.missing_file]: gemma has no tokenizer.json\n"
        "  why: prompts are cut into tokens by the tokenizer of the text encoder\n"
        "  fix: hf download google/gemma-3-12b-it-qat-q4_0-unquantized tokenizer.json --local-dir <tmp>/model/gemma"
    )


def test_a_text_encoder_of_another_size_is_told_before_it_loads(copied: LaidOut, refusal: Refusal) -> None:
    """Gemma 3 of 4B in place of that of 12B, for example."""
    folder = copied("tiny-2.3", "split")
    path = only(folder, "text_encoders/*")
    text = json.loads(gemma_config(path))["text_config"] | {"num_hidden_layers": 34, "hidden_size": 2560}
    rewrite(path, {"gemma_config": gemma_config(path, text_config=text)})
    assert refusal(broken(open_checkpoint(folder))) == (
        f"<tmp>/model/text_encoders/{path.name}: error[ltx2.text_encoder_mismatch]: "
        "the text encoder has 34 layers of width 2560\n"
        "  why: the text connectors were trained on 3 layers of width 32\n"
        f"  fix: set text_encoder_path to the Gemma 3 of 12B: {GEMMA} gemma"
    )


@pytest.mark.parametrize(
    ("kind", "problem", "why"),
    [
        ("gemma4_unified", "is of LTX-2.5", f"this release opens LTX-2.0 and LTX-2.3; {LACKS}"),
        ("llama", "the text encoder is a llama", "LTX-2.0 and LTX-2.3 read the hidden states of Gemma 3"),
    ],
)
def test_another_text_encoder_is_refused_by_name(
    copied: LaidOut, refusal: Refusal, kind: str, problem: str, why: str
) -> None:
    """In a file, and in a folder."""
    pack = copied("tiny", "split")
    path = only(pack, "text_encoders/*")
    rewrite(path, {"gemma_config": gemma_config(path, model_type=kind)})
    text = refusal(broken(open_checkpoint(pack), "text_encoder"))
    assert problem in text
    assert f"  why: {why}\n" in text
    folder = pack / "gemma"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    text = refusal(broken(open_checkpoint(pack, Elsewhere(text_encoder=folder)), "text_encoder"))
    assert problem in text


def test_a_text_encoder_with_a_tokenizer_that_is_not_read_says_so(copied: LaidOut, refusal: Refusal) -> None:
    """As other tools pack Gemma 3."""
    pack = copied("tiny", "split")
    path = only(pack, "text_encoders/*")
    rewrite(path, rename=lambda name: "spiece_model" if name == "tokenizer_json" else name)
    assert refusal(broken(open_checkpoint(pack), "text_encoder")) == (
        f"<tmp>/model/text_encoders/{path.name}: error[ltx2.bad_tokenizer]: {path.name} has no tokenizer\n"
        "  why: such files hold it as tokenizer_json and hf_asset__tokenizer_config.json; "
        "it has spiece_model, a format that is not read here\n"
        f"  fix: set text_encoder_path to a folder with Gemma 3: {GEMMA} gemma"
    )


def test_bytes_of_the_tokenizer_may_be_signed(copied: LaidOut) -> None:
    """As other tools store them."""
    pack = copied("tiny", "split")
    path = only(pack, "text_encoders/*")
    before = fingerprint(open_checkpoint(pack).component("tokenizer"))
    metadata = dict(read_header(path).metadata)
    state = {n: t.view(torch.int8) if t.dtype == torch.uint8 else t for n, t in load_file(path).items()}
    save_file(state, path, metadata=metadata)
    assert fingerprint(open_checkpoint(pack).component("tokenizer")) == before


def test_a_packed_file_cannot_name_a_path(copied: LaidOut) -> None:
    """Only plain names are taken for files."""
    pack = copied("tiny", "split")
    path = only(pack, "text_encoders/*")
    evil = {"hf_asset__tokenizer_config.json": "hf_asset__tokenizer_config.json"}
    state = load_file(path) | {"hf_asset__../../evil.json": torch.zeros(2, dtype=torch.uint8)}
    save_file(state, path, metadata=dict(read_header(path).metadata))
    assets = open_checkpoint(pack).component("tokenizer").assets
    assert set(assets) == {"tokenizer.json", *(name.removeprefix("hf_asset__") for name in evil)}


def test_several_transformers_in_a_pack_are_ambiguous_until_one_is_named(
    copied: LaidOut, laid_out: LaidOut, refusal: Refusal
) -> None:
    """Its own path chooses it, and what goes with it."""
    pack = copied("tiny", "split")
    first = only(pack, "diffusion_models/*")
    other = laid_out("tiny-2.3", "split")
    for path in other.glob("*/*"):
        shutil.copyfile(path, pack / path.parent.name / path.name)
    second = pack / "diffusion_models" / only(other, "diffusion_models/*").name
    assert refusal(lambda: open_checkpoint(pack)) == (
        f"<tmp>/model: error[ltx2.ambiguous_file]: the pack has 2 transformers: {second.name}; {first.name}\n"
        "  why: which of them is meant cannot be told\n"
        f"  fix: give the path of one in place of the folder's: <tmp>/model/diffusion_models/{second.name}"
    )
    encoders = sorted(pack.glob("text_encoders/*"))
    for path, family in ((first, "2.0"), (second, "2.3")):
        # The text encoders differ in the projection that comes with them.
        encoder = next(e for e in encoders if e.name[: len("tiny-2.3")] == path.name[: len("tiny-2.3")])
        checkpoint = open_checkpoint(path, Elsewhere(text_encoder=encoder))
        assert checkpoint.family == family
        checkpoint.components(["transformer", "connectors", "vae", "text_encoder", "tokenizer"])
        # That of sound is the same in both, and cannot be told apart.
        assert "set audio_vae_path to one" in refusal(broken(checkpoint, "audio_vae"))
        chosen = Elsewhere(text_encoder=encoder, audio_vae=checkpoint.component("vocoder").place)
        assert not [n for n in open_checkpoint(path, chosen).broken if n != "latent_upsampler"]


@pytest.mark.parametrize("layout", ["diffusers", "split"])
def test_a_component_of_another_family_is_told_by_name(
    copied: LaidOut, laid_out: LaidOut, refusal: Refusal, layout: Layout
) -> None:
    """Its latents would be understood by nothing."""
    folder, other = copied("tiny-2.3", layout), laid_out("tiny", layout)
    if layout == "diffusers":
        shutil.rmtree(folder / "vae")
        shutil.copytree(other / "vae", folder / "vae")
        place = "vae"
    else:
        only(folder, "vae/*video*").unlink()
        place = f"vae/{only(other, 'vae/*video*').name}"
        shutil.copyfile(other / place, folder / place)
    assert refusal(broken(open_checkpoint(folder))) == (
        f"<tmp>/model/{place}: error[ltx2.mixed_families]: the video VAE is of LTX-2.0, and the rest of LTX-2.3\n"
        "  why: what one release writes into latents or text features, another does not understand\n"
        "  fix: use the one of LTX-2.3, e.g. from Lightricks/LTX-2.3/ltx-2.3-22b-distilled-1.1.safetensors"
    )


def test_a_pack_passes_over_files_of_other_models(copied: LaidOut, laid_out: LaidOut) -> None:
    """As the folders of ComfyUI have them: of another family, of other models, damaged."""
    pack = copied("tiny-2.3", "split")
    shutil.copyfile(only(laid_out("tiny", "split"), "vae/*video*"), pack / "vae" / "older.safetensors")
    save_file({"double_blocks.0.img_attn.qkv.weight": torch.zeros(2)}, pack / "diffusion_models" / "flux.safetensors")
    save_file({"encoder.conv1.weight": torch.zeros(2)}, pack / "vae" / "wan.safetensors")
    save_file({"model.layers.0.mlp.up_proj.weight": torch.zeros(2)}, pack / "text_encoders" / "qwen.safetensors")
    (pack / "vae" / "pointer.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    checkpoint = open_checkpoint(pack)
    assert set(checkpoint.found) == set(COMPONENTS)
    assert checkpoint.component("vae").place != pack / "vae" / "older.safetensors"


def test_a_pack_in_one_folder_is_opened_by_its_transformer(copied: LaidOut, tmp_path: Path) -> None:
    """As somebody downloads it who has no ComfyUI."""
    pack, flat = copied("tiny", "split"), tmp_path / "flat"
    flat.mkdir()
    for path in pack.glob("*/*"):
        path.rename(flat / path.name)
    checkpoint = open_checkpoint(only(flat, "*transformer*"))
    assert (checkpoint.layout, set(checkpoint.found)) == ("split", set(COMPONENTS))


def test_a_pack_without_the_projection_of_the_text_says_so(copied: LaidOut, refusal: Refusal) -> None:
    """It lies in a file of its own where the text encoder comes from elsewhere."""
    pack = copied("tiny-2.3", "split")
    path = only(pack, "text_encoders/*")
    projection = pack / "text_encoders" / "projection.safetensors"
    shutil.copyfile(path, projection)
    rewrite(path, rename=lambda name: None if name.startswith("text_embedding_projection") else name)
    rewrite(projection, rename=lambda name: name if name.startswith("text_embedding_projection") else None)
    checkpoint = open_checkpoint(pack)
    assert [file.path for file in checkpoint.component("connectors").weights][1] == projection
    projection.unlink()
    assert refusal(broken(open_checkpoint(pack), "connectors")) == (
        "<tmp>/model: error[ltx2.missing_file]: no file of the pack has the projection of the text\n"
        "  why: packs have it beside their text encoder or with it, as text_embedding_projection\n"
        "  fix: put its file into <tmp>/model/text_encoders"
    )


def test_what_cannot_be_read_in_a_pack_is_told_where_it_is_missing(copied: LaidOut, refusal: Refusal) -> None:
    """A download that was cut short."""
    pack = copied("tiny", "split")
    path = only(pack, "vae/*video*")
    size = path.stat().st_size
    os.truncate(path, size - 1)
    assert refusal(broken(open_checkpoint(pack), "vae")) == (
        f"<tmp>/model/vae/{path.name}: error[ltx2.truncated]: "
        f"{path.name} has {size - 1} bytes and needs at least {size}\n"
        "  why: the download or the copy was cut short\n"
        f"  fix: hf download <repository> --include 'vae/{path.name}' --local-dir <tmp>/model"
    )


def later(path: Path) -> None:
    """Make a file say that it is of LTX-2.5."""
    rewrite(path, {"model_version": "2.5.0"})


@pytest.mark.parametrize("layout", ["single", "split"])
def test_ltx_2_5_is_refused_by_name_in_files(copied: LaidOut, refusal: Refusal, layout: Layout) -> None:
    """With what is not supported."""
    folder = copied("tiny-2.3", layout)
    path = single_file(folder) if layout == "single" else only(folder, "diffusion_models/*")
    later(path)
    for given in (folder, path):
        assert refusal(lambda given=given: open_checkpoint(given)) == (
            f"<tmp>/{path.relative_to(folder.parent)}: error[ltx2.unsupported_checkpoint]: {path.name} is of LTX-2.5\n"
            f"  why: this release opens LTX-2.0 and LTX-2.3; {LACKS}\n"
            f"  fix: {USE}"
        )


def test_ltx_2_5_is_refused_by_name_in_a_fastvideo_folder(copied: LaidOut, refusal: Refusal) -> None:
    """By what its transformer is built from."""
    folder = copied("tiny-2.3", "fastvideo")
    path = folder / "transformer" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"ff_bias": False}))
    assert "model is of LTX-2.5" in refusal(lambda: open_checkpoint(folder))


@pytest.mark.parametrize(
    ("pattern", "held", "fix"),
    [
        ("vae/*video*", "video VAE", "set path to a checkpoint, and video_vae_path to {}"),
        ("vae/*audio*", "audio VAE, vocoder", "set path to a checkpoint, and audio_vae_path to {}"),
        ("latent_upscale_models/*", "latent upsampler", "set path to a checkpoint, and upsampler_path to {}"),
        ("text_encoders/*", "text connectors, text encoder", "set path to a checkpoint, and text_encoder_path to {}"),
    ],
)
def test_a_file_of_one_component_says_what_it_is_for(
    copied: LaidOut, refusal: Refusal, pattern: str, held: str, fix: str
) -> None:
    """In place of a checkpoint."""
    path = only(copied("tiny", "split"), pattern)
    where = f"<tmp>/model/{path.parent.name}/{path.name}"
    assert refusal(lambda: open_checkpoint(path)) == (
        f"{where}: error[ltx2.unsupported_checkpoint]: {path.name} is no checkpoint\n"
        f"  why: it holds {held}; {FORMS}\n"
        f"  fix: {fix.format(where)}"
    )


def test_other_files_are_refused_by_name(tmp_path: Path, refusal: Refusal) -> None:
    """A LoRA, a model of video alone, and what is no safetensors file at all."""
    lora, video, gguf = (tmp_path / f"{name}.safetensors" for name in ("lora", "video", "gguf"))
    save_file({"diffusion_model.transformer_blocks.0.attn1.to_q.lora_A.weight": torch.zeros(2, 2)}, lora)
    save_file({"model.diffusion_model.transformer_blocks.0.attn1.to_q.weight": torch.zeros(2)}, video)
    gguf.write_bytes(b"GGUF" + bytes(100))
    assert refusal(lambda: open_checkpoint(lora)) == (
        "<tmp>/lora.safetensors: error[ltx2.unsupported_checkpoint]: lora.safetensors is a LoRA\n"
        f"  why: a LoRA changes a checkpoint, and is none\n  fix: {USE}"
    )
    assert refusal(lambda: open_checkpoint(video)) == (
        "<tmp>/video.safetensors: error[ltx2.unsupported_checkpoint]: video.safetensors is a model of video alone, as "
        f"LTX-Video is\n  why: this release opens LTX-2.0 and LTX-2.3\n  fix: {USE}"
    )
    assert "gguf.safetensors is a GGUF file: its weights are quantised" in refusal(lambda: open_checkpoint(gguf))


def test_a_file_that_does_not_say_how_it_is_built_is_refused(copied: LaidOut, refusal: Refusal) -> None:
    """A repacked file whose header lost its configuration; nothing is guessed from shapes."""
    path = rewrite(single_file(copied("tiny", "single")), {"config": None})
    assert refusal(broken(open_checkpoint(path), "transformer", "vae")) == "\n".join(
        f"<tmp>/model/{path.name}: error[ltx2.bad_config]: no header says how the {title} is built\n"
        f'  why: official files have the key "config" in their header, with a section "{section}"\n'
        f"  fix: use a file that kept it, such as the original of {path.name}"
        for title, section in (("transformer", "transformer"), ("video VAE", "vae"))
    )


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("{", "error[ltx2.bad_json]: config in the header of"),
        ('{"a": 1, "a": 2}', 'the key "a" appears twice'),
        ("[" * 100_000, "nested too deeply"),
        ('{"transformer": {"num_layers": 1e999}}', "error[ltx2"),
        ('{"transformer": 3}', "transformer is no object"),
        ('{"transformer": {"caption_channels": 0}}', "the projection of the text is"),
    ],
)
def test_a_hostile_configuration_in_a_header_is_an_error(
    copied: LaidOut, refusal: Refusal, config: str, problem: str
) -> None:
    """Never an exception of another kind."""
    path = rewrite(single_file(copied("tiny", "single")), {"config": config})
    assert problem in refusal(lambda: open_checkpoint(path).components(["transformer", "connectors"]))


def test_a_file_or_folder_in_place_of_the_checkpoints_own_is_taken(laid_out: LaidOut, copied: LaidOut) -> None:
    """In every layout; what is named is not looked for elsewhere."""
    other = copied("tiny-2.3", "split")
    video, audio = only(other, "vae/*video*"), only(other, "vae/*audio*")
    rewrite(video, rename=lambda name: name.removeprefix("vae."))
    elsewhere = Elsewhere(video_vae=video, audio_vae=audio, upsampler=only(other, "latent_upscale_models/*"))
    for layout in ALL:
        checkpoint = open_checkpoint(laid_out("tiny-2.3", layout), elsewhere)
        places = [checkpoint.component(name).place for name in ("vae", "audio_vae", "vocoder", "latent_upsampler")]
        assert places == [video, audio, audio, elsewhere.upsampler]
    folder = laid_out("tiny-2.3", "diffusers") / "vae"
    assert open_checkpoint(laid_out("tiny-2.3", "single"), Elsewhere(video_vae=folder)).component("vae").place == folder


def test_a_file_in_place_must_hold_what_it_stands_for(laid_out: LaidOut, refusal: Refusal) -> None:
    """Told by what it holds instead."""
    audio = only(laid_out("tiny", "split"), "vae/*audio*")
    checkpoint = open_checkpoint(laid_out("tiny", "single"), Elsewhere(video_vae=audio))
    assert refusal(broken(checkpoint, "vae")) == (
        f"{audio}: error[ltx2.unsupported_checkpoint]: {audio.name} has no video VAE\n"
        f"  why: it holds audio VAE, vocoder\n  fix: {USE}"
    )


def test_upsamplers_are_opened_in_every_form(laid_out: LaidOut) -> None:
    """An official file, a folder with a configuration of either kind, and folders of checkpoints."""
    for name, rational in (("tiny", True), ("tiny-2.3", False)):
        places = [
            only(laid_out(name, "single"), "*upscaler*"),
            laid_out(name, "diffusers"),
            laid_out(name, "diffusers") / "latent_upsampler",
            laid_out(name, "fastvideo"),
            laid_out(name, "fastvideo") / "spatial_upscaler",
        ]
        opened = [open_upsampler(place) for place in places]
        assert {files.config["use_rational_resampler"] for files in opened} == {rational}
        assert len({fingerprint(files) for files in opened}) == 1


def test_what_is_no_upsampler_is_refused(laid_out: LaidOut, tmp_path: Path, refusal: Refusal) -> None:
    """With what it is."""
    path = single_file(laid_out("tiny", "single"))
    fix = "hf download Lightricks/LTX-2 ltx-2-spatial-upscaler-x2-1.0.safetensors, and give this file"
    assert refusal(lambda: open_upsampler(path)) == (
        f"{path}: error[ltx2.unsupported_checkpoint]: {path.name} is no latent upsampler\n"
        f"  why: it holds transformer, connectors, vae, audio_vae, vocoder; {WHY}\n"
        f"  fix: {fix}"
    )
    assert refusal(lambda: open_upsampler(tmp_path)) == (
        f"<tmp>: error[ltx2.missing_component]: <tmp> has no latent upsampler\n  why: {WHY}\n  fix: {fix}"
    )


def test_several_upsamplers_beside_a_file_are_ambiguous_unless_one_is_in_space(
    copied: LaidOut, refusal: Refusal
) -> None:
    """Those in time are for a component of their own."""
    folder = copied("tiny-2.3", "single")
    own = only(folder, "*upscaler*")
    config = json.loads(read_header(own).metadata["config"])
    in_time = shutil.copyfile(own, folder / "temporal-upscaler.safetensors")
    rewrite(in_time, {"config": json.dumps(config | {"spatial_upsample": False, "temporal_upsample": True})})
    save_file({"model.0.weight": torch.zeros(2)}, folder / "4x-picture-upscaler.safetensors")
    assert open_checkpoint(folder / single_file(folder).name).component("latent_upsampler").place == own
    shutil.copyfile(own, folder / "another-upscaler.safetensors")
    path = single_file(folder)
    assert refusal(broken(open_checkpoint(path), "latent_upsampler")) == (
        "<tmp>/model: error[ltx2.ambiguous_file]: "
        f"2 spatial upsamplers lie there: another-upscaler.safetensors; {own.name}\n"
        "  why: which of them is meant cannot be told\n"
        "  fix: set upsampler_path to one, e.g. <tmp>/model/another-upscaler.safetensors"
    )


def test_several_checkpoints_in_a_folder_are_ambiguous(copied: LaidOut, refusal: Refusal) -> None:
    """The path of one chooses it."""
    folder = copied("tiny", "single")
    path = single_file(folder)
    shutil.copyfile(path, folder / "copy.safetensors")
    assert refusal(lambda: open_checkpoint(folder)) == (
        f"<tmp>/model: error[ltx2.ambiguous_file]: <tmp>/model has 2 checkpoints: copy.safetensors; {path.name}\n"
        "  why: which of them is meant cannot be told\n"
        "  fix: give the path of one, e.g. <tmp>/model/copy.safetensors"
    )
    assert open_checkpoint(folder / "copy.safetensors").layout == "single"


def test_fastvideo_files_may_have_its_own_names(copied: LaidOut, laid_out: LaidOut) -> None:
    """Names with a prefix, gates by another name, connectors as its text encoder calls them."""
    folder = copied("tiny-2.3", "fastvideo")
    rewrite(
        folder / "transformer" / "model.safetensors",
        rename=lambda name: "model." + name.replace("to_gate_logits", "to_gate_compress"),
    )
    rewrite(
        folder / "text_encoder" / "model.safetensors",
        rename=lambda name: name.replace("video_aggregate_embed", "video_feature_extractor_linear").replace(
            "audio_embeddings_connector", "audio_connector"
        ),
    )
    found, expected = open_checkpoint(folder), open_checkpoint(laid_out("tiny-2.3", "fastvideo"))
    for name in ("transformer", "connectors"):
        assert fingerprint(found.component(name)) == fingerprint(expected.component(name))
