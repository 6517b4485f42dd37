"""`ltx2.video_encoding`: pixels to latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from stagegraph import StageContext, param, stage
from stagegraph.facts import Facts
from stagegraph_ltx2 import memory
from stagegraph_ltx2.parts import VideoVAE
from stagegraph_ltx2.shapes import MIN_SIZE, SPATIAL, latent_frames, nearest_size
from stagegraph_ltx2.values import VideoLatent, latent_shape
from stagegraph_media.values import Frames


@stage("ltx2.video_encoding", version=1)
class LTX2VideoEncodingStage:
    """Encode frames into video latents; of 8k + 1 frames, the rest is left out."""

    height: int | None = param(
        default=None, ge=MIN_SIZE, le=8192, multiple_of=SPATIAL, help="Pixels; by default the nearest that fits."
    )
    width: int | None = param(default=None, ge=MIN_SIZE, le=8192, multiple_of=SPATIAL, help="Pixels; likewise.")
    num_frames: int | None = param(
        default=None, ge=1, multiple_of=8, remainder=1, help="Pixel frames to take; by default all it can."
    )
    fit: Literal["crop", "stretch"] = param(
        default="crop", help="Whether frames of another shape are cut around their centre, or stretched."
    )

    def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
        """The size of the latents."""
        known = inputs.get("frames", {})
        if not {"num_frames", "height", "width", "frame_rate"} <= known.keys():
            return {}
        height, width = self._size(known["height"], known["width"])
        count = self.num_frames or known["num_frames"]
        made = {
            "latent_frames": latent_frames(count),
            "latent_height": height // SPATIAL,
            "latent_width": width // SPATIAL,
            "frame_rate": known["frame_rate"],
        }
        return {"output": made}

    def memory(self, inputs: Mapping[str, Facts]) -> int | None:
        """Of the encoder."""
        shape = latent_shape(self.facts(inputs).get("output", {}))
        return memory.encoding(inputs["video_vae"], shape, None)

    def run(self, frames: Frames, *, video_vae: VideoVAE, context: StageContext) -> VideoLatent:
        """Encode, in chunks that give the result of all at once.

        Raises:
            InputError: the clip has fewer frames than are asked for.
        """
        from stagegraph_ltx2.encode import encode_video
        from stagegraph_ltx2.keep import whole_latents

        pixels = frames.pixels[: whole_latents(frames.num_frames, self.num_frames)]
        height, width = self._size(frames.height, frames.width)
        latent = encode_video(video_vae.module, pixels, height, width, self.fit, context.progress)
        return VideoLatent(latent, frames.frame_rate)

    def _size(self, height: int, width: int) -> tuple[int, int]:
        return self.height or nearest_size(height)[0], self.width or nearest_size(width)[0]
