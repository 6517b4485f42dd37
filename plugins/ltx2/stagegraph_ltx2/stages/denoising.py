"""`ltx2.denoising`: noise to latents of video and sound."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from stagegraph import StageContext, outputs, param, stage
from stagegraph.errors import InputError
from stagegraph.facts import FactError, Facts
from stagegraph_ltx2 import memory
from stagegraph_ltx2.errors import fault
from stagegraph_ltx2.model.config import TransformerConfig
from stagegraph_ltx2.parts import Transformer
from stagegraph_ltx2.recipes import RequestError, Settings, settle
from stagegraph_ltx2.rules import RULES, RulesName
from stagegraph_ltx2.scales import Guidance
from stagegraph_ltx2.schedule import SamplerName, checked_sigmas, distilled_sigmas, refine_sigmas
from stagegraph_ltx2.values import AudioLatent, DenoisingProgress, LatentState, TextContext, VideoLatent

if TYPE_CHECKING:
    from stagegraph_ltx2.denoise import Recipe


@outputs
class Denoised:
    """A video and its sound, both still latent."""

    video: VideoLatent
    audio: AudioLatent


@stage("ltx2.denoising", version=2)
class LTX2DenoisingStage:
    """Denoise video and sound together, following the text.

    What is left out follows from the checkpoint: distilled ones take their 8 steps without guidance, the others the
    guided base schedule. A refine pass is a second node with `schedule: refine`, over latents that were noised again.
    """

    schedule: Literal["auto", "distilled", "base", "refine"] = param(
        default="auto",
        help="Noise levels: the 8 of distilled checkpoints, the shifted schedule of the others, or the 3 of a refine "
        "pass; auto is one of the first two, as the checkpoint says.",
    )
    num_inference_steps: int | None = param(
        default=None,
        ge=1,
        le=1000,
        help="Steps: of the base schedule 40 (2.0) or 30 by default, of the distilled one 1 to 8, of a refine pass 3 "
        "or 2.",
    )
    sigmas: tuple[float, ...] | None = param(
        default=None,
        help="Noise levels in place of a schedule: descending, ending with 0; without guidance by default.",
    )
    sampler: SamplerName = param(
        default="euler",
        help="How a step is taken; euler_ancestral and res_2s add new noise, res_2s evaluates the model twice.",
    )
    eta: float | None = param(
        default=None, ge=0, le=1, help="How much of the noise is new in samplers that add some: by default 1, or 0.5."
    )
    guidance_scale: float | None = param(
        default=None, ge=1, le=100, help="How closely the prompt is followed: 1 is no guidance; 3 by default where any."
    )
    stg_scale: float | None = param(
        default=None, ge=0, le=100, help="Guidance away from a perturbed network: 0 is none; 1 by default where any."
    )
    modality_scale: float | None = param(
        default=None, ge=1, le=100, help="How closely video and sound follow each other: 1 is none; 3 where any."
    )
    guidance_rescale: float | None = param(
        default=None, ge=0, le=1, help="How much of the contrast that guidance adds is taken back: 0 none, 1 all."
    )
    audio_guidance_scale: float | None = param(
        default=None, ge=1, le=100, help="For the sound; if left out, what is set for the video, else 7 where any."
    )
    audio_stg_scale: float | None = param(default=None, ge=0, le=100, help="For the sound.")
    audio_modality_scale: float | None = param(default=None, ge=1, le=100, help="For the sound.")
    audio_guidance_rescale: float | None = param(default=None, ge=0, le=1, help="For the sound.")
    stg_blocks: tuple[int, ...] | None = param(
        default=None, help="Blocks, from 0, that stg_scale perturbs: by default 29 (2.0) or 28 of 48."
    )
    guidance_batch: Literal["auto", "together", "apart"] = param(
        default="auto",
        help="Whether the passes of guidance go through the transformer as one batch: auto if memory allows.",
    )
    rules: RulesName = param(default="diffusers", help="What is followed where diffusers and the official code differ.")
    checkpoint_every: int | None = param(
        default=None, ge=1, help="Steps after which the latents are kept, so that a run that was killed goes on there."
    )

    def __attrs_post_init__(self) -> None:
        wanted = self.num_inference_steps
        if self.sigmas is not None:
            steps = len(checked_sigmas(self.sigmas)) - 1
            if wanted not in (None, steps):
                raise ValueError(f"num_inference_steps is {wanted}, but sigmas makes {steps} steps: set one of them")
        elif wanted is not None and self.schedule == "distilled":
            distilled_sigmas(wanted)
        elif wanted is not None and self.schedule == "refine":
            refine_sigmas(wanted)

    @property
    def video_scales(self) -> dict[str, float | None]:
        """What is asked for, by the names of `Scales`."""
        return {
            "text": self.guidance_scale,
            "perturbation": self.stg_scale,
            "modality": self.modality_scale,
            "rescale": self.guidance_rescale,
        }

    @property
    def audio_scales(self) -> dict[str, float | None]:
        """What is asked for the sound alone; without what is not."""
        asked = {
            "text": self.audio_guidance_scale,
            "perturbation": self.audio_stg_scale,
            "modality": self.audio_modality_scale,
            "rescale": self.audio_guidance_rescale,
        }
        return {name: value for name, value in asked.items() if value is not None}

    def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
        """Video and sound have the sizes of the latents."""
        known, transformer = inputs.get("latents", {}), inputs.get("transformer", {})
        if "distilled" in transformer:
            try:
                settle(self, transformer, known)
            except RequestError as error:
                raise FactError(error.what, port=error.port, why=error.why, fix=error.fix) from None
        video = ("latent_frames", "latent_height", "latent_width", "frame_rate")
        return {
            "video": {name: known[name] for name in video if name in known},
            "audio": {name: known[name] for name in ("audio_frames",) if name in known},
        }

    def memory(self, inputs: Mapping[str, Facts]) -> tuple[int, int] | None:
        """Of the transformer, with the passes of guidance apart and together."""
        known, transformer = inputs.get("latents", {}), inputs["transformer"]
        network = memory.network(transformer, TransformerConfig)
        sizes = {"video_tokens", "audio_frames", "kept"}
        if network is None or not sizes <= known.keys() or "distilled" not in transformer:
            return None
        try:
            guidance = settle(self, transformer, known).guidance
        except RequestError:  # `facts` tells
            return None
        ranks = transformer.get("nproc", 1)
        apart, together = (_need(*network, known, guidance, ranks, together=each) for each in (False, True))
        return {"auto": (apart, together), "apart": (apart, apart), "together": (together, together)}[
            self.guidance_batch
        ]

    def lighter(self) -> Iterable[tuple[Mapping[str, Any], str]]:
        """One pass of guidance at a time."""
        yield {"guidance_batch": "apart"}, "the same result, later"

    def run(
        self,
        latents: LatentState,
        text: TextContext,
        negative_text: TextContext | None = None,
        *,
        transformer: Transformer,
        context: StageContext,
    ) -> Denoised:
        """Denoise.

        Args:
            latents: what denoising starts from, and what it keeps.
            text: the prompt.
            negative_text: what to move away from; needed where guidance_scale is above 1, and not read otherwise.
            transformer: lent.
            context: told each step; can cancel between steps.

        Raises:
            InputError: settings that do not fit the checkpoint or the latents; guidance without a negative text.
            RankError: one of the processes that evaluate the transformer was lost.
        """
        from stagegraph_ltx2.denoise import denoise
        from stagegraph_ltx2.model.video_vae import unpack
        from stagegraph_ltx2.room import room_for

        try:
            settings = settle(self, transformer.traits, latents.facts)
        except RequestError as error:
            raise InputError(fault("contradiction", error.what, why=error.why, fix=error.fix)) from None
        if settings.guidance.needs_negative and negative_text is None:
            scale = max(settings.guidance.video.text, settings.guidance.audio.text)
            what = f"guidance_scale is {scale:g}, but there is no negative text"
            why = "guidance moves away from a negative prompt, which may be empty"
            raise InputError(fault("no_negative_text", what, why=why, fix='give one, as in -i negative_prompt=""'))

        def on_step(progress: DenoisingProgress, total: int) -> None:
            done = progress.step
            if self.checkpoint_every is not None and done % self.checkpoint_every == 0 and done < total:
                context.checkpoint(done, progress)
            context.progress(done, total)

        recipe = self._recipe(settings, transformer, latents)
        need = _need_of(transformer, latents, settings.guidance, together=recipe.together)
        with room_for("denoising", need, "set guidance_batch to apart, or make a smaller or a shorter video"):
            video, audio = denoise(
                transformer.module,
                latents,
                recipe,
                text,
                negative_text,
                on_step,
                self._begin(context),
                transformer.evaluator,
            )
        unpacked = unpack(video, latents.size.latent())
        return Denoised(VideoLatent(unpacked, latents.frame_rate), AudioLatent(audio))

    def _recipe(self, settings: Settings, transformer: Transformer, latents: LatentState) -> Recipe:
        from stagegraph_ltx2.denoise import Recipe
        from stagegraph_ltx2.room import fits
        from stagegraph_ltx2.samplers import sampler_of

        together = self.guidance_batch != "apart"
        if self.guidance_batch == "auto" and max(settings.guidance.batches(together=True)) > 1:
            together = fits(transformer.module, _need_of(transformer, latents, settings.guidance, together=True))
        return Recipe(
            settings.sigmas,
            settings.guidance,
            sampler_of(self.sampler, self.eta),
            RULES[self.rules],
            together=together,
        )

    def _begin(self, context: StageContext) -> DenoisingProgress | None:
        """How far an earlier call came that did not reach its end."""
        kept = context.restored() if self.checkpoint_every is not None else None
        return kept[1] if kept is not None and isinstance(kept[1], DenoisingProgress) else None


def _need(
    config: TransformerConfig, itemsize: int, known: Facts, guidance: Guidance, ranks: int = 1, *, together: bool
) -> int:
    """The bytes that the transformer takes beside its weights, in each of the processes that share the tokens."""
    return memory.denoising(
        config,
        math.ceil(known["video_tokens"] / ranks),
        math.ceil(known["audio_frames"] / ranks),
        passes=guidance.batches(together=together),
        texts=guidance.texts(together=together),
        levels=known["kept"],
        itemsize=itemsize,
    )


def _need_of(transformer: Transformer, latents: LatentState, guidance: Guidance, *, together: bool) -> int:
    """The same, of values that are there."""
    module, batch = transformer.module, len(latents.video.noise)
    itemsize = next(module.parameters()).element_size()
    ranks = transformer.team.ranks if transformer.team is not None else 1
    return batch * _need(module.config, itemsize, latents.facts, guidance, ranks, together=together)
