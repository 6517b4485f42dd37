"""`ltx2.retake`: a stretch of a video that is to be generated anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from stagegraph import param, stage
from stagegraph.errors import InputError
from stagegraph.facts import Facts
from stagegraph_ltx2.errors import fault
from stagegraph_ltx2.values import AudioLatent, LatentState, VideoLatent, latent_facts, latent_shape


@stage("ltx2.retake", version=1)
class LTX2RetakeStage:
    """Keep a video and its sound but for a stretch of time, which is generated anew."""

    start: float = param(default=0.0, ge=0, help="Seconds at which the stretch begins.")
    end: float | None = param(default=None, gt=0, help="Seconds at which it ends; by default the end of the video.")
    regenerate: Literal["both", "video", "audio"] = param(
        default="both", help="What is generated there; the other one is kept as a whole."
    )

    def __attrs_post_init__(self) -> None:
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"end is {self.end:g}, which is not after start, {self.start:g}")

    def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
        """The size of the video's latents."""
        known = inputs.get("video", {})
        shape = latent_shape(known)
        if shape is None:
            return {}
        return {"output": latent_facts(shape.pixel(float(known["frame_rate"])), known["frame_rate"], kept=True)}

    def run(self, video: VideoLatent, seed: int, audio: AudioLatent | None = None) -> LatentState:
        """Keep what is outside the stretch; a latent frame that it touches is generated.

        Args:
            video: what is there.
            seed: of the noise.
            audio: its sound; without it, or where it does not reach, sound is generated.

        Raises:
            InputError: the stretch begins after the end of the video.
        """
        from stagegraph_ltx2.conditioning import KeepFrames, KeepSound, Regenerate, noise_like

        state = noise_like(video, None, seed)
        if self.start >= state.size.seconds:
            what = f"start is {self.start:g} s, and the video ends at {state.size.seconds:g} s"
            raise InputError(fault("no_such_time", what, fix="begin earlier"))
        state = KeepFrames(video.latent)(state)
        if self.regenerate != "audio":
            state = Regenerate("video", self.start, self.end)(state)
        if audio is not None:
            state = KeepSound(audio.latent[:, : state.audio.tokens])(state)
            if self.regenerate != "video":
                state = Regenerate("audio", self.start, self.end)(state)
        return state
