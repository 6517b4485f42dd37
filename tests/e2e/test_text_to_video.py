"""A prompt becomes a video with sound: from the command line, by the shipped manifest, on the embedded checkpoint."""

from __future__ import annotations

import json
import re
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import stagegraph as sg
from stagegraph import manifest
from stagegraph.builder import find
from stagegraph.cli.app import call
from stagegraph.plugins import default_registry
from stagegraph_ltx2.checkpoint.contents import Layout
from stagegraph_ltx2.checkpoint.convert import convert
from stagegraph_ltx2.checkpoint.opening import open_checkpoint
from stagegraph_ltx2.checkpoint.resolve import resolve
from stagegraph_ltx2.component import LTX2Checkpoint
from stagegraph_ltx2.stages import (
    LTX2AudioDecodingStage,
    LTX2DenoisingStage,
    LTX2LatentPreparationStage,
    LTX2TextEncodingStage,
    LTX2VideoDecodingStage,
)
from stagegraph_media.reading import probe, read_video
from stagegraph_media.stages import WriteVideo

PROMPT = "a red circle moves right"
SIZE = {"latents.height": 96, "latents.width": 160, "latents.num_frames": 17}
SIZED = [word for name, value in SIZE.items() for word in ("--set", f"{name}={value}")]
SMALL = [*SIZED, "--set", "model.path=tiny"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("tiny")
def test_run_leaves_a_video_of_the_asked_size_rate_and_length_with_sound(capsys: pytest.CaptureFixture[str]) -> None:
    """H.264 with the size, frame count and rate that were asked for, AAC of the same length, and a picture in it."""
    args = ["run", "ltx2/text-to-video", "-i", f"prompt={PROMPT}", *SMALL, "--set", "latents.frame_rate=30000/1001"]
    assert call([*args, "--set", "write.path=out.mp4"]) == 0
    assert capsys.readouterr().out == "out.mp4\n"

    info = probe("out.mp4")
    assert (info.video_codec, info.width, info.height, info.num_frames) == ("h264", 160, 96, 17)
    assert info.frame_rate == Fraction(30000, 1001)
    assert (info.audio_codec, info.sample_rate, info.num_channels) == ("aac", 24000, 2)
    assert info.audio_duration is not None
    assert abs(info.audio_duration - Fraction(17) / info.frame_rate) < Fraction(1, 20)
    clip = read_video("out.mp4")
    assert clip.frames.pixels.std() > 2
    assert clip.waveform is not None
    assert clip.waveform.samples.std() > 1e-3


@pytest.mark.usefixtures("tiny")
def test_run_keeps_its_record_beside_and_inside_the_video(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a path the video gets a folder with the date, the graph and the run; the record tells what made it."""
    assert call(["run", "ltx2/text-to-video", "-i", f"prompt={PROMPT}", "-i", "seed=3", *SMALL, "-q"]) == 0
    video = Path(capsys.readouterr().out.strip())
    assert video.parent.parent == Path("runs")
    sidecar = json.loads((video.parent / "run.json").read_text())
    tag = json.loads(probe(video).metadata["stagegraph"])
    for record in (sidecar, tag):
        assert record["inputs"] == {"prompt": PROMPT, "negative_prompt": None, "seed": 3}
        assert record["manifest"]["nodes"]["latents"]["params"]["width"] == 160
        assert record["versions"]["torch"] == torch.__version__
        assert len(record["components"]["model"]) == 64
    assert sidecar["status"] == "finished"
    assert set(sidecar["seconds"]) == {"text", "latents", "denoise", "frames", "sound", "write"}


@pytest.mark.usefixtures("tiny")
def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not() -> None:
    """Latents, frames and samples of two runs are equal bit by bit; the seed is what makes a difference."""
    first, second, third = (_values(seed) for seed in (1, 1, 2))
    for one, same, other in zip(first, second, third, strict=True):
        assert np.array_equal(one, same)
        assert not np.array_equal(one, other)


def _values(seed: int) -> list[np.ndarray]:
    registry = default_registry()
    g = sg.Graph.from_manifest(manifest.override(find("ltx2/text-to-video", registry), {**SIZE, "model.path": "tiny"}))
    for name, node in (("video", "denoise"), ("audio", "denoise"), ("frames", "frames"), ("sound", "sound")):
        g.output(f"the {name}", getattr(g.node(node), name if node == "denoise" else "output"))
    wanted = ["the video", "the audio", "the frames", "the sound"]
    run = g.run(outputs=wanted, prompt=PROMPT, seed=seed)
    video, audio, frames, sound = (run[name] for name in wanted)
    return [video.latent.numpy(), audio.latent.numpy(), frames.pixels, sound.samples]


def test_a_graph_in_python_and_its_manifest_give_the_same_plan() -> None:
    """The shipped manifest written as Python plans alike, and its text reads back as the same plan."""
    g = sg.Graph("ltx2/text-to-video")
    g.component("model", LTX2Checkpoint())
    text = g.add(
        LTX2TextEncodingStage(),
        name="text",
        prompt=g.input("prompt", str),
        negative_prompt=g.input("negative_prompt", str | None, None),
    )
    preparation = LTX2LatentPreparationStage(height=128, width=192, num_frames=49)
    latents = g.add(preparation, name="latents", seed=g.input("seed", int, 42))
    denoise = g.add(
        LTX2DenoisingStage(), name="denoise", latents=latents, text=text.positive, negative_text=text.negative
    )
    frames = g.add(LTX2VideoDecodingStage(), name="frames", latents=denoise.video)
    sound = g.add(LTX2AudioDecodingStage(), name="sound", latents=denoise.audio)
    write = g.add(WriteVideo(), name="write", frames=frames, waveform=sound)
    g.output("video", write.path)
    shipped = sg.load("ltx2/text-to-video").plan().as_dict()
    assert g.plan().as_dict() == shipped
    assert sg.Graph.from_manifest(g.to_manifest()).plan().as_dict() == shipped


@pytest.mark.parametrize(
    ("words", "text"),
    [
        pytest.param(
            ["--set", "latents.width=400", "--set", "latents.height=16", "--set", "latents.num_frames=120"],
            """\
--set latents.height: error[invalid_value]: latents (ltx2.latent_preparation): height is 16
  why: must be >= 64, <= 8192, a multiple of 32
  fix: use 64 or 96
--set latents.width: error[invalid_value]: latents (ltx2.latent_preparation): width is 400
  why: must be a multiple of 32
  fix: use 384 or 416
--set latents.num_frames: error[invalid_value]: latents (ltx2.latent_preparation): num_frames is 120
  why: must be 8k+1
  fix: use 121 or 113
3 errors
""",
            id="sizes",
        ),
        pytest.param(
            ["--set", "denoise.num_inference_steps=3", "--set", "denoise.sigmas=[1, 0.5, 0]"],
            """\
--set denoise.num_inference_steps: error[invalid_value]: denoise (ltx2.denoising): num_inference_steps is 3, but \
sigmas makes 2 steps: set one of them
""",
            id="steps",
        ),
        pytest.param(
            ["--set", "denoise.sigmas=[0.5, 0.7, 0.1]"],
            """\
--set denoise.sigmas: error[invalid_value]: denoise (ltx2.denoising): sigmas must descend, but 0.5 is followed by \
0.7; sigmas must end with 0, not 0.1: the last step has to remove all noise
""",
            id="sigmas",
        ),
        pytest.param(
            ["--set", "latents.frame_rate=fast"],
            """\
--set latents.frame_rate: error[invalid_value]: latents (ltx2.latent_preparation): frame_rate is 'fast': must be a \
finite number above 0, such as 24 or "24000/1001"
""",
            id="rate",
        ),
    ],
)
def test_wrong_settings_are_refused_before_anything_loads(
    words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every fault at once, with the nearest values that work."""
    assert call(["validate", "ltx2/text-to-video", *words]) == 2
    assert capsys.readouterr().err == text


@pytest.mark.usefixtures("tiny")
def test_what_contradicts_the_checkpoint_is_refused_before_anything_loads(capsys: pytest.CaptureFixture[str]) -> None:
    """The embedded one is distilled."""
    assert call(["validate", "ltx2/text-to-video", "--set", "denoise.guidance_scale=3", *SMALL]) == 2
    assert re.sub(r"^\S+: ", "", capsys.readouterr().err) == (
        "error[fact_mismatch]: denoise (ltx2.denoising): the checkpoint is distilled, but guidance is asked for (from "
        "model.transformer)\n"
        "  why: a distilled checkpoint was trained to do without: it would come out worse\n"
        "  fix: leave guidance_scale, stg_scale and modality_scale out, or use a checkpoint that is not distilled\n"
    )


def test_guidance_without_a_negative_prompt_is_an_error_that_says_what_to_type(
    tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stage refuses, as wrong usage, and the inputs of the node are told."""
    settings = ["--set", "denoise.guidance_scale=3", "--set", f"model.path={tiny_base}"]
    args = ["run", "ltx2/text-to-video", "-i", "prompt=x", *SIZED, "-q", *settings]
    assert call(args) == 2
    assert capsys.readouterr().err.splitlines()[:3] == [
        "denoise: error[ltx2.no_negative_text]: guidance_scale is 3, but there is no negative text",
        "  why: guidance moves away from a negative prompt, which may be empty",
        '  fix: give one, as in -i negative_prompt=""',
    ]


def test_an_absent_component_folder_is_found_before_anything_runs(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The check of the checkpoint comes first: no event but the error."""
    broken = tmp_path / "broken"
    shutil.copytree(tiny, broken)
    shutil.rmtree(broken / "vocoder")
    args = ["run", "ltx2/text-to-video", "-i", "prompt=x", *SIZED, "--json", "--set", f"model.path={broken}"]
    assert call(args) == 3
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    envelope = json.loads(lines[0])
    assert envelope["error"]["code"] == "ltx2.missing_component"
    assert envelope["error"]["message"] == f"{broken}: the checkpoint has no vocoder"


TINIEST = {"latents.height": 64, "latents.width": 96, "latents.num_frames": 9}


def _outputs(graph: str, settings: dict[str, Any], **outputs: tuple[str, str]) -> sg.Run:
    """A shipped graph, run as far as some outputs of its nodes."""
    g = sg.Graph.from_manifest(manifest.override(find(graph, default_registry()), {**TINIEST, **settings}))
    for name, (node, port) in outputs.items():
        g.output(name, getattr(g.node(node), port))
    return g.run(outputs=list(outputs), prompt=PROMPT, seed=3)


@pytest.mark.parametrize(("name", "rate"), [("tiny", 24000), ("tiny-2.3", 48000)])
def test_every_layout_of_every_family_makes_the_same_video(name: str, rate: int, tmp_path: Path) -> None:
    """Frames and samples of the shipped graph are equal bit by bit; LTX-2.3 sounds at 48 kHz."""
    folder = resolve(name)
    wanted = {"frames": ("frames", "output"), "sound": ("sound", "output")}
    expected = _outputs("ltx2/text-to-video", {"model.path": str(folder)}, **wanted)
    assert expected["sound"].sample_rate == rate
    assert expected["frames"].pixels.std() > 2
    layouts: tuple[Layout, ...] = ("single", "split", "fastvideo")
    for layout in layouts:
        path = convert(open_checkpoint(folder), tmp_path / layout, layout)
        made = _outputs("ltx2/text-to-video", {"model.path": str(path)}, **wanted)
        assert made["frames"] == expected["frames"]
        assert made["sound"] == expected["sound"]


def test_a_second_pass_over_a_single_file_takes_an_upsampler_from_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a param of the checkpoint; without it, the check says what is missing and how to get it."""
    path = convert(open_checkpoint(resolve("tiny-2.3")), tmp_path / "model", "single")
    upsampler = (path / "model-spatial-upscaler.safetensors").rename(tmp_path / "upsampler.safetensors")
    settings = {"model.path": str(path), "model.upsampler_path": str(upsampler)}
    wanted = {"frames": ("frames", "output")}
    video = _outputs("ltx2/text-to-video-two-pass", settings, **wanted)["frames"]
    assert video.pixels.shape == (9, 128, 192, 3)
    assert _outputs("ltx2/text-to-video-two-pass", {"model.path": "tiny-2.3"}, **wanted)["frames"] == video
    assert call(["validate", "ltx2/text-to-video-two-pass", "--set", f"model.path={path}"]) == 3
    assert capsys.readouterr().err.replace(str(tmp_path), "<tmp>") == (
        "--set model.path: error[ltx2.missing_component]: <tmp>/model/model.safetensors: "
        "the checkpoint has no latent upsampler\n"
        "  why: it is a single file with transformer, connectors, vae, audio_vae, vocoder, text_encoder, tokenizer, "
        "scheduler\n"
        "  fix: hf download Lightricks/LTX-2.3 ltx-2.3-spatial-upscaler-x2-1.1.safetensors --local-dir <tmp>/model, or "
        "set upsampler_path to where it is\n"
    )


def test_an_upsampler_beside_a_checkpoint_must_be_chosen_by_the_node(capsys: pytest.CaptureFixture[str]) -> None:
    """Both could lend one: which is meant is said in the graph, and then it runs."""
    text = Path(default_registry().manifests["ltx2/text-to-video-two-pass"]).read_text()
    both = text.replace(
        "nodes:\n", "  larger: {kind: ltx2.latent_upsampler, params: {path: tiny-2.3, device: cpu}}\nnodes:\n", 1
    )
    Path("both.yaml").write_text(both)
    assert call(["validate", "both.yaml"]) == 2
    assert re.sub(r"\d+:\d+", "-", capsys.readouterr().err) == (
        "both.yaml:-: error[ambiguous_component]: upsample (ltx2.latent_upsampling) is lent upsampler LatentUpsampler, "
        "which 2 components provide: model.latent_upsampler, larger.latent_upsampler\n"
        "  fix: add components: {upsampler: ...} to the node, with model or larger\n"
    )
    chosen = "stage: ltx2.latent_upsampling\n    components: {upsampler: larger}\n"
    Path("both.yaml").write_text(both.replace("stage: ltx2.latent_upsampling\n", chosen))
    assert call(["validate", "both.yaml"]) == 0
