"""A refine pass with a LoRA of its own, by manifest, from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import stagegraph as sg
from stagegraph import manifest
from stagegraph.cli.app import call
from stagegraph.plugins import default_registry
from stagegraph_ltx2.checkpoint.lora.tiny import write_tiny_lora
from stagegraph_ltx2.checkpoint.opening import open_checkpoint
from stagegraph_ltx2.component import LTX2Checkpoint
from stagegraph_ltx2.lora_component import Adapter, LTX2Lora
from stagegraph_ltx2.stages import (
    LTX2DenoisingStage,
    LTX2LatentPreparationStage,
    LTX2LatentRenoisingStage,
    LTX2LatentUpsamplingStage,
    LTX2TextEncodingStage,
)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def style(tiny: Path, tmp_path: Path) -> Path:
    return write_tiny_lora(tmp_path / "style.safetensors", open_checkpoint(tiny), "kohya", alpha=8)


def two_passes(tiny: Path, *strengths: float, style: Path | None = None, then: bool = False) -> sg.Graph:
    """Small latents, upsampled and refined; with a LoRA of this strength; then perhaps denoised without it again."""
    g = sg.Graph("two-passes")
    model = LTX2Checkpoint(path=str(tiny), device="cpu")
    g.component("model", model)
    lent = {}
    if strengths:
        g.component(
            "refine_model",
            LTX2Lora(base=model, adapters=tuple(Adapter(path=str(style), strength=s) for s in strengths)),
        )
        lent = {"transformer": "refine_model"}
    text = g.add(LTX2TextEncodingStage(), name="text", prompt=g.input("prompt", str, "a red fox"))
    seed = g.input("seed", int, 42)
    latents = g.add(LTX2LatentPreparationStage(height=64, width=96, num_frames=9), name="latents", seed=seed)
    base = g.add(LTX2DenoisingStage(), name="base", latents=latents, text=text.positive)
    larger = g.add(LTX2LatentUpsamplingStage(), name="upsample", latents=base.video)
    renoised = g.add(LTX2LatentRenoisingStage(), name="renoise", video=larger, audio=base.audio, seed=seed)
    refine = LTX2DenoisingStage(schedule="refine")
    refined = g.add(refine, name="refine", components=lent, latents=renoised, text=text.positive)
    g.output("base", base.video)
    g.output("refined", refined.video)
    if then:
        wire = renoised
        g.output("after", g.add(refine, name="after", latents=wire, text=text.positive).video)
    return g


def latents(run: Any, name: str) -> torch.Tensor:
    tensor: torch.Tensor = run[name].latent
    return tensor


def test_the_base_pass_is_the_same_with_a_lora_in_the_refine_pass(tiny: Path, style: Path) -> None:
    """Bit by bit, also in the next run of a pool that has had the LoRA; the refine pass is another."""
    pool = sg.Pool()
    plain = two_passes(tiny).run()
    once = two_passes(tiny, 1.0, style=style).run(pool=pool)
    again = two_passes(tiny, 1.0, style=style).run(pool=pool)
    for run in (once, again):
        assert torch.equal(latents(run, "base"), latents(plain, "base"))
        assert torch.equal(latents(run, "refined"), latents(once, "refined"))
    change = (latents(once, "refined") - latents(plain, "refined")).abs().mean()
    assert change > 0.01 * latents(plain, "refined").abs().mean()


def test_a_pass_after_it_is_as_if_there_had_been_no_lora(tiny: Path, style: Path) -> None:
    """The same graph, run with the LoRA and without it: the last pass has the same bits."""
    plain = two_passes(tiny).run()
    mixed = two_passes(tiny, 1.0, style=style, then=True).run()
    assert torch.equal(latents(mixed, "after"), latents(plain, "refined"))
    assert not torch.equal(latents(mixed, "refined"), latents(plain, "refined"))


def test_at_strength_0_nothing_changes(tiny: Path, style: Path) -> None:
    """Nor do two LoRAs, if neither counts."""
    plain = two_passes(tiny).run()
    assert torch.equal(latents(two_passes(tiny, 0.0, 0.0, style=style).run(), "refined"), latents(plain, "refined"))


def test_loras_are_stacked(tiny: Path, style: Path) -> None:
    """One of strength 0.25 and one of 0.5 are as one of 0.75, up to rounding."""
    one, two = (two_passes(tiny, *strengths, style=style).run() for strengths in ((0.75,), (0.25, 0.5)))
    torch.testing.assert_close(latents(one, "refined"), latents(two, "refined"), rtol=1e-3, atol=1e-3)


MANIFEST = """\
stagegraph: 1
name: refined
inputs: {prompt: {type: str}, seed: {type: int, default: 42}}
components:
  model: {kind: ltx2.checkpoint, params: {path: tiny, device: cpu}}
  refine_model: {kind: ltx2.lora, params: {base: model, adapters: [{path: style.safetensors, strength: 0.8}]}}
nodes:
  text: {stage: ltx2.text_encoding, inputs: {prompt: inputs.prompt}}
  latents:
    stage: ltx2.latent_preparation
    params: {height: 64, width: 96, num_frames: 9}
    inputs: {seed: inputs.seed}
  base: {stage: ltx2.denoising, inputs: {latents: latents, text: text.positive}}
  upsample: {stage: ltx2.latent_upsampling, inputs: {latents: base.video}}
  renoise: {stage: ltx2.latent_renoising, inputs: {video: upsample, audio: base.audio, seed: inputs.seed}}
  refine:
    stage: ltx2.denoising
    params: {schedule: refine}
    inputs: {latents: renoise, text: text.positive}
    components: {transformer: refine_model}
  frames: {stage: ltx2.video_decoding, inputs: {latents: refine.video}}
  write: {stage: media.write_video, params: {path: out.mp4}, inputs: {frames: frames}}
outputs: {video: write.path}
"""


def run(*words: str) -> None:
    assert call(["run", "refined.yaml", "-i", "prompt=fox", *words]) == 0


@pytest.mark.usefixtures("style")
def test_only_what_follows_a_lora_runs_again_when_its_strength_changes(capsys: pytest.CaptureFixture[str]) -> None:
    """The base pass is kept; explain tells the strength before and now."""
    Path("refined.yaml").write_text(MANIFEST)
    run()
    capsys.readouterr()
    run("--set", "refine_model.adapters=[{path: style.safetensors, strength: 0.5}]")
    told = capsys.readouterr().err.split()
    reused = [told[i + 1] for i, word in enumerate(told) if word == "reused"]
    assert reused == ["text", "latents", "base", "upsample", "renoise"]
    assert call(["explain", "last", "refine"]) == 0
    explained = capsys.readouterr().out
    assert " x 0.8 -> " in explained
    assert "components.transformer.adapters: " in explained
    assert call(["explain", "last", "base"]) == 0
    assert capsys.readouterr().out.startswith("base was reused")


@pytest.mark.usefixtures("style")
def test_the_plan_holds_one_transformer(capsys: pytest.CaptureFixture[str]) -> None:
    """From the base pass until the refine pass is done."""
    Path("refined.yaml").write_text(MANIFEST)
    assert call(["plan", "refined.yaml", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)["data"]
    steps = {step["node"]: step for step in data["steps"]}
    assert steps["base"]["loads"] == ["model.transformer"]
    assert steps["base"]["releases"] == []
    assert steps["refine"]["releases"] == ["refine_model.transformer"]
    held = {step["node"]: step["held"] for step in data["memory"]["steps"]}
    assert held["refine"] == held["base"] == held["renoise"] > 0


def test_what_is_wrong_with_a_lora_is_told_by_validate(
    tmp_path: Path, tiny_2_3: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the place in the manifest, before any weight is read: one that is absent, and one of another release."""
    Path("refined.yaml").write_text(MANIFEST)
    assert call(["validate", "refined.yaml"]) == 3
    assert capsys.readouterr().err == (
        "refined.yaml:6:43: error[ltx2.no_such_checkpoint]: no such file or folder: style.safetensors\n"
        '  why: a LoRA is a safetensors file, a folder with one, or on Hugging Face "org/name" or '
        '"org/name/file.safetensors"\n'
        "  fix: ls .\n"
    )
    write_tiny_lora(tmp_path / "ltx-2.3-22b-distilled-lora-384.safetensors", open_checkpoint(tiny_2_3))
    Path("refined.yaml").write_text(MANIFEST.replace("style.", "ltx-2.3-22b-distilled-lora-384."))
    assert call(["validate", "refined.yaml"]) == 3
    name = "ltx-2.3-22b-distilled-lora-384.safetensors"
    assert capsys.readouterr().err == (
        f"refined.yaml:6:43: error[ltx2.mixed_families]: {name} is for LTX-2.3, and the checkpoint is LTX-2.0\n"
        "  why: each release was trained anew\n"
        "  fix: use a LoRA for LTX-2.0, or lay it over a checkpoint of LTX-2.3\n"
    )


def test_the_manifest_survives_python() -> None:
    """Written again, it names the same components."""
    graph = sg.graph.build(manifest.loads(MANIFEST), default_registry())
    written = manifest.as_dict(sg.graph.to_manifest(sg.graph.to_drafts(graph)))
    assert written["components"]["refine_model"]["params"] == {
        "base": "model",
        "adapters": [{"path": "style.safetensors", "strength": 0.8}],
    }
