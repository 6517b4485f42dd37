"""LoRAs by their headers: whose they are, what they change, and what keeps them from it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from diffusers.loaders.lora_conversion_utils import _convert_non_diffusers_ltx2_lora_to_diffusers
from safetensors.torch import load_file, save_file
from torch import Tensor

from stagegraph_ltx2.checkpoint.contents import Checkpoint, Layout
from stagegraph_ltx2.checkpoint.lora.file import PRODUCT, USE, LoraFile, read_lora
from stagegraph_ltx2.checkpoint.lora.fit import NAMES, Layer, Layers, fit
from stagegraph_ltx2.checkpoint.lora.place import WHY, find_lora
from stagegraph_ltx2.checkpoint.lora.summary import summary
from stagegraph_ltx2.checkpoint.lora.tiny import write_tiny_lora
from stagegraph_ltx2.checkpoint.opening import open_checkpoint
from stagegraph_ltx2.errors import raise_all

Refusal = Callable[[Callable[[], object]], str]
LaidOut = Callable[[str, Layout], Path]
FORMS = {"official": "official", "diffusers": "diffusers", "peft": "PEFT", "kohya": "kohya"}
TO_Q = "transformer_blocks.0.attn1.to_q"
FAMILIES = pytest.mark.parametrize("name", ["tiny", "tiny-2.3"])


def file_of(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Path:
    save_file(dict(tensors), path, metadata=dict(metadata or {}))
    return path


def pair(name: str, *, out: int = 32, width: int = 32, rank: int = 2, ends: str = "lora_A lora_B") -> dict[str, Tensor]:
    """The factors of a layer."""
    down, up = ends.split()
    return {f"{name}.{down}.weight": torch.ones(rank, width), f"{name}.{up}.weight": torch.ones(out, rank)}


def layers_of(laid_out: LaidOut, name: str) -> Layers:
    return Layers.of(open_checkpoint(laid_out(name, "diffusers")))


@FAMILIES
def test_one_lora_is_the_same_in_every_form(laid_out: LaidOut, tmp_path: Path, name: str) -> None:
    """The same layers get the same numbers, by whichever names."""
    checkpoint = open_checkpoint(laid_out(name, "diffusers"))
    layers = Layers.of(checkpoint)
    found: dict[str, dict[Layer, tuple[list[float], float]]] = {}
    for form, told in FORMS.items():
        path = tmp_path / f"{form}{'' if form == 'peft' else '.safetensors'}"
        file = write_tiny_lora(path, checkpoint, form, alpha=None if form == "official" else 4, rank=4)  # type: ignore[arg-type]
        assert find_lora(str(path)) == file
        lora = read_lora(file)
        assert lora.forms == (told,)
        fitted = fit(lora, layers)
        assert not fitted.faults
        tensors = load_file(file)
        found[form] = {layer: (tensors[p.up.name].flatten().tolist(), p.scale) for layer, p in fitted.pairs.items()}
    assert len(found["official"]) == 2 * 6 * 4
    assert all(found[form] == found["official"] for form in FORMS)


@FAMILIES
def test_every_layer_is_found_by_each_of_its_names(laid_out: LaidOut, name: str) -> None:
    """Official, of diffusers, and with underscores for dots; no two layers share one."""
    layers = layers_of(laid_out, name)
    assert {layer.component for layer in layers.shapes} == {"transformer", "connectors"}
    for layer in layers.shapes:
        official = NAMES[layer.component].official(layer.path)
        for path in (official, layer.path, official.replace(".", "_"), layer.path.replace(".", "_")):
            assert layers.find(path) == layer


@FAMILIES
def test_official_names_are_those_that_diffusers_converts(laid_out: LaidOut, name: str) -> None:
    """For every layer of the transformer, and the projection of the text."""
    layers = layers_of(laid_out, name)
    for layer in layers.shapes:
        official = NAMES[layer.component].official(layer.path)
        if layer.component == "transformer":
            key = f"diffusion_model.{official}.lora_A.weight"
            (converted,) = _convert_non_diffusers_ltx2_lora_to_diffusers({key: 0})
            assert converted == f"transformer.{layer.path}.lora_A.weight"
        elif "text_proj_in" in layer.path:
            key = f"{official}.lora_A.weight"
            converted_all = _convert_non_diffusers_ltx2_lora_to_diffusers({key: 0}, "text_embedding_projection")
            assert list(converted_all) == [f"connectors.{layer.path}.lora_A.weight"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", [(), (1,)])
def test_alpha_in_a_tensor_is_read_in_every_format(tmp_path: Path, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    """It scales by alpha / rank."""
    key = "lora_unet_transformer_blocks_0_attn1_to_q"
    tensors = pair(key, rank=4, ends="lora_down lora_up") | {f"{key}.alpha": torch.full(shape, 6.5, dtype=dtype)}
    (found,) = read_lora(file_of(tmp_path / "lora.safetensors", tensors)).pairs.values()
    assert (found.alpha, found.scale, found.rank) == (6.5, 6.5 / 4, 4)


def adapter(folder: Path, **config: Any) -> LoraFile:
    """Two layers of rank 4 as PEFT writes them."""
    start = "base_model.model.transformer_blocks.0.attn1"
    file_of(folder / "adapter_model.safetensors", pair(f"{start}.to_q", rank=4) | pair(f"{start}.to_k", rank=4))
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return read_lora(folder / "adapter_model.safetensors")


@pytest.mark.parametrize(
    ("config", "scales"),
    [
        ({"lora_alpha": 8, "r": 4}, (2, 2)),
        ({"lora_alpha": 8, "use_rslora": True}, (4, 4)),
        ({"lora_alpha": 8, "alpha_pattern": {"to_k": 2}}, (2, 0.5)),
        ({"lora_alpha": 8, "alpha_pattern": {r"^transformer_blocks\.0\.attn1\.to_k$": 2}}, (2, 0.5)),
        ({"lora_alpha": 8, "alpha_pattern": {"o_k": 2}}, (2, 2)),
        ({"r": 4}, (1, 1)),
    ],
)
def test_alpha_in_the_configuration_of_peft_is_read(tmp_path: Path, config: dict[str, Any], scales: Any) -> None:
    """For all layers, or by the end of a path; over sqrt(rank) if it is rank-stabilised."""
    pairs = adapter(tmp_path, **config).pairs
    assert tuple(pairs[f"transformer_blocks.0.attn1.{name}"].scale for name in ("to_q", "to_k")) == scales


def test_alpha_in_the_header_of_diffusers_is_that_of_its_component(tmp_path: Path) -> None:
    """What is said of the transformer does not count for the connectors."""
    said = {"transformer.lora_alpha": 8, "transformer.r": 2, "connectors.lora_alpha": 1}
    tensors = pair(f"transformer.{TO_Q}") | pair("connectors.text_proj_in")
    lora = read_lora(file_of(tmp_path / "x.safetensors", tensors, {"lora_adapter_metadata": json.dumps(said)}))
    assert {path: found.scale for path, found in lora.pairs.items()} == {TO_Q: 4, "text_proj_in": 0.5}


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"lora_alpha": "8"}, "lora_alpha is no number"),
        ({"lora_alpha": True}, "lora_alpha is no number"),
        ({"alpha_pattern": [1]}, "alpha_pattern does not map layers to numbers"),
        ({"alpha_pattern": {"(a+)+b": 1}}, "alpha_pattern has '(a+)+b', which is no path"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(
    tmp_path: Path, refusal: Refusal, config: dict[str, Any], problem: str
) -> None:
    """Patterns of strangers are not run as regular expressions."""
    assert refusal(lambda: adapter(tmp_path, **config)) == (
        f"<tmp>/adapter_model.safetensors: error[ltx2.bad_lora]: adapter_config.json: {problem}\n"
        "  why: it says how strongly the LoRA counts"
    )


@pytest.mark.parametrize(
    ("tensors", "text"),
    [
        (
            {k: v for k, v in pair(f"diffusion_model.{TO_Q}").items() if "lora_A" in k},
            (
                f"error[ltx2.bad_lora]: 1 layer cannot be changed so: {TO_Q} has no B (up)\n"
                f"  why: {PRODUCT}\n  fix: download or save it again"
            ),
        ),
        (
            {f"diffusion_model.{TO_Q}.lora_A.weight": torch.ones(2, 8), **pair("diffusion_model.x.to_k", rank=99)}
            | {f"diffusion_model.{TO_Q}.lora_B.weight": torch.ones(8, 3)},
            (
                f"error[ltx2.bad_lora]: 2 layers cannot be changed so: {TO_Q} has A [2, 8] and B [8, 3], whose ranks "
                "differ; x.to_k has rank 99, and at most 32 makes sense\n"
                f"  why: {PRODUCT}\n  fix: download or save it again"
            ),
        ),
        (
            pair("lora_unet_a", ends="lora_down lora_up") | {"lora_unet_a.alpha": torch.tensor(float("nan"))},
            (
                "error[ltx2.bad_lora]: 1 layer cannot be changed so: a has an alpha that is no number\n"
                f"  why: {PRODUCT}\n  fix: download or save it again"
            ),
        ),
        (
            {"a.lora_A.weight": torch.ones(2, 4, 3), "a.lora_B.weight": torch.ones(4, 2)},
            (
                "error[ltx2.bad_lora]: 1 layer cannot be changed so: a has A [2, 4, 3] and B [4, 2], which are no "
                f"matrices\n  why: {PRODUCT}\n  fix: download or save it again"
            ),
        ),
        (
            {"a.lora_A.weight": torch.ones(0, 4), "a.lora_B.weight": torch.ones(4, 0)},
            (
                "error[ltx2.bad_lora]: 1 layer cannot be changed so: a has rank 0, and at most 4 makes sense\n"
                f"  why: {PRODUCT}\n  fix: download or save it again"
            ),
        ),
        (
            pair(f"diffusion_model.{TO_Q}") | {f"diffusion_model.{TO_Q}.diff_b": torch.ones(3)},
            (
                f"error[ltx2.unexpected_tensor]: 1 tensor unknown: diffusion_model.{TO_Q}.diff_b\n"
                f"  why: {PRODUCT}; nothing else is laid\n  fix: {USE}"
            ),
        ),
        (
            pair(f"diffusion_model.{TO_Q}") | pair(TO_Q),
            (
                f"error[ltx2.duplicate_tensor]: 2 tensors stored twice: {TO_Q}.lora_A.weight and "
                f"diffusion_model.{TO_Q}.lora_A.weight; {TO_Q}.lora_B.weight and diffusion_model.{TO_Q}.lora_B.weight\n"
                f"  why: which of the two is meant cannot be told\n  fix: {USE}"
            ),
        ),
        (
            pair("a") | {"a.dora_scale": torch.ones(3)},
            (
                f"error[ltx2.bad_lora]: x.safetensors is DoRA\n  why: this release lays LoRAs alone: {PRODUCT}\n"
                f"  fix: {USE}"
            ),
        ),
        (
            {"lora_unet_a.hada_w1_a": torch.ones(3)},
            (
                f"error[ltx2.bad_lora]: x.safetensors is LoHa\n  why: this release lays LoRAs alone: {PRODUCT}\n"
                f"  fix: {USE}"
            ),
        ),
        (
            {name: tensor.to(torch.float8_e4m3fn) for name, tensor in pair("a").items()},
            (
                "error[ltx2.tensor_dtype]: 2 tensors quantised: a.lora_A.weight is F8_E4M3; "
                "a.lora_B.weight is F8_E4M3\n"
                "  why: this release loads F64, F32, F16, BF16\n  fix: use the files in bf16"
            ),
        ),
        (
            {"weight": torch.ones(3)},
            (
                "error[ltx2.not_a_lora]: x.safetensors is no LoRA\n"
                f"  why: it holds tensors of another model; {PRODUCT}\n  fix: {USE}"
            ),
        ),
    ],
)
def test_what_is_wrong_with_a_lora_by_itself(
    tmp_path: Path, refusal: Refusal, tensors: dict[str, Tensor], text: str
) -> None:
    """Told from its header, all of one kind together."""
    path = file_of(tmp_path / "x.safetensors", tensors)
    assert refusal(lambda: read_lora(path)) == f"<tmp>/x.safetensors: {text}"


def test_a_checkpoint_is_no_lora(laid_out: LaidOut, tmp_path: Path, refusal: Refusal) -> None:
    """And is told how it is used."""
    (source,) = (path for path in laid_out("tiny", "single").glob("*.safetensors") if "upscaler" not in path.name)
    path = Path(shutil.copy(source, tmp_path / "whole.safetensors"))
    assert refusal(lambda: read_lora(path)) == (
        "<tmp>/whole.safetensors: error[ltx2.not_a_lora]: whole.safetensors is no LoRA\n"
        f"  why: it holds transformer, text connectors, video VAE, audio VAE, vocoder; {PRODUCT}\n"
        "  fix: it is a checkpoint: set path of an ltx2.checkpoint to <tmp>/whole.safetensors"
    )


def test_files_that_are_none_are_told_by_their_first_bytes(tmp_path: Path, refusal: Refusal) -> None:
    """A pointer of Git LFS, and a download that was cut."""
    pointer = tmp_path / "a" / "pointer.safetensors"
    pointer.parent.mkdir()
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert "error[ltx2.not_safetensors]: pointer.safetensors is a Git LFS pointer" in refusal(
        lambda: read_lora(pointer)
    )
    cut = file_of(tmp_path / "cut.safetensors", pair(TO_Q))
    cut.write_bytes(cut.read_bytes()[:-1])
    assert "error[ltx2.truncated]: cut.safetensors has" in refusal(lambda: read_lora(cut))


def fitted(lora: Path, layers: Layers) -> Callable[[], None]:
    return lambda: raise_all(fit(read_lora(lora), layers).faults)


def test_layers_that_the_model_does_not_have_are_listed_with_near_ones(
    laid_out: LaidOut, tmp_path: Path, refusal: Refusal
) -> None:
    """At most twenty of them."""
    layers = layers_of(laid_out, "tiny")
    one = file_of(tmp_path / "x.safetensors", pair("diffusion_model.transformer_blocks.0.attn1.to_qq") | pair(TO_Q))
    assert refusal(fitted(one, layers)) == (
        "<tmp>/x.safetensors: error[ltx2.unknown_layer]: LTX-2.0 does not have 1 of the 2 layers that "
        "x.safetensors changes: transformer_blocks.0.attn1.to_qq\n"
        "  why: a LoRA of which a part is left out gives something else than it was trained to\n"
        "  fix: these are near: transformer_blocks.0.attn1.to_qq: transformer_blocks.0.attn1.to_q"
    )
    kohya = file_of(
        tmp_path / "k.safetensors", pair("lora_unet_transformer_blocks_0_attn1_to_o", ends="lora_down lora_up")
    )
    assert "to_o: transformer_blocks_0_attn1_to_v" in refusal(fitted(kohya, layers))
    deep = {
        name: t for block in range(2, 48) for name, t in pair(f"diffusion_model.transformer_blocks.{block}.x").items()
    }
    told = refusal(fitted(file_of(tmp_path / "deep.safetensors", deep), layers))
    assert "does not have 46 of the 46 layers" in told
    assert "; … and 26 more\n" in told


def test_a_lora_of_another_size_is_refused(laid_out: LaidOut, tmp_path: Path, refusal: Refusal) -> None:
    """With both sizes of each layer."""
    path = file_of(tmp_path / "x.safetensors", pair(f"transformer.{TO_Q}", out=4096, width=4096))
    assert refusal(fitted(path, layers_of(laid_out, "tiny"))) == (
        "<tmp>/x.safetensors: error[ltx2.tensor_shape]: x.safetensors does not fit 1 layer: "
        f"{TO_Q} is [32, 32], the change [4096, 4096]\n"
        "  why: it was trained on a model of another size\n"
        "  fix: use a LoRA for LTX-2.0"
    )


def test_one_layer_by_two_names_is_refused(laid_out: LaidOut, tmp_path: Path, refusal: Refusal) -> None:
    """An official one and that of diffusers."""
    path = file_of(
        tmp_path / "x.safetensors", pair("diffusion_model.patchify_proj", width=128) | pair("proj_in", width=128)
    )
    assert refusal(fitted(path, layers_of(laid_out, "tiny"))) == (
        "<tmp>/x.safetensors: error[ltx2.duplicate_tensor]: 1 tensor for one layer: "
        "proj_in.lora_A.weight and diffusion_model.patchify_proj.lora_A.weight\n"
        "  why: which of the two is meant cannot be told"
    )


@pytest.mark.parametrize(
    ("file", "layer", "metadata", "base", "family"),
    [
        ("x", "transformer_blocks.0.attn1.to_gate_logits", {}, "tiny", "2.3"),
        ("x", "caption_projection.linear_1", {}, "tiny-2.3", "2.0"),
        ("x", TO_Q, {"model_version": "2.3.0"}, "tiny", "2.3"),
        ("ltx-2-19b-distilled-lora-384", TO_Q, {}, "tiny-2.3", "2.0"),
        ("ltx-2.3-22b-distilled-lora-384-1.1", TO_Q, {}, "tiny", "2.3"),
        ("ltx-2.5-22b-distilled-lora-450-bf16", TO_Q, {}, "tiny", "2.5"),
    ],
)
def test_a_lora_of_another_release_is_refused(
    laid_out: LaidOut,
    tmp_path: Path,
    refusal: Refusal,
    file: str,
    layer: str,
    metadata: dict[str, str],
    base: str,
    family: str,
) -> None:
    """As its layers, its header or its official name tell."""
    path = file_of(tmp_path / f"{file}.safetensors", pair(f"diffusion_model.{layer}"), metadata)
    other = {"tiny": "2.0", "tiny-2.3": "2.3"}[base]
    also = "" if family == "2.5" else f", or lay it over a checkpoint of LTX-{family}"
    assert refusal(fitted(path, layers_of(laid_out, base))) == (
        f"<tmp>/{path.name}: error[ltx2.mixed_families]: {path.name} is for LTX-{family}, and the checkpoint is "
        f"LTX-{other}\n  why: each release was trained anew\n  fix: use a LoRA for LTX-{other}{also}"
    )


def test_a_folder_is_searched_for_the_one_file_in_it(tmp_path: Path, refusal: Refusal) -> None:
    """Several, pickles, none, and nothing at all are told."""
    folder = tmp_path / "lora"
    assert refusal(lambda: find_lora(str(folder))) == (
        f"<tmp>/lora: error[ltx2.no_such_checkpoint]: no such file or folder: <tmp>/lora\n  why: {WHY}\n  fix: ls <tmp>"
    )
    folder.mkdir()
    (folder / "lora.bin").touch()
    assert refusal(lambda: find_lora(str(folder))) == (
        "<tmp>/lora: error[ltx2.pickled_weights]: lora has lora.bin and no safetensors file\n"
        "  why: pickles can run code when they are opened, so they never are\n  fix: save it as safetensors"
    )
    (folder / "lora.bin").unlink()
    assert refusal(lambda: find_lora(str(folder))) == (
        f"<tmp>/lora: error[ltx2.missing_file]: <tmp>/lora has no LoRA\n  why: the folder is empty; {WHY}"
    )
    for name in "ab":
        file_of(folder / f"{name}.safetensors", pair(TO_Q))
    assert refusal(lambda: find_lora(str(folder))) == (
        "<tmp>/lora: error[ltx2.ambiguous_file]: <tmp>/lora has 2 files: a.safetensors; b.safetensors\n"
        "  why: which of them is meant cannot be told\n  fix: give the path of one, e.g. <tmp>/lora/a.safetensors"
    )
    (folder / "a.safetensors").unlink()
    assert find_lora(str(folder)).name == "b.safetensors"


def test_a_repository_is_searched_for_what_diffusers_and_peft_write(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refusal: Refusal
) -> None:
    """Or for the file that is named; one with neither is told so."""
    asked: list[object] = []
    (snapshot := tmp_path / "snapshot").mkdir()

    def download(repository: str, **options: object) -> str:
        asked.append((repository, options["allow_patterns"], options["revision"]))
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert refusal(lambda: find_lora("org/name", "v1")) == (
        "https://huggingface.co/org/name: error[ltx2.no_such_checkpoint]: org/name has no "
        f"pytorch_lora_weights.safetensors and no adapter_model.safetensors\n  why: {WHY}\n"
        "  fix: name a file of https://huggingface.co/org/name/tree/main: org/name/<file>.safetensors"
    )
    file_of(snapshot / "adapter_model.safetensors", pair(TO_Q))
    assert find_lora("org/name", "v1") == snapshot / "adapter_model.safetensors"
    file_of(snapshot / "style.safetensors", pair(TO_Q))
    assert find_lora("org/name/style.safetensors") == snapshot / "style.safetensors"
    both = ["pytorch_lora_weights.safetensors", "adapter_model.safetensors", "adapter_config.json"]
    assert asked == [("org/name", both, "v1")] * 2 + [("org/name", ["style.safetensors"], None)]


def test_what_is_known_of_a_lora_is_summed_up(tiny: Checkpoint, tmp_path: Path) -> None:
    """Its form, layers, ranks, alphas and scales; whether its name says that it distils."""
    path = tmp_path / "ltx-2-19b-distilled-lora-384.safetensors"
    found = summary(read_lora(write_tiny_lora(path, tiny, "kohya", rank=2, alpha=8)))
    assert (found.forms, found.layers, found.ranks, found.alphas, found.scales) == (("kohya",), 48, (2,), (8,), (4,))
    assert found.distils
    assert found.parameters == sum(t.numel() for name, t in load_file(path).items() if "alpha" not in name)


def test_a_tiny_lora_is_written_once(tiny: Checkpoint, tmp_path: Path, refusal: Refusal) -> None:
    """The same seed writes the same bytes; nothing is overwritten; a rank beyond the layers and an alpha without a
    place are refused.
    """
    one, two, other = (tmp_path / f"{name}.safetensors" for name in ("one", "two", "other"))
    assert write_tiny_lora(one, tiny).read_bytes() == write_tiny_lora(two, tiny).read_bytes()
    assert write_tiny_lora(other, tiny, seed=1).read_bytes() != one.read_bytes()
    assert refusal(lambda: write_tiny_lora(one, tiny)) == (
        "<tmp>/one.safetensors: error[ltx2.not_empty]: <tmp>/one.safetensors exists\n"
        "  why: nothing is overwritten\n  fix: rm <tmp>/one.safetensors"
    )
    assert "the rank is 400" in refusal(lambda: write_tiny_lora(tmp_path / "x", tiny, rank=400))
    assert "alpha is 3 in official form" in refusal(lambda: write_tiny_lora(tmp_path / "x", tiny, alpha=3))
