"""Plans over a checkpoint of the released size: what they take, what is moved out of the way, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import stagegraph as sg
from stagegraph import manifest, yaml
from stagegraph import plan as plans
from stagegraph.builder import find
from stagegraph.cli.app import call
from stagegraph.errors import FitError
from stagegraph.graph import build
from stagegraph.memory import Estimate, fit
from stagegraph.plan import Plan
from stagegraph.plugins import default_registry
from stagegraph_ltx2.component import LTX2Checkpoint
from stagegraph_ltx2.stages import (
    LTX2DenoisingStage,
    LTX2LatentPreparationStage,
    LTX2TextEncodingStage,
    LTX2VideoDecodingStage,
)

from ..hollow import write_hollow

GIB = 2**30
TEXT = ("text_encoder", "connectors")
SIZE = {"latents.height": "512", "latents.width": "768", "latents.num_frames": "121"}

Planner = Callable[..., Plan]


@pytest.fixture(scope="module")
def hollow(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LTX-2.0 without weights."""
    return write_hollow(tmp_path_factory.mktemp("hollow") / "model", tiny)


@pytest.fixture(scope="module")
def hollow_base(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, not distilled."""
    return write_hollow(tmp_path_factory.mktemp("hollow") / "model", tiny_base)


@pytest.fixture
def planned(hollow: Path, hollow_base: Path) -> Planner:
    """The plan of a shipped graph for a GPU, with other settings."""

    def make(name: str, *, guided: bool = False, **settings: str) -> Plan:
        registry = default_registry()
        words = {"model.path": str(hollow_base if guided else hollow), "model.device": "cuda", **SIZE, **settings}
        overrides = {key: yaml.typed(value) for key, value in words.items()}
        return plans.make(build(manifest.override(find(name, registry), overrides), registry))

    return make


def gigabytes(plan: Plan) -> dict[str, tuple[float, float]]:
    """What the parts and the call of each step take."""
    steps = Estimate(plan).steps
    return {step.node: (round(step.held / GIB, 1), round((step.call or 0) / GIB, 1)) for step in steps}


def test_the_released_checkpoint_takes_what_it_is_known_to_take(planned: Planner) -> None:
    """Parts: 11.8 billion weights of Gemma 3 and 1.4 of the connectors, 18.9 of the transformer, 1.2 of the VAE."""
    assert gigabytes(planned("ltx2/text-to-video")) == {
        "text": (24.6, 3.6),
        "latents": (0.0, 0.0),
        "denoise": (35.2, 1.8),
        "frames": (2.3, 1.2),
        "sound": (0.2, 0.1),
        "write": (0.0, 0.0),
    }
    whole = planned("ltx2/text-to-video", **{"frames.tiling": "off"})
    assert gigabytes(whole)["frames"] == (2.3, 5.0)
    larger = planned("ltx2/text-to-video", **{"latents.height": "1088", "latents.width": "1920"})
    assert gigabytes(larger)["denoise"] == (35.2, 4.7)
    assert gigabytes(larger)["frames"] == (2.3, 3.3)


def test_a_step_that_cannot_fit_is_refused_before_anything_is_loaded(
    hollow: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every such step, with what it takes and what would help; the cheapest first."""
    words = [f"--set={key}={value}" for key, value in {"model.path": hollow, "model.device": "cuda", **SIZE}.items()]
    assert call(["plan", "ltx2/text-to-video", *words, "--memory=24GiB"]) == 4
    assert capsys.readouterr().err == (
        "nodes.text: error[does_not_fit]: text takes 28.2 GiB, 4.2 GiB more than there is\n"
        "  why: parts 24.6 GiB, call 3.6 GiB, of 24.0 GiB\n"
        "  fix: its weights alone take 24.6 GiB: use a smaller number format or more memory\n"
        "nodes.denoise: error[does_not_fit]: denoise takes 37.0 GiB, 13.0 GiB more than there is\n"
        "  why: parts 35.2 GiB, call 1.8 GiB, of 24.0 GiB\n"
        "  fix: its weights alone take 35.2 GiB: use a smaller number format or more memory\n"
        "2 errors\n"
    )
    assert call(["run", "ltx2/text-to-video", *words, "-i", "prompt=x", "--memory=24GiB"]) == 4
    assert call(["plan", "ltx2/text-to-video", *words, "--memory=40GiB"]) == 0


@pytest.mark.parametrize(
    ("settings", "budget", "fix"),
    [
        (
            {"model.dtype": "fp32"},
            44,
            "--set model.dtype=bf16, with which the step alone takes 38.1 GiB (another format: the result changes)",
        ),
        (
            {"denoise.guidance_batch": "together"},
            40,
            "--set denoise.guidance_batch=apart, with which the step alone takes 38.1 GiB (the same result, later)",
        ),
    ],
)
def test_the_fix_names_a_setting_that_suffices(
    planned: Planner, settings: dict[str, str], budget: int, fix: str
) -> None:
    """Of the stage, or of the checkpoint."""
    with pytest.raises(FitError) as caught:
        fit(planned("ltx2/text-to-video", guided=True, **settings), budget * GIB)
    assert fix in [fault.fix for fault in caught.value.faults if fault.where == "nodes.denoise"]


@pytest.mark.parametrize(
    ("budget", "settings"),
    [
        (15.0, "frames.tiling=auto"),
        (5.2, "frames.tiling=auto --set frames.chunk_frames=2"),
        (4.3, "frames.tiling=spatial --set frames.tile_size=768 --set frames.chunk_frames=4"),
    ],
)
def test_decoding_is_cut_no_more_than_it_must_be(tiny: Path, hollow: Path, budget: float, settings: str) -> None:
    """Exact chunks first, then smaller ones, then tiles that change the result."""
    g = sg.Graph("decode")
    g.component("small", LTX2Checkpoint(path=str(tiny), device="cuda"))
    g.component("large", LTX2Checkpoint(path=str(hollow), device="cuda"))
    latents = g.add(LTX2LatentPreparationStage(height=1088, width=1920, num_frames=121), seed=sg.constant(1))
    text = g.add(LTX2TextEncodingStage(), prompt=sg.constant("x"), components=dict.fromkeys(TEXT, "small"))
    lent = {"transformer": "small"}
    denoise = g.add(LTX2DenoisingStage(), latents=latents, text=text.positive, components=lent)
    stage = LTX2VideoDecodingStage(tiling="off")
    g.output("frames", g.add(stage, name="frames", latents=denoise.video, components={"video_vae": "large"}))
    with pytest.raises(FitError) as caught:
        g.plan(memory=int(budget * GIB))
    assert caught.value.faults[0].fix.startswith(f"--set {settings}, with which the step alone takes ")


def test_the_video_vae_waits_outside_while_the_transformer_works_if_it_must(planned: Planner) -> None:
    """Image-to-video uses it before and after; with more memory it stays."""
    plan = planned("ltx2/image-to-video")
    assert fit(plan, 40 * GIB) is plan
    tight = fit(plan, 38 * GIB)
    moved = {step.node.name: [str(ref) for ref in step.offloads] for step in tight.steps if step.offloads}
    assert moved == {"first": ["model.video_vae"], "frames": ["model.video_vae"]}
    assert gigabytes(tight)["denoise"] == (35.2, 2.0)
