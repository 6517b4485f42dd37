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
from safetensors.torch import load_file

from stagegraph_ltx2.checkpoint.components import COMPONENTS
from stagegraph_ltx2.checkpoint.configs import parse
from stagegraph_ltx2.checkpoint.contents import Checkpoint, Layout
from stagegraph_ltx2.checkpoint.load import load_module
from stagegraph_ltx2.checkpoint.opening import open_checkpoint
from stagegraph_ltx2.checkpoint.resolve import resolve
from stagegraph_ltx2.checkpoint.tiny import NETWORKS, make_tiny
from stagegraph_ltx2.checkpoint.tiny_recipe import EMBEDDED, TINY
from stagegraph_ltx2.checkpoint.tiny_weights import is_constant
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


@pytest.mark.parametrize(("name", "samples_a_frame"), [("tiny", 240), ("tiny-2.3", 480)])
def test_diffusers_opens_it_and_makes_a_lively_video(name: str, samples_a_frame: int) -> None:
    pipeline = LTX2Pipeline.from_pretrained(resolve(name))
    pipeline.set_progress_bar_config(disable=True)
    frames, sound = run(pipeline, "a red fox")
    assert frames.shape == (9, 64, 64, 3)
    assert sound.shape == (2, samples_a_frame * (4 * 9 - 3))  # 9 audio latents: 9 frames at 24 a second
    assert frames.std() > 0.05  # not grey
    assert ((frames < 0.01) | (frames > 0.99)).float().mean() < 0.5  # not saturated
    # Smooth: neighbouring pixels differ less than pixels do.
    assert (frames[:, :, 1:] - frames[:, :, :-1]).abs().mean() < 0.2 * frames.std()
    assert 0.02 < sound.std() < 0.5
    assert sound.abs().max() < 1
    spectrum = torch.fft.rfft(sound[0] - sound[0].mean()).abs().square()
    low = int(len(spectrum) * 200 / (pipeline.vocoder.config.output_sampling_rate / 2))
    assert spectrum[low:].sum() > 0.4 * spectrum.sum()  # no hum: much of it is above 200 Hz
    other_prompt, _ = run(pipeline, "a wave breaks on black rocks")
    other_seed, _ = run(pipeline, "a red fox", seed=1)
    assert (frames - other_prompt).abs().mean() > 0.005
    assert (frames - other_seed).abs().mean() > 0.02


@pytest.mark.parametrize("name", EMBEDDED)
def test_every_embedded_name_is_a_whole_checkpoint(name: str) -> None:
    checkpoint = open_checkpoint(resolve(name))
    variant = EMBEDDED[name]
    assert (checkpoint.family, checkpoint.distilled) == (variant.family, not variant.base)
    assert set(checkpoint.found) == set(COMPONENTS)


def test_a_base_checkpoint_differs_by_its_scheduler_alone() -> None:
    one, other = digests(resolve("tiny")), digests(resolve("tiny-base"))
    assert {name for name in one if other[name] != one[name]} == {"scheduler/scheduler_config.json"}


@pytest.mark.parametrize("name", ["tiny", "tiny-2.3"])
def test_what_networks_compute_themselves_is_stored_as_computed(name: str) -> None:
    """Filters and bases are no noise."""
    checkpoint = open_checkpoint(resolve(name))
    constants = 0
    for component in ("vocoder", "latent_upsampler"):
        files = checkpoint.component(component)
        built = NETWORKS[component](parse(component, files.config)).state_dict()
        stored = load_file(files.weights[0].path)
        for key in filter(is_constant, built):
            assert torch.equal(stored[key], built[key].bfloat16())
            constants += 1
    assert constants == {"tiny": 1, "tiny-2.3": 139}[name]


@pytest.mark.parametrize("layout", ["single", "split", "fastvideo"])
def test_every_layout_is_written_alone_and_repeatably(tmp_path: Path, layout: Layout) -> None:
    first, second = (make_tiny(tmp_path / name / "x", TINY, layout=layout) for name in "ab")
    assert digests(first) == digests(second)
    assert open_checkpoint(first).layout == layout
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x"]


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
