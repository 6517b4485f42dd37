"""Which settings follow from a checkpoint, and which contradict it."""

from __future__ import annotations

from typing import Any

import pytest

from stagegraph_ltx2.recipes import RequestError, settle
from stagegraph_ltx2.scales import Guidance, Scales
from stagegraph_ltx2.schedule import DISTILLED_SIGMAS, REFINE_SIGMAS, TWO_STEP_REFINE_SIGMAS, base_sigmas
from stagegraph_ltx2.stages import LTX2DenoisingStage

DISTILLED = {"family": "2.0", "distilled": True, "layers": 48}
BASE = {"family": "2.0", "distilled": False, "layers": 48}
BASE_23 = {"family": "2.3", "distilled": False, "layers": 48}
SILENT = {"family": "2.0", "distilled": None, "layers": 48}
LATENTS = {"noise_scale": 1.0, "video_tokens": 6144}
RENOISED = {"noise_scale": 0.909375, "video_tokens": 24576}

LAY = (
    "use a distilled checkpoint, lay the distilled LoRA over this one (ltx2.lora, with distilled: true if its name "
    "does not say so), or give sigmas"
)

VIDEO, AUDIO = Scales(3, 1, 3, 0.7), Scales(7, 1, 3, 0.7)


@pytest.mark.parametrize(
    ("transformer", "params", "latents", "sigmas", "guidance"),
    [
        (DISTILLED, {}, LATENTS, DISTILLED_SIGMAS, Guidance(blocks=(29,))),
        (BASE, {}, LATENTS, base_sigmas(40, 6144), Guidance(VIDEO, AUDIO, (29,))),
        (BASE_23, {}, LATENTS, base_sigmas(30, 6144), Guidance(VIDEO, AUDIO, (28,))),
        (BASE_23, {"rules": "official"}, LATENTS, base_sigmas(30, 4096), Guidance(VIDEO, AUDIO, (28,))),
        (BASE, {"num_inference_steps": 10}, LATENTS, base_sigmas(10, 6144), Guidance(VIDEO, AUDIO, (29,))),
        (SILENT, {"schedule": "distilled"}, LATENTS, DISTILLED_SIGMAS, Guidance(blocks=(29,))),
        (DISTILLED, {"schedule": "refine"}, RENOISED, REFINE_SIGMAS, Guidance(blocks=(29,))),
        (
            DISTILLED,
            {"schedule": "refine", "num_inference_steps": 2},
            RENOISED,
            TWO_STEP_REFINE_SIGMAS,
            Guidance(blocks=(29,)),
        ),
        (
            DISTILLED,
            {"num_inference_steps": 5},
            LATENTS,
            (1.0, 0.975, 0.909375, 0.725, 0.421875, 0.0),
            Guidance(blocks=(29,)),
        ),
        (BASE, {"sigmas": (1.0, 0.5, 0.0)}, LATENTS, (1.0, 0.5, 0.0), Guidance(blocks=(29,))),
    ],
)
def test_what_is_left_out_follows_from_the_checkpoint(
    transformer: Any, params: Any, latents: Any, sigmas: Any, guidance: Guidance
) -> None:
    """Schedule, steps and guidance."""
    settings = settle(LTX2DenoisingStage(**params), transformer, latents)
    assert settings.sigmas == sigmas
    assert settings.guidance == guidance


def test_what_is_set_for_the_video_counts_for_the_sound_unless_that_has_its_own() -> None:
    """Term by term."""
    stage = LTX2DenoisingStage(guidance_scale=4, stg_scale=0, audio_stg_scale=0.5, audio_guidance_rescale=0)
    guidance = settle(stage, BASE, LATENTS).guidance
    assert guidance.video == Scales(4, 0, 3, 0.7)
    assert guidance.audio == Scales(4, 0.5, 3, 0)


def test_a_smaller_transformer_is_perturbed_at_the_same_depth() -> None:
    """The block is counted in proportion."""
    assert settle(LTX2DenoisingStage(), {**BASE, "layers": 2}, LATENTS).guidance.blocks == (1,)


@pytest.mark.parametrize(
    ("transformer", "params", "latents", "what", "fix"),
    [
        (
            SILENT,
            {},
            LATENTS,
            "the checkpoint does not say whether it is distilled, so that no schedule follows from it",
            "set schedule to distilled or base",
        ),
        (
            DISTILLED,
            {"schedule": "base"},
            LATENTS,
            "the checkpoint is distilled, but schedule is base",
            "leave schedule out, set it to distilled, or give sigmas",
        ),
        (
            BASE,
            {"schedule": "distilled"},
            LATENTS,
            "the checkpoint is not distilled, but schedule is distilled",
            LAY,
        ),
        (
            BASE,
            {"schedule": "refine"},
            RENOISED,
            "the checkpoint is not distilled, but schedule is refine",
            LAY,
        ),
        (
            DISTILLED,
            {"modality_scale": 2},
            LATENTS,
            "the checkpoint is distilled, but guidance is asked for",
            "leave guidance_scale, stg_scale and modality_scale out, or use a checkpoint that is not distilled",
        ),
        (
            DISTILLED,
            {"num_inference_steps": 9},
            LATENTS,
            "num_inference_steps=9: a distilled model has 1 to 8 steps",
            "leave num_inference_steps out, or give sigmas",
        ),
        (
            DISTILLED,
            {"schedule": "refine"},
            LATENTS,
            "the latents are noised to 1, but the refine schedule begins at 0.909375",
            "noise them to 0.909375 (ltx2.latent_renoising), or choose sigmas that begin at 1",
        ),
        (BASE, {"stg_blocks": (48,)}, LATENTS, "stg_blocks has 48", "name some of them"),
        (BASE, {"stg_blocks": ()}, LATENTS, "stg_blocks is empty", "name some of them"),
    ],
)
def test_what_contradicts_is_refused(transformer: Any, params: Any, latents: Any, what: str, fix: str) -> None:
    """With what is known, and what to set instead."""
    with pytest.raises(RequestError) as caught:
        settle(LTX2DenoisingStage(**params), transformer, latents)
    assert (caught.value.what, caught.value.fix) == (what, fix)


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"schedule": "refine", "num_inference_steps": 4}, "num_inference_steps=4: the refine pass has 3 steps, or 2"),
        (
            {"schedule": "distilled", "num_inference_steps": 9},
            "num_inference_steps=9: a distilled model has 1 to 8 steps",
        ),
        (
            {"sigmas": (1.0, 0.5, 0.0), "num_inference_steps": 3},
            "num_inference_steps is 3, but sigmas makes 2 steps: set one of them",
        ),
    ],
)
def test_counts_of_steps_that_no_schedule_has_are_refused_when_the_stage_is_made(params: Any, text: str) -> None:
    """Before anything is known of a checkpoint; explicit sigmas are the way out."""
    with pytest.raises(ValueError, match=text):
        LTX2DenoisingStage(**params)
