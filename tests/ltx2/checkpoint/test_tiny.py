"""The tiny checkpoint: small, repeatable, opened by diffusers and by us, with something to see and to hear."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import LTX2Pipeline

from stagegraph_ltx2.checkpoint.components import COMPONENTS
from stagegraph_ltx2.checkpoint.configs import parse
from stagegraph_ltx2.checkpoint.contents import Checkpoint
from stagegraph_ltx2.checkpoint.load import load_module
from stagegraph_ltx2.checkpoint.tiny import NETWORKS, make_tiny
from stagegraph_ltx2.text_encoder import load_text_encoder

Refusal = Callable[[Callable[[], object]], str]


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_one_seed_gives_the_same_bytes_in_every_process(tiny: Checkpoint, tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from stagegraph_ltx2.checkpoint.tiny import make_tiny\n"
    code += "import torch; torch.manual_seed(7); torch.randn(3); make_tiny(Path(sys.argv[1]), seed=0)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "again")], check=True)
    assert digests(tmp_path / "again") == digests(tiny.root)


def test_another_seed_gives_other_weights(tiny: Checkpoint, tmp_path: Path) -> None:
    other = digests(make_tiny(tmp_path / "other", seed=1))
    changed = {name for name, digest in digests(tiny.root).items() if other[name] != digest}
    assert changed == {name for name in other if name.endswith(".safetensors")}


def test_it_is_small(tiny: Checkpoint) -> None:
    assert sum(path.stat().st_size for path in tiny.root.rglob("*") if path.is_file()) < 12_000_000


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_network_loads_strictly(tiny: Checkpoint, name: str) -> None:
    files = tiny.component(name)
    module = load_module(
        lambda: NETWORKS[name](parse(name, files.config)), files, device=torch.device("cpu"), dtype=torch.float32
    )
    assert all(torch.isfinite(tensor).all() for tensor in module.state_dict().values())


def test_the_text_encoder_loads(tiny: Checkpoint) -> None:
    load_text_encoder(tiny, device=torch.device("cpu"), dtype=torch.float32)


def test_all_components_are_there(tiny: Checkpoint) -> None:
    assert (tiny.family, tiny.distilled) == ("2.0", True)
    assert set(tiny.found) == set(COMPONENTS)
    assert not tiny.broken
    assert tiny.component("scheduler").config["use_dynamic_shifting"] is False


def run(pipeline: LTX2Pipeline, prompt: str, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames [f, h, w, c] in 0..1 and sound [2, s] in -1..1, after one step without guidance."""
    unguided = {
        f"{modality}{scale}": value
        for modality in ("", "audio_")
        for scale, value in (
            ("guidance_scale", 1.0),
            ("stg_scale", 0.0),
            ("modality_scale", 1.0),
            ("guidance_rescale", 0.0),
        )
    }
    output = pipeline(
        prompt,
        height=64,
        width=64,
        num_frames=9,
        num_inference_steps=1,
        output_type="np",
        generator=torch.Generator().manual_seed(seed),
        **unguided,
    )
    return torch.from_numpy(output.frames[0]), output.audio[0].float()


def test_diffusers_opens_it_and_makes_a_lively_video(tiny: Checkpoint) -> None:
    pipeline = LTX2Pipeline.from_pretrained(tiny.root)
    pipeline.set_progress_bar_config(disable=True)
    frames, sound = run(pipeline, "a red fox")
    assert frames.shape == (9, 64, 64, 3)
    assert sound.shape == (2, 240 * (4 * 9 - 3))  # 9 audio latents: 9 frames at 24 a second
    assert frames.std() > 0.05  # not grey
    assert ((frames < 0.01) | (frames > 0.99)).float().mean() < 0.5  # not saturated
    assert 0.02 < sound.std() < 0.5
    assert sound.abs().max() < 1
    other_prompt, _ = run(pipeline, "a wave breaks on black rocks")
    other_seed, _ = run(pipeline, "a red fox", seed=1)
    assert (frames - other_prompt).abs().mean() > 0.005
    assert (frames - other_seed).abs().mean() > 0.02


def test_a_folder_with_something_in_it_is_not_overwritten(tmp_path: Path, refusal: Refusal) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("keep")
    assert refusal(lambda: make_tiny(tmp_path / "mine")) == (
        "<tmp>/mine: error[ltx2.not_empty]: <tmp>/mine exists and is not empty\n"
        "  why: a checkpoint is written into a folder of its own; nothing is overwritten\n"
        "  fix: rm -r <tmp>/mine, or name another folder"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise RuntimeError("in the middle")

    monkeypatch.setattr("stagegraph_ltx2.checkpoint.tiny.tokenizer_json", fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        make_tiny(tmp_path / "tiny")
    assert not list(tmp_path.iterdir())
