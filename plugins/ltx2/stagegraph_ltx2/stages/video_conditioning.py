"""`ltx2.video_conditioning`: a clip that the video is to contain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from stagegraph import StageContext, param, stage
from stagegraph.facts import Facts
from stagegraph_ltx2 import memory
from stagegraph_ltx2.parts import VideoVAE
from stagegraph_ltx2.shapes import latent_frames
from stagegraph_ltx2.values import LatentState, facts_of_kept, latent_shape
from stagegraph_media.values import Frames


@stage("ltx2.video_conditioning", version=1)
class LTX2VideoConditioningStage:
    """Have the video contain a clip, as its beginning or anywhere else; of 8k + 1 frames, the rest is left out."""

    frame_idx: int = param(
        default=0, help="The pixel frame at which the clip begins, from 0; negative ones count from the end."
    )
    num_frames: int | None = param(
        default=None, ge=1, multiple_of=8, remainder=1, help="Pixel frames of the clip to take; by default all it can."
    )
    strength: float = param(default=1.0, ge=0, le=1, help="1 keeps the clip as it is, 0 ignores it.")
    place: Literal["auto", "replace", "append"] = param(
        default="auto",
        help="Whether it takes the place of latent frames, or stands beside the video, which then follows it; auto is "
        "the first for frame 0, the second for all others.",
    )
    fit: Literal["crop", "stretch"] = param(
        default="crop", help="Whether frames of another shape are cut around their centre, or stretched."
    )

    def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
        """The latents, with tokens of the clip if it stands beside them."""
        return {
            "output": facts_of_kept(inputs.get("latents", {}), self.frame_idx, self._latent_frames(inputs), self.place)
        }

    def memory(self, inputs: Mapping[str, Facts]) -> int | None:
        """Of the encoder."""
        return memory.encoding(
            inputs["video_vae"], latent_shape(inputs.get("latents", {})), self._latent_frames(inputs)
        )

    def _latent_frames(self, inputs: Mapping[str, Facts]) -> int | None:
        count = self.num_frames or inputs.get("frames", {}).get("num_frames")
        return latent_frames(count) if count is not None else None

    def run(self, latents: LatentState, frames: Frames, *, video_vae: VideoVAE, context: StageContext) -> LatentState:
        """Encode the clip at the size of the video.

        Raises:
            InputError: the video has no such frames, or not ones that can be replaced; the clip is too short.
        """
        from stagegraph_ltx2.keep import keep_frames, whole_latents

        pixels = frames.pixels[: whole_latents(frames.num_frames, self.num_frames)]
        return keep_frames(
            latents,
            pixels,
            video_vae.module,
            self.frame_idx,
            self.strength,
            self.place,
            self.fit,
            context.progress,
        )
