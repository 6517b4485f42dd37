"""`ltx2.denoising`: noise to latents of video and sound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import attrs

from stagegraph import StageContext, outputs, param, stage
from stagegraph.errors import InputError
from stagegraph.facts import Facts
from stagegraph_ltx2.errors import fault
from stagegraph_ltx2.parts import Transformer
from stagegraph_ltx2.schedule import DISTILLED_SIGMAS, base_sigmas, checked_sigmas
from stagegraph_ltx2.values import AudioLatent, LatentState, TextContext, VideoLatent

if TYPE_CHECKING:
    from torch import Tensor

BASE_STEPS = 40
"""Steps of the base schedule if none are asked for: the official default of LTX-2."""


@outputs
class Denoised:
    """A video and its sound, both still latent."""

    video: VideoLatent
    audio: AudioLatent


@stage("ltx2.denoising", version=1)
class LTX2DenoisingStage:
    """Denoise video and sound together, following the text."""

    schedule: Literal["distilled", "base"] = param(
        default="distilled", help="The 8 fixed sigmas of distilled checkpoints, or the shifted schedule of the others."
    )
    num_inference_steps: int | None = param(
        default=None, ge=1, le=1000, help="Steps of the base schedule, 40 by default; the distilled one has 8."
    )
    sigmas: tuple[float, ...] | None = param(
        default=None, help="Noise levels in place of a schedule: descending, ending with 0."
    )
    guidance_scale: float = param(
        default=1.0,
        ge=1,
        le=100,
        help="1 is no guidance, as distilled checkpoints want; more follows the prompt more closely.",
    )
    audio_guidance_scale: float | None = param(
        default=None, ge=1, le=100, help="The scale for the sound; as the video by default."
    )
    guidance_rescale: float = param(
        default=0.0, ge=0, le=1, help="How much of the contrast that guidance adds is taken back: 0 none, 1 all."
    )

    checkpoint_every: int | None = param(
        default=None, ge=1, help="Steps after which the latents are kept, so that a run that was killed goes on there."
    )

    def __attrs_post_init__(self) -> None:
        wanted = self.num_inference_steps
        if self.sigmas is not None:
            steps = len(checked_sigmas(self.sigmas)) - 1
            if wanted not in (None, steps):
                raise ValueError(f"num_inference_steps is {wanted}, but sigmas makes {steps} steps: set one of them")
        elif self.schedule == "distilled" and wanted not in (None, len(DISTILLED_SIGMAS) - 1):
            raise ValueError(
                f"num_inference_steps is {wanted}, but the distilled schedule has {len(DISTILLED_SIGMAS) - 1} steps: "
                "leave it out, set schedule to base, or give sigmas"
            )

    @property
    def steps(self) -> tuple[float, ...]:
        """The sigmas in use."""
        if self.sigmas is not None:
            return checked_sigmas(self.sigmas)
        return DISTILLED_SIGMAS if self.schedule == "distilled" else base_sigmas(self.num_inference_steps or BASE_STEPS)

    def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
        """Video and sound have the sizes of the latents."""
        known = inputs.get("latents", {})
        video = ("latent_frames", "latent_height", "latent_width", "frame_rate")
        return {
            "video": {name: known[name] for name in video if name in known},
            "audio": {name: known[name] for name in ("audio_frames",) if name in known},
        }

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
            latents: as noisy as the first sigma says.
            text: the prompt.
            negative_text: what to move away from; needed if a guidance scale is above 1, and not read otherwise.
            transformer: lent.
            context: told each step; can cancel between steps.

        Raises:
            InputError: guidance without a negative text.
        """
        from stagegraph_ltx2.denoise import Guidance, denoise
        from stagegraph_ltx2.model.video_vae import unpack

        audio_scale = self.guidance_scale if self.audio_guidance_scale is None else self.audio_guidance_scale
        guidance = Guidance(self.guidance_scale, audio_scale, self.guidance_rescale)
        if guidance.needed and negative_text is None:
            what = f"guidance_scale is {max(guidance.video, guidance.audio):g}, but there is no negative text"
            why = "guidance moves away from a negative prompt, which may be empty"
            raise InputError(fault("no_negative_text", what, why=why, fix='give one, as in -i negative_prompt=""'))
        start, state = self._begin(latents, context)

        def on_step(done: int, total: int, video: Tensor, audio: Tensor) -> None:
            if self.checkpoint_every is not None and done % self.checkpoint_every == 0 and done < total:
                context.checkpoint(done, attrs.evolve(latents, video=video.cpu(), audio=audio.cpu()))
            context.progress(done, total)

        video, audio = denoise(
            transformer.module, state, self.steps, text, negative_text, guidance, on_step=on_step, start=start
        )
        unpacked = unpack(video, latents.size.latent())
        return Denoised(VideoLatent(unpacked, latents.frame_rate), AudioLatent(audio))

    def _begin(self, latents: LatentState, context: StageContext) -> tuple[int, LatentState]:
        """The steps that are done, and the latents after them."""
        kept = context.restored() if self.checkpoint_every is not None else None
        return kept if kept is not None and isinstance(kept[1], LatentState) else (0, latents)
