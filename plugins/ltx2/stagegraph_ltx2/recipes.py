"""The official settings of denoising, and which of them fit a checkpoint. Needs no torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import attrs

from stagegraph.facts import Facts
from stagegraph_ltx2.rules import RULES
from stagegraph_ltx2.scales import Guidance, Scales
from stagegraph_ltx2.schedule import BASE_TOKENS, base_sigmas, checked_sigmas, distilled_sigmas, refine_sigmas

if TYPE_CHECKING:
    from stagegraph_ltx2.stages.denoising import LTX2DenoisingStage

Schedule = Literal["distilled", "base", "refine", "custom"]

#: Steps of the base schedule, and the block of 48 that guidance perturbs, by the release of the checkpoint.
BASE_STEPS = {"2.0": 40, "2.3": 30}
PERTURBED_BLOCK = {"2.0": 29, "2.3": 28}
BLOCKS = 48

VIDEO_SCALES = Scales(text=3.0, perturbation=1.0, modality=3.0, rescale=0.7)
AUDIO_SCALES = Scales(text=7.0, perturbation=1.0, modality=3.0, rescale=0.7)
"""How checkpoints that are not distilled are guided."""

DISTILLED_STEPS = 8
WHY_DISTILLED = "a distilled checkpoint was trained to do without: it would come out worse"


class RequestError(ValueError):
    """Settings that contradict each other, or what is known of the checkpoint and of the latents.

    Args:
        what: what is wrong, with the value.
        port: the argument that it does not fit.
        why: the rule.
        fix: what to set.
    """

    def __init__(self, what: str, *, port: str = "transformer", why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what, self.port, self.why, self.fix = what, port, why, fix


@attrs.frozen
class Settings:
    """What a denoising stage does, with nothing left to be decided."""

    schedule: Schedule
    sigmas: tuple[float, ...]
    guidance: Guidance


def settle(stage: LTX2DenoisingStage, transformer: Facts, latents: Facts) -> Settings:
    """The settings of a stage, completed by what fits the checkpoint.

    Args:
        stage: what was asked for.
        transformer: "family", "distilled" (None if the checkpoint does not say) and "layers" of the checkpoint;
            "sigmas" and "flow_shift" if a configuration sets them for all passes but refine passes.
        latents: "noise_scale" and "video_tokens" of what is denoised.

    Raises:
        RequestError: what was asked for does not fit.
    """
    schedule = _schedule(stage, transformer)
    if schedule != "refine" and not (stage.sigmas is not None and latents.get("noise_scale", 1.0) < 1):
        _keep_to_configuration(stage, schedule, transformer)
    guidance = _guidance(stage, schedule, transformer)
    sigmas = _sigmas(stage, schedule, transformer, latents)
    scale = latents.get("noise_scale", sigmas[0])
    if not math.isclose(scale, sigmas[0], abs_tol=1e-6):
        what = f"the latents are noised to {scale:g}, but the {schedule} schedule begins at {sigmas[0]:g}"
        fix = f"noise them to {sigmas[0]:g} (ltx2.latent_renoising), or choose sigmas that begin at {scale:g}"
        raise RequestError(what, port="latents", why="the model is told how much noise there is", fix=fix)
    return Settings(schedule, sigmas, guidance)


def _schedule(stage: LTX2DenoisingStage, transformer: Facts) -> Schedule:
    distilled = transformer.get("distilled")
    if stage.sigmas is not None:
        return "custom"
    if stage.schedule == "auto":
        if "sigmas" in transformer:
            return "custom"
        if distilled is None:
            what = "the checkpoint does not say whether it is distilled, so that no schedule follows from it"
            raise RequestError(what, fix="set schedule to distilled or base")
        return "distilled" if distilled else "base"
    if distilled is None or distilled == (stage.schedule != "base"):
        return stage.schedule
    if distilled:
        fix = "leave schedule out, set it to distilled, or give sigmas"
        raise RequestError("the checkpoint is distilled, but schedule is base", why=WHY_DISTILLED, fix=fix)
    what = f"the checkpoint is not distilled, but schedule is {stage.schedule}"
    why = "so few steps are for models that were distilled to take them"
    fix = (
        "use a distilled checkpoint, lay the distilled LoRA over this one (ltx2.lora, with distilled: true if its name "
        "does not say so), or give sigmas"
    )
    raise RequestError(what, why=why, fix=fix)


def _keep_to_configuration(stage: LTX2DenoisingStage, schedule: Schedule, transformer: Facts) -> None:
    """Refuse what contradicts the configuration that the transformer comes with; a refine pass has its own levels."""
    if "flow_shift" in transformer and schedule != "base":
        what = f"flow_shift is {transformer['flow_shift']:g}, but the schedule is {schedule}"
        fix = "leave flow_shift out, or use a checkpoint that is not distilled, without sigmas"
        raise RequestError(what, why="the base schedule alone is shifted", fix=fix)
    sigmas = transformer.get("sigmas")
    if sigmas is None:
        return
    told = f"dmd_denoising_steps makes the sigmas {', '.join(f'{sigma:g}' for sigma in sigmas)}"
    fix = "leave it out of this node, or leave dmd_denoising_steps out"
    if stage.sigmas is not None and tuple(stage.sigmas) != sigmas:
        raise RequestError(f"sigmas is set, but {told}", why="both are the noise levels of denoising", fix=fix)
    if stage.schedule != "auto":
        raise RequestError(f"schedule is {stage.schedule}, but {told}", why="they are no schedule's", fix=fix)
    steps = stage.num_inference_steps
    if steps not in (None, len(sigmas) - 1):
        raise RequestError(f"num_inference_steps is {steps}, but {told}", why="one step leads to the next", fix=fix)


def _guidance(stage: LTX2DenoisingStage, schedule: Schedule, transformer: Facts) -> Guidance:
    guided = schedule == "base"
    video = _scales(stage.video_scales, VIDEO_SCALES if guided else Scales())
    # What is set for the video counts for the sound too, unless that has a setting of its own.
    audio = _scales({**stage.video_scales, **stage.audio_scales}, AUDIO_SCALES if guided else Scales())
    family, layers = transformer.get("family", "2.0"), transformer.get("layers", BLOCKS)
    blocks = stage.stg_blocks
    if blocks is None:
        blocks = (PERTURBED_BLOCK.get(family, PERTURBED_BLOCK["2.3"]) * layers // BLOCKS,)
    guidance = Guidance(video, audio, blocks)
    if transformer.get("distilled") and (
        guidance.needs_negative or guidance.needs_perturbed or guidance.needs_isolated
    ):
        fix = "leave guidance_scale, stg_scale and modality_scale out, or use a checkpoint that is not distilled"
        raise RequestError("the checkpoint is distilled, but guidance is asked for", why=WHY_DISTILLED, fix=fix)
    outside = [block for block in blocks if not 0 <= block < layers]
    if guidance.needs_perturbed and (outside or not blocks):
        what = f"stg_blocks has {', '.join(map(str, outside))}" if outside else "stg_blocks is empty"
        raise RequestError(what, why=f"the transformer has blocks 0 to {layers - 1}", fix="name some of them")
    return guidance


def _scales(asked: dict[str, float | None], otherwise: Scales) -> Scales:
    return attrs.evolve(otherwise, **{name: value for name, value in asked.items() if value is not None})


def _sigmas(stage: LTX2DenoisingStage, schedule: Schedule, transformer: Facts, latents: Facts) -> tuple[float, ...]:
    steps = stage.num_inference_steps
    if schedule == "custom":
        return checked_sigmas(stage.sigmas if stage.sigmas is not None else transformer["sigmas"])
    try:
        if schedule == "distilled":
            return distilled_sigmas(steps or DISTILLED_STEPS)
        if schedule == "refine":
            return refine_sigmas(steps or 3)
    except ValueError as error:
        raise RequestError(str(error), port="", fix="leave num_inference_steps out, or give sigmas") from None
    counted = latents.get("video_tokens", BASE_TOKENS) if RULES[stage.rules].counts_tokens else BASE_TOKENS
    steps = steps or BASE_STEPS.get(transformer.get("family", ""), BASE_STEPS["2.3"])
    return base_sigmas(steps, counted, transformer.get("flow_shift"))
