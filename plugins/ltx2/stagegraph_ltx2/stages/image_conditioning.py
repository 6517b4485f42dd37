"""`ltx2.image_conditioning`: a still that the video is to show at one of its frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from stagegraph import param, stage
from stagegraph.facts import Facts
from stagegraph_ltx2 import memory
from stagegraph_ltx2.parts import VideoVAE
from stagegraph_ltx2.values import LatentState, facts_of_kept, latent_shape
from stagegraph_media.values import Image


@stage("ltx2.image_conditioning", version=1)
class LTX2ImageConditioningStage:
    """Have the video show a still: as its first frame (image-to-video), or at any other (keyframes)."""

    frame_idx: int = param(default=0, help="The pixel frame that shows it, from 0; -1 is the last.")
    strength: float = param(default=1.0, ge=0, le=1, help="1 keeps the still as it is, 0 ignores it.")
    place: Literal["auto", "replace", "append"] = param(
        default="auto",
        help="Whether it takes the place of the video's first latent frame, or stands beside the video, which then "
        "follows it; auto is the first for frame 0, the second for all others.",
    )
    image_crf: int | None = param(
        default=None,
        ge=0,
        le=51,
        help="H.264 quality that the still is compressed to first, as the frames were that the model learned from; 0 "
        "leaves it. By default what the checkpoint was trained with (33).",
    )
    fit: Literal["crop", "stretch"] = param(
        default="crop", help="Whether a still of another shape is cut around its centre, or stretched."
    )

    def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
        """The latents, with one more latent frame of tokens if it stands beside them."""
        return {"output": facts_of_kept(inputs.get("latents", {}), self.frame_idx, 1, self.place)}

    def memory(self, inputs: Mapping[str, Facts]) -> int | None:
        """Of the encoder."""
        return memory.encoding(inputs["video_vae"], latent_shape(inputs.get("latents", {})), 1)

    def run(self, latents: LatentState, image: Image, *, video_vae: VideoVAE) -> LatentState:
        """Encode the still at the size of the video.

        Raises:
            InputError: the video has no such frame, or not one that can be replaced.
        """
        from stagegraph_ltx2.keep import keep_frames
        from stagegraph_media.compression import compressed

        crf = video_vae.image_crf if self.image_crf is None else self.image_crf
        still = compressed(image, crf) if crf else image
        return keep_frames(
            latents, still.pixels[None], video_vae.module, self.frame_idx, self.strength, self.place, self.fit
        )
