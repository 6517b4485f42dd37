"""`ltx2.retake`: a stretch of a video that is to be generated anew."""

from __future__ import annotations

from typing import Literal

from stagegraph import param, stage
from stagegraph_ltx2.values import AudioLatent, LatentState, VideoLatent


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

    def run(self, latents: LatentState, video: VideoLatent, audio: AudioLatent | None = None) -> LatentState:
        """Keep what is outside the stretch; a latent frame that it touches is generated.

        Args:
            latents: noise of the size of the video.
            video: what is there.
            audio: its sound; without it, all of the sound is generated.

        Raises:
            InputError: the video is of another size than the latents, or the stretch begins after its end.
        """
        from stagegraph.errors import InputError
        from stagegraph_ltx2.conditioning import KeepFrames, KeepSound, Regenerate
        from stagegraph_ltx2.errors import fault

        shape = latents.size.latent()
        wanted = (shape.frames, shape.height, shape.width)
        if tuple(video.latent.shape[2:]) != wanted:
            have = "x".join(map(str, video.latent.shape[2:]))
            what = f"the video has {have} latents, the generation {'x'.join(map(str, wanted))}"
            raise InputError(fault("size_mismatch", what, fix="prepare latents of the size and length of the video"))
        if self.start >= latents.size.seconds:
            what = f"start is {self.start:g} s, and the video ends at {latents.size.seconds:g} s"
            raise InputError(fault("no_such_time", what, fix="begin earlier"))
        state = KeepFrames(video.latent)(latents)
        if self.regenerate != "audio":
            state = Regenerate("video", self.start, self.end)(state)
        if audio is not None:
            state = KeepSound(audio.latent[:, : state.audio.tokens])(state)
            if self.regenerate != "video":
                state = Regenerate("audio", self.start, self.end)(state)
        return state
