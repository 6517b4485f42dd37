"""What is told of a checkpoint, its parts and what is wrong with them, from headers alone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stagegraph.cli.app import call
from stagegraph_ltx2.checkpoint.contents import Checkpoint, Layout
from stagegraph_ltx2.checkpoint.header import read_header
from stagegraph_ltx2.checkpoint.lora.tiny import write_tiny_lora
from stagegraph_ltx2.checkpoint.report import USES, report_on
from stagegraph_ltx2.cli_report import as_data, count, lines, memory
from stagegraph_ltx2.component import LTX2Checkpoint

from .conftest import rewrite
from .test_layouts import gemma_config, only, single_file

LaidOut = Callable[[str, Layout], Path]


def text(path: Path, tmp_path: Path) -> str:
    """What is printed for people, with <tmp> for this test's folder."""
    return "\n".join(lines(report_on(path))).replace(str(tmp_path), "<tmp>")


def test_a_whole_checkpoint(copied: LaidOut, tmp_path: Path) -> None:
    """One line a component, with its parameters, number format, size and place; then what it is good for."""
    folder = copied("tiny-2.3", "single")
    name = single_file(folder).name
    assert text(folder, tmp_path) == (
        f"LTX-2.3 single file, distilled\n"
        f"  <tmp>/model/{name}\n"
        f"  {name}: its header keeps a scheduler\n"
        "\n"
        f"  ok  transformer        0.14 M  BF16    0.28 MB  {name}\n"
        f"  ok  text connectors    0.04 M  BF16    0.09 MB  {name}\n"
        f"  ok  video VAE          0.65 M  BF16    1.29 MB  {name}\n"
        f"  ok  audio VAE          2.69 M  BF16    5.38 MB  {name}\n"
        f"  ok  vocoder            0.70 M  BF16    1.39 MB  {name}\n"
        "  ok  latent upsampler   0.37 M  BF16    0.74 MB  tiny-2.3-single-spatial-upscaler.safetensors\n"
        "  ok  text encoder       0.04 M  F32     0.18 MB  gemma/model.safetensors\n"
        "  ok  tokenizer                                   gemma\n"
        "      total                              9.35 MB\n"
        "\n"
        "  complete for: video without sound, text to video, image to video, keyframes, audio to video, retake, "
        "continuation, two passes"
    )


def test_what_is_missing_comes_with_what_to_type(copied: LaidOut, tmp_path: Path) -> None:
    """By what is lacked; each fix once."""
    folder = copied("tiny", "single")
    path = rewrite(single_file(folder), {"diffusers_scheduler": None})
    shutil.rmtree(folder / "gemma")
    only(folder, "*upscaler*").unlink()
    told = text(path, tmp_path)
    assert told.startswith(
        "LTX-2.0 single file\n"
        f"  <tmp>/model/{path.name}\n"
        "  nothing says whether it is distilled: set schedule of ltx2.denoising to distilled or base\n"
    )
    assert told.endswith(
        "\n\n"
        "  not for: video without sound, text to video, image to video, keyframes, audio to video, retake, "
        "continuation\n"
        "    lacks the text encoder and tokenizer\n"
        "  not for: two passes\n"
        "    lacks the text encoder, tokenizer and latent upsampler\n"
        "  fix for the text encoder and tokenizer: hf download google/gemma-3-12b-it-qat-q4_0-unquantized "
        "--local-dir <tmp>/model/gemma, or set text_encoder_path to where it is\n"
        "  fix for the latent upsampler: hf download Lightricks/LTX-2 ltx-2-spatial-upscaler-x2-1.0.safetensors "
        "--local-dir <tmp>/model, or set upsampler_path to where it is"
    )


def test_what_is_broken_is_told_as_it_would_be_at_load(copied: LaidOut, tmp_path: Path) -> None:
    """A Git LFS pointer, a pickle, a download that was cut: every one of them, and what still works."""
    folder = copied("tiny", "diffusers")
    (folder / "audio_vae" / "diffusion_pytorch_model.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 106500000\n"
    )
    weights = folder / "vocoder" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    upsampler = folder / "latent_upsampler" / "diffusion_pytorch_model.safetensors"
    os.truncate(upsampler, upsampler.stat().st_size - 10)
    told = text(folder, tmp_path)
    assert "  !!  audio VAE" in told
    assert "  !!  vocoder" in told
    assert "  complete for: video without sound\n" in told
    assert (
        "  not for: text to video, image to video, keyframes, audio to video, retake, continuation\n"
        "    lacks the audio VAE and vocoder\n"
    ) in told
    assert "is a Git LFS pointer: the clone left the weights on the server" in told
    assert "    fix: git -C <tmp>/model/audio_vae lfs pull\n" in told
    assert "error[ltx2.pickled_weights]: vocoder has diffusion_pytorch_model.bin and no safetensors file" in told
    assert "error[ltx2.truncated]: diffusion_pytorch_model.safetensors has" in told


def test_a_text_encoder_of_another_version_is_told(copied: LaidOut, tmp_path: Path) -> None:
    """By the release that it belongs to."""
    pack = copied("tiny-2.3", "split")
    path = only(pack, "text_encoders/*")
    rewrite(path, {"gemma_config": gemma_config(path, model_type="gemma4_unified")})
    told = text(pack, tmp_path)
    assert "  !!  text encoder" in told
    assert f"{path.name} is of LTX-2.5" in told


def test_quantised_weights_are_told_before_they_would_be_loaded(copied: LaidOut, tmp_path: Path) -> None:
    """By what is quantised, in the report and when a run is checked."""
    folder = copied("tiny", "single")
    path = single_file(folder)
    metadata = dict(read_header(path).metadata)
    eight = torch.float8_e4m3fn
    state = {n: t.to(eight) if n.endswith("blocks.0.attn1.to_q.weight") else t for n, t in load_file(path).items()}
    save_file(state, path, metadata=metadata)
    told = text(folder, tmp_path)
    assert "  !!  transformer        0.12 M  BF16 F8_E4M3    0.24 MB" in told
    fault = "1 tensor quantised: transformer_blocks.0.attn1.to_q.weight is F8_E4M3"
    assert f"<tmp>/model/{path.name}: error[ltx2.tensor_dtype]: {fault}\n" in told
    model = LTX2Checkpoint(path=str(folder), device="cpu")
    assert [found.what for found in model.check(frozenset({"transformer"}))] == [fault]
    assert not list(model.check(frozenset({"video_vae"})))


def lora(path: Path, *modules: str, rank: int = 4) -> Path:
    """A LoRA over modules, by their official paths."""
    names = {f"diffusion_model.{module}.lora_{side}.weight" for module in modules for side in "AB"}
    save_file({name: torch.zeros((rank, 8) if "_A" in name else (8, rank)) for name in names}, path)
    return path


@pytest.mark.parametrize(
    ("modules", "release"),
    [
        (("transformer_blocks.0.attn1.to_q", "caption_projection.linear_1"), "LTX-2.0 "),
        (("transformer_blocks.0.attn1.to_q", "transformer_blocks.0.attn1.to_gate_logits"), "LTX-2.3 "),
        (("transformer_blocks.0.attn1.to_q", "transformer_blocks.0.attn1.to_k"), ""),
    ],
)
def test_a_lora_is_told_by_what_it_changes(tmp_path: Path, modules: tuple[str, ...], release: str) -> None:
    """Its release, where modules of that release alone tell; its rank."""
    path = lora(tmp_path / "lora.safetensors", *modules)
    assert text(path, tmp_path) == (
        f"{release}LoRA\n  <tmp>/lora.safetensors\n  changes 2 layers by 128 parameters, rank 4\n"
        "  no alpha, so that its changes are scaled by 1\n  keys in the form of the official files"
    )


def test_the_lora_in_a_folder_is_told(tiny: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As PEFT writes it; for programs, too."""
    write_tiny_lora(tmp_path / "adapter", tiny, "peft", rank=2, alpha=8)
    assert text(tmp_path / "adapter", tmp_path) == (
        "LoRA\n  <tmp>/adapter/adapter_model.safetensors\n  changes 48 layers by 4,352 parameters, rank 2\n"
        "  alpha 8, so that its changes are scaled by 4\n  keys in the form of PEFT"
    )
    assert call(["ltx2", "inspect", str(tmp_path / "adapter"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data"]["lora"] == {
        "forms": ["PEFT"],
        "layers": 48,
        "ranks": [2],
        "alphas": [8.0],
        "scales": [4.0],
        "parameters": 4352,
        "distils": False,
    }


def test_a_lora_of_another_family_in_a_pack_is_told(copied: LaidOut, tmp_path: Path) -> None:
    """It would change nothing sensible."""
    pack = copied("tiny", "split")
    (pack / "loras").mkdir()
    lora(pack / "loras" / "style.safetensors", "transformer_blocks.0.attn1.to_gate_logits")
    lora(pack / "loras" / "fits.safetensors", "transformer_blocks.0.attn1.to_q")
    told = text(pack, tmp_path)
    assert "  note: loras/style.safetensors is for LTX-2.3, and changes nothing sensible in LTX-2.0\n" in told
    assert "fits" not in told


@pytest.mark.parametrize(
    ("pattern", "title"),
    [
        ("vae/*video*", "LTX-2.3 video VAE"),
        ("vae/*audio*", "LTX-2.3 audio VAE and vocoder"),
        ("latent_upscale_models/*", "latent upsampler"),
        ("text_encoders/*", "LTX-2.3 text connectors and text encoder"),
    ],
)
def test_a_part_of_a_pack_is_told_for_itself(laid_out: LaidOut, tmp_path: Path, pattern: str, title: str) -> None:
    """What it is, and of which release."""
    path = only(laid_out("tiny-2.3", "split"), pattern)
    assert text(path, tmp_path).splitlines()[0] == title
    assert not report_on(path).faults


def test_programs_get_the_same(laid_out: LaidOut) -> None:
    """As plain JSON."""
    path = laid_out("tiny-2.3", "split")
    data = json.loads(json.dumps(as_data(report_on(path))))
    assert (data["family"], data["kind"], data["distilled"]) == ("2.3", "split pack", True)
    assert data["complete_for"] == list(USES)
    assert data["incomplete_for"] == data["fixes"] == {}
    transformer = data["components"][0]
    assert (transformer["name"], transformer["formats"], transformer["faults"]) == ("transformer", ["BF16"], [])
    assert transformer["bytes"] == 2 * transformer["parameters"]


def test_the_command_prints_and_exits_by_what_it_found(
    copied: LaidOut, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 where nothing is broken, 3 where something is, or where there is nothing."""
    folder = copied("tiny", "diffusers")
    assert call(["ltx2", "inspect", str(folder)]) == 0
    assert capsys.readouterr().out.startswith("LTX-2.0 diffusers folder, distilled\n")
    (folder / "vae" / "config.json").unlink()
    assert call(["ltx2", "inspect", str(folder), "--json"]) == 3
    envelope = json.loads(capsys.readouterr().out)
    broken = [one for one in envelope["data"]["components"] if one["faults"]]
    assert [one["name"] for one in broken] == ["vae"]
    assert broken[0]["faults"][0]["code"] == "ltx2.missing_file"
    assert call(["ltx2", "inspect", str(tmp_path / "absent")]) == 3
    assert "error[ltx2.no_such_checkpoint]: no such file or folder" in capsys.readouterr().err


def test_convert_and_make_tiny_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All layouts of a checkpoint that is not distilled; one of them converted."""
    assert call(["ltx2", "make-tiny", str(tmp_path / "all"), "--layout", "all", "--family", "2.3", "--base"]) == 0
    out = capsys.readouterr().out.replace(str(tmp_path), "<tmp>")
    folders = ("diffusers", "single", "split", "fastvideo")
    assert [line.partition(":")[0] for line in out.splitlines()] == [f"wrote <tmp>/all/{name}" for name in folders]
    for name in folders:
        report = report_on(tmp_path / "all" / name)
        assert (report.family, report.distilled, report.incomplete_for) == ("2.3", False, {})
    words = ["ltx2", "convert", str(tmp_path / "all" / "single"), str(tmp_path / "made"), "--layout", "split", "--json"]
    assert call(words) == 0
    data = json.loads(capsys.readouterr().out)["data"]
    assert data["left_out"] == []
    assert data["bytes"] == sum(path.stat().st_size for path in (tmp_path / "made").rglob("*") if path.is_file())
    assert report_on(tmp_path / "made").kind == "split pack"
    assert call(words) == 3
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "ltx2.not_empty"


@pytest.mark.parametrize(("number", "said"), [(18_988_838_144, "18.99 B"), (726_106_225, "726.11 M"), (485, "0.00 M")])
def test_counts_are_said_in_millions_or_billions(number: int, said: str) -> None:
    """As models are named by them."""
    assert count(number) == said


def test_sizes_are_said_in_decimal_units() -> None:
    """As disks and downloads are."""
    assert (memory(46_148_472_534), memory(9_350_000)) == ("46.15 GB", "9.35 MB")
