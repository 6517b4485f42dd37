"""Settings of the refine pass by their known names."""

from __future__ import annotations

from typing import Any

import pytest

from stagegraph import manifest as manifests
from stagegraph.builder import find
from stagegraph.errors import ManifestError
from stagegraph.graph import build
from stagegraph.manifest import Manifest
from stagegraph.plugins import default_registry
from stagegraph.serde import StructureError
from stagegraph_ltx2.stage_overrides import (
    LTX2RefinePresetOverride,
    LTX2RefineStageOverride,
    preset_override,
    refine_override_to_dict,
    refined,
    stage_override,
)


@pytest.fixture(scope="module")
def two_pass() -> Manifest:
    """The shipped graph."""
    return find("ltx2/text-to-video-two-pass", default_registry())


def stages(manifest: Manifest) -> dict[str, Any]:
    """The stages of the graph, by node."""
    return {name: node.stage for name, node in build(manifest, default_registry()).nodes.items()}


def test_only_what_is_set_is_written() -> None:
    """None is not a setting, False and 0 are."""
    assert refine_override_to_dict(LTX2RefinePresetOverride()) == {}
    assert refine_override_to_dict(LTX2RefinePresetOverride(enabled=False)) == {"enabled": False}
    stage = LTX2RefineStageOverride(num_inference_steps=2, image_crf=0, video_position_offset_sec=0.0)
    told = {"num_inference_steps": 2, "image_crf": 0, "video_position_offset_sec": 0.0}
    assert refine_override_to_dict(stage) == told
    assert stage_override(told) == stage
    assert preset_override({"add_noise": True}) == LTX2RefinePresetOverride(add_noise=True)


def test_unknown_keys_and_wrong_types_are_errors() -> None:
    """With the nearest name."""
    with pytest.raises(StructureError) as caught:
        stage_override({"num_steps": 2, "guidance_scale": "1"})
    assert [(p.code, p.what, p.fix) for p in caught.value.problems] == [
        ("unknown_key", 'there is no key "num_steps" here', 'did you mean "num_inference_steps"?'),
        ("invalid_type", '"1" is not a number', ""),
    ]


def test_settings_reach_the_nodes_of_the_pass(two_pass: Manifest) -> None:
    """Those that make it, and no others."""
    made = stages(
        refined(
            two_pass,
            LTX2RefinePresetOverride(enabled=True, add_noise=False),
            LTX2RefineStageOverride(num_inference_steps=2, guidance_scale=1.0, video_position_offset_sec=1.5),
        )
    )
    assert (made["refine"].num_inference_steps, made["refine"].guidance_scale) == (2, 1.0)
    assert (made["renoise"].add_noise, made["renoise"].video_position_offset_sec) == (False, 1.5)
    assert made["base"].num_inference_steps is None
    assert refined(two_pass) == two_pass


def test_without_the_pass_the_video_is_that_of_the_base_pass(two_pass: Manifest) -> None:
    """And nothing of it is left in the graph."""
    made = refined(two_pass, LTX2RefinePresetOverride(enabled=False))
    assert set(stages(made)) == {"text", "latents", "base", "frames", "sound", "write"}
    assert made.nodes["frames"].inputs == {"latents": "base.video"}
    assert made.nodes["sound"].inputs == {"latents": "base.audio"}


def test_settings_that_nothing_would_read_are_errors(two_pass: Manifest) -> None:
    """A graph without the pass, a pass without a still, settings of a pass that is not enabled."""
    one_pass = find("ltx2/text-to-video", default_registry())
    off, fewer = LTX2RefinePresetOverride(enabled=False), LTX2RefineStageOverride(num_inference_steps=2)
    what = "ltx2/text-to-video has no refine pass\n  fix: begin with ltx2/text-to-video-two-pass"
    assert refusal(one_pass) == what
    what = "image_crf is 18, but no node of the refine pass has it\n  fix: condition it on a still"
    assert refusal(two_pass, None, LTX2RefineStageOverride(image_crf=18)) == what
    what = "num_inference_steps is set for a refine pass that is not enabled\n  fix: set only one of them"
    assert refusal(two_pass, off, fewer) == what


def refusal(*arguments: Any) -> str:
    """What `refined` raises."""
    with pytest.raises(ManifestError) as caught:
        refined(*arguments)
    return str(caught.value).removeprefix("error[invalid_value]: ")


def test_a_still_of_the_pass_gets_its_crf(two_pass: Manifest) -> None:
    """Where the refine pass is conditioned on one."""
    data = manifests.as_dict(two_pass)
    data["nodes"]["image"] = {"stage": "media.read_image", "inputs": {"path": {"value": "a.png"}}}
    data["nodes"]["still"] = {
        "stage": "ltx2.image_conditioning",
        "inputs": {"latents": "renoise", "image": "image"},
    }
    data["nodes"]["refine"]["inputs"]["latents"] = "still"
    import json

    conditioned = manifests.loads(json.dumps(data))
    assert stages(refined(conditioned, stage=LTX2RefineStageOverride(image_crf=18)))["still"].image_crf == 18
