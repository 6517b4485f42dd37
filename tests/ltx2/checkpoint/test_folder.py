"""What a folder must contain to be opened, and what is said of one that does not."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from stagegraph_ltx2.checkpoint.families import LACKS
from stagegraph_ltx2.checkpoint.fingerprint import fingerprint
from stagegraph_ltx2.checkpoint.opening import FORMS, open_checkpoint

Refusal = Callable[[Callable[[], object]], str]
Shard = Callable[[dict[str, dict[str, Tensor]]], Path]
SUPPORTED = "this release opens LTX-2.0 and LTX-2.3"
USE = "use Lightricks/LTX-2 or Lightricks/LTX-2.3/ltx-2.3-22b-distilled-1.1.safetensors"
CONNECTORS = "hf download <repository> --include 'connectors/*' --local-dir <tmp>/model"


def test_a_checkpoint_lists_what_it_holds(root: Path, weights: Path) -> None:
    checkpoint = open_checkpoint(root)
    assert (checkpoint.layout, checkpoint.family, checkpoint.distilled) == ("diffusers", "2.0", None)
    assert checkpoint.names == ("connectors",)
    files = checkpoint.component("connectors")
    assert files.place == root / "connectors"
    assert files.config == {"_class_name": "LTX2TextConnectors"}
    assert files.config_path == root / "connectors" / "config.json"
    assert [file.path for file in files.weights] == [weights]


def test_shards_are_found_through_their_index(root: Path, shard: Shard) -> None:
    shard({"m-2.safetensors": {"b": torch.ones(1)}, "m-1.safetensors": {"a": torch.ones(1)}})
    files = open_checkpoint(root).component("connectors").weights
    assert [file.path.name for file in files] == ["m-1.safetensors", "m-2.safetensors"]


def test_all_absent_components_are_told_at_once(root: Path, refusal: Refusal) -> None:
    checkpoint = open_checkpoint(root)
    assert refusal(lambda: checkpoint.components(["vae", "connectors", "vocodr"])) == (
        "<tmp>/model: error[ltx2.missing_component]: the checkpoint has no video VAE\n"
        "  why: it is a diffusers folder with connectors\n"
        "  fix: hf download <repository> --include 'vae/*' --local-dir <tmp>/model\n"
        'error[ltx2.no_such_component]: no component is called "vocodr"\n'
        '  fix: did you mean "vocoder"?'
    )


def test_an_absent_configuration_is_an_error(root: Path, refusal: Refusal) -> None:
    (root / "connectors" / "config.json").unlink()
    assert refusal(lambda: open_checkpoint(root).component("connectors")) == (
        "<tmp>/model/connectors: error[ltx2.missing_file]: connectors/config.json is absent\n"
        "  why: the folder contains diffusion_pytorch_model.safetensors\n"
        f"  fix: {CONNECTORS}"
    )


def test_absent_weights_are_an_error(root: Path, weights: Path, refusal: Refusal) -> None:
    weights.unlink()
    assert refusal(lambda: open_checkpoint(root).component("connectors")) == (
        "<tmp>/model/connectors: error[ltx2.missing_file]: connectors has neither "
        "diffusion_pytorch_model.safetensors nor diffusion_pytorch_model.safetensors.index.json\n"
        "  why: the folder contains config.json\n"
        f"  fix: {CONNECTORS}"
    )


def test_pickled_weights_are_never_opened(root: Path, weights: Path, refusal: Refusal) -> None:
    weights.rename(weights.with_suffix(".bin"))
    assert refusal(lambda: open_checkpoint(root).component("connectors")) == (
        "<tmp>/model/connectors: error[ltx2.pickled_weights]: "
        "connectors has diffusion_pytorch_model.bin and no safetensors file\n"
        "  why: pickles can run code when they are opened, so they never are\n"
        "  fix: hf download <repository> --include 'connectors/*.safetensors*' --local-dir <tmp>/model"
    )


def test_one_file_and_shards_together_are_ambiguous(root: Path, weights: Path, refusal: Refusal) -> None:
    weights.with_name(weights.name + ".index.json").write_text("{}")
    assert refusal(lambda: open_checkpoint(root).component("connectors")) == (
        "<tmp>/model/connectors: error[ltx2.ambiguous_file]: connectors has both "
        "diffusion_pytorch_model.safetensors and diffusion_pytorch_model.safetensors.index.json\n"
        "  why: one of them is left over, and which one cannot be told\n"
        "  fix: rm <tmp>/model/connectors/diffusion_pytorch_model.safetensors"
    )


def test_an_absent_shard_is_an_error(root: Path, shard: Shard, refusal: Refusal) -> None:
    shard({"m-1.safetensors": {"a": torch.ones(1)}, "m-2.safetensors": {"b": torch.ones(1)}})
    (root / "connectors" / "m-2.safetensors").unlink()
    assert refusal(lambda: open_checkpoint(root).component("connectors")) == (
        "<tmp>/model/connectors: error[ltx2.missing_file]: connectors/m-2.safetensors is absent\n"
        "  why: diffusion_pytorch_model.safetensors.index.json says that it holds tensors\n"
        "  fix: hf download <repository> --include 'connectors/m-2.safetensors' --local-dir <tmp>/model"
    )


@pytest.mark.parametrize(
    "name",
    [
        "../x.safetensors",
        "/etc/x.safetensors",
        "http://x/x.safetensors",
        "a/x.safetensors",
        "..\\x.safetensors",
        "x.bin",
        "\0",
    ],
)
def test_an_index_names_files_beside_it_only(root: Path, shard: Shard, refusal: Refusal, name: str) -> None:
    index = shard({"m-1.safetensors": {"a": torch.ones(1)}})
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    assert refusal(lambda: open_checkpoint(root).component("connectors")) == (
        "<tmp>/model/connectors/diffusion_pytorch_model.safetensors.index.json: error[ltx2.outside_checkpoint]: "
        f"diffusion_pytorch_model.safetensors.index.json names the file {name!r}\n"
        "  why: shards are safetensors files beside their index, named without a path\n"
        "  fix: download the checkpoint from its original repository"
    )


@pytest.mark.parametrize("index", [{}, {"weight_map": {}}, {"weight_map": ["a"]}, {"weight_map": {"a": 1}}])
def test_an_index_without_a_map_is_an_error(
    root: Path, shard: Shard, refusal: Refusal, index: dict[str, object]
) -> None:
    shard({"m-1.safetensors": {"a": torch.ones(1)}}).write_text(json.dumps(index))
    assert refusal(lambda: open_checkpoint(root).component("connectors")) == (
        "<tmp>/model/connectors/diffusion_pytorch_model.safetensors.index.json: error[ltx2.bad_json]: "
        "diffusion_pytorch_model.safetensors.index.json has no weight_map\n"
        "  why: an index maps the name of every tensor to the file that holds it\n"
        f"  fix: {CONNECTORS}"
    )


def test_a_link_out_of_the_checkpoint_is_refused(root: Path, weights: Path, refusal: Refusal, tmp_path: Path) -> None:
    weights.rename(tmp_path / "other.safetensors")
    weights.symlink_to(tmp_path / "other.safetensors")
    assert refusal(lambda: open_checkpoint(root).component("connectors")) == (
        "<tmp>/model/connectors/diffusion_pytorch_model.safetensors: error[ltx2.outside_checkpoint]: "
        "diffusion_pytorch_model.safetensors leads to <tmp>/other.safetensors\n"
        "  why: a checkpoint names files inside <tmp>/model/connectors only\n"
        "  fix: replace the link by a copy: cp --remove-destination <tmp>/other.safetensors "
        "<tmp>/model/connectors/diffusion_pytorch_model.safetensors"
    )


@pytest.mark.parametrize("where", ["connectors", "connectors/config.json", "model_index.json"])
def test_every_link_is_followed_before_it_is_trusted(root: Path, refusal: Refusal, tmp_path: Path, where: str) -> None:
    (root / where).rename(tmp_path / "moved")
    (root / where).symlink_to(tmp_path / "moved")
    assert f"error[ltx2.outside_checkpoint]: {Path(where).name} leads to <tmp>/moved" in refusal(
        lambda: open_checkpoint(root).component("connectors")
    )


def test_a_loop_of_links_is_an_error(root: Path, weights: Path, refusal: Refusal) -> None:
    weights.unlink()
    weights.symlink_to(weights)
    assert "error[ltx2.missing_file]" in refusal(lambda: open_checkpoint(root).component("connectors"))


@pytest.mark.parametrize("blobs", ["models--org--name/blobs", "blobs/ab"])
def test_snapshots_of_the_hugging_face_cache_link_to_its_blobs(root: Path, tmp_path: Path, blobs: str) -> None:
    snapshot = tmp_path / "hub" / "models--org--name" / "snapshots" / "0123abc"
    store = tmp_path / "hub" / blobs
    store.mkdir(parents=True)
    for number, path in enumerate(sorted(root.rglob("*.*"))):
        link = snapshot / path.relative_to(root)
        link.parent.mkdir(parents=True, exist_ok=True)
        path.rename(store / str(number))
        link.symlink_to(os.path.relpath(store / str(number), link.parent))
    files = open_checkpoint(snapshot).component("connectors")
    assert files.weights[0].path == snapshot / "connectors" / "diffusion_pytorch_model.safetensors"


def test_a_snapshot_knows_its_repository(root: Path, tmp_path: Path, refusal: Refusal) -> None:
    snapshot = tmp_path / "hub" / "models--Lightricks--LTX-2" / "snapshots" / "0123abc"
    shutil.copytree(root, snapshot)
    assert refusal(lambda: open_checkpoint(snapshot).component("vae")).endswith(
        "fix: hf download Lightricks/LTX-2 --include 'vae/*'"
    )


INDEX_20 = {"_class_name": "LTX2Pipeline", "vocoder": ["ltx2", "LTX2Vocoder"]}


@pytest.mark.parametrize(
    ("index", "transformer"),
    [
        (INDEX_20 | {"vocoder": ["ltx2", "LTX2VocoderWithBWE"]}, None),
        (INDEX_20, {"gated_attn": True}),
        (INDEX_20, {"cross_attn_mod": True}),
    ],
)
def test_the_family_is_known_without_weights(
    root: Path, index: dict[str, object], transformer: dict[str, object] | None
) -> None:
    (root / "model_index.json").write_text(json.dumps(index))
    if transformer is not None:
        (root / "transformer").mkdir()
        (root / "transformer" / "config.json").write_text(json.dumps(transformer))
    shutil.rmtree(root / "connectors")
    assert open_checkpoint(root).family == "2.3"


@pytest.mark.parametrize(
    ("index", "transformer", "where"),
    [
        (
            INDEX_20 | {"text_encoder": ["transformers", "Gemma4UnifiedForConditionalGeneration"]},
            {},
            "model/model_index.json",
        ),
        (INDEX_20, {"gated_attn": True, "use_keyframes_abs_pos_embedding": True}, "model"),
        (INDEX_20, {"gated_attn": True, "ff_bias": False}, "model"),
    ],
)
def test_ltx_2_5_is_refused_by_name(
    root: Path, refusal: Refusal, index: dict[str, object], transformer: dict[str, object], where: str
) -> None:
    (root / "model_index.json").write_text(json.dumps(index))
    (root / "transformer").mkdir()
    (root / "transformer" / "config.json").write_text(json.dumps(transformer))
    assert refusal(lambda: open_checkpoint(root)) == (
        f"<tmp>/{where}: error[ltx2.unsupported_checkpoint]: {Path(where).name} is of LTX-2.5\n"
        f"  why: {SUPPORTED}; {LACKS}\n"
        f"  fix: {USE}"
    )


def test_other_models_are_refused_by_name(root: Path, refusal: Refusal) -> None:
    (root / "model_index.json").write_text('{"_class_name": "WanPipeline", "vae": ["diffusers", "AutoencoderKLWan"]}')
    assert refusal(lambda: open_checkpoint(root)) == (
        "<tmp>/model/model_index.json: error[ltx2.unsupported_checkpoint]: the folder holds a 'WanPipeline'\n"
        f"  why: its model_index.json names another family of models; {SUPPORTED}\n"
        f"  fix: {USE}"
    )


def test_classes_come_from_a_closed_list(root: Path, refusal: Refusal) -> None:
    index = {"_class_name": "LTX2Pipeline", "vae": ["os", "system"], "vocoder": ["ltx2", "Other"], "extra": ["a", "b"]}
    (root / "model_index.json").write_text(json.dumps(index))
    where = "<tmp>/model/model_index.json: error[ltx2.unsupported_checkpoint]"
    assert refusal(lambda: open_checkpoint(root)) == (
        f"{where}: vae is a system\n"
        f"  why: vae must be AutoencoderKLLTX2Video; {SUPPORTED}\n"
        f"  fix: {USE}\n"
        f"{where}: vocoder is a Other\n"
        f"  why: vocoder must be LTX2Vocoder or LTX2VocoderWithBWE; {SUPPORTED}\n"
        f"  fix: {USE}"
    )


def test_the_configuration_names_the_same_class(root: Path, refusal: Refusal) -> None:
    (root / "connectors" / "config.json").write_text('{"_class_name": "os.system"}')
    assert refusal(lambda: open_checkpoint(root).component("connectors")) == (
        "<tmp>/model/connectors/config.json: error[ltx2.unsupported_checkpoint]: connectors is a os.system\n"
        "  why: this release opens LTX2TextConnectors\n"
        f"  fix: {CONNECTORS}"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"_class_name": 1, "_class_name": 2}', 'the key "_class_name" appears twice'),
        ("[1]", "a JSON list where an object is required"),
        ("{'a': 1}", "not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
    ],
)
def test_damaged_json_is_an_error(root: Path, refusal: Refusal, text: str, problem: str) -> None:
    (root / "model_index.json").write_text(text)
    assert refusal(lambda: open_checkpoint(root)) == (
        f"<tmp>/model/model_index.json: error[ltx2.bad_json]: model_index.json: {problem}\n"
        "  why: configurations are JSON objects in which every key appears once\n"
        "  fix: download model/model_index.json again"
    )


def test_huge_json_is_refused_unread(root: Path, refusal: Refusal) -> None:
    os.truncate(root / "model_index.json", 20_000_000)
    assert refusal(lambda: open_checkpoint(root)) == (
        "<tmp>/model/model_index.json: error[ltx2.too_large]: model_index.json is 20000000 bytes long\n"
        "  why: files of its kind have at most 16000000 bytes\n"
        "  fix: download model/model_index.json again"
    )


def test_a_folder_without_an_index_points_to_one_nearby(root: Path, refusal: Refusal) -> None:
    assert refusal(lambda: open_checkpoint(root / "connectors")) == (
        "<tmp>/model/connectors: error[ltx2.unsupported_checkpoint]: <tmp>/model/connectors has no model_index.json\n"
        f"  why: the folder contains config.json; diffusion_pytorch_model.safetensors; {FORMS}\n"
        "  fix: use <tmp>/model"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_is_an_error(root: Path, refusal: Refusal) -> None:
    root.chmod(0)
    try:
        assert "error[ltx2.unreadable_file]: model cannot be used: Permission denied" in refusal(
            lambda: open_checkpoint(root)
        )
    finally:
        root.chmod(0o755)


def test_a_file_without_a_transformer_is_no_checkpoint(weights: Path, refusal: Refusal) -> None:
    assert refusal(lambda: open_checkpoint(weights)) == (
        "<tmp>/model/connectors/diffusion_pytorch_model.safetensors: error[ltx2.unsupported_checkpoint]: "
        "diffusion_pytorch_model.safetensors is no checkpoint\n"
        f"  why: it holds tensors of another model; {FORMS}\n"
        f"  fix: {USE}"
    )


def test_a_fingerprint_survives_a_copy_and_sees_other_weights(
    root: Path, weights: Path, state: dict[str, Tensor], tmp_path: Path
) -> None:
    before = fingerprint(open_checkpoint(root).component("connectors"))
    shutil.copytree(root, tmp_path / "copy", copy_function=shutil.copyfile)
    assert fingerprint(open_checkpoint(tmp_path / "copy").component("connectors")) == before
    save_file({**state, "mean": state["mean"] + 1}, weights)  # same names, shapes and size
    assert fingerprint(open_checkpoint(root).component("connectors")) != before


def test_a_fingerprint_sees_another_configuration(root: Path) -> None:
    before = fingerprint(open_checkpoint(root).component("connectors"))
    (root / "connectors" / "config.json").write_text('{"_class_name": "LTX2TextConnectors", "rope_theta": 1.0}')
    assert fingerprint(open_checkpoint(root).component("connectors")) != before
