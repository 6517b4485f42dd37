"""`ltx2.latent_renoising`: finished latents as the start of another pass."""

from __future__ import annotations

from collections.abc import Mapping

from stagegraph import param, stage
from stagegraph.context import derive_seed
from stagegraph.facts import Facts
from stagegraph_ltx2.schedule import REFINE_SIGMAS
from stagegraph_ltx2.values import AudioLatent, LatentState, VideoLatent, latent_facts, latent_shape


@stage("ltx2.latent_renoising", version=1)
class LTX2LatentRenoisingStage:
    """Mix latents with noise again, so that a second pass of denoising can refine them."""

    noise_scale: float = param(
        default=REFINE_SIGMAS[0],
        ge=0,
        le=1,
        help="How much of them becomes noise: 0 none, 1 all; the first sigma of the pass that follows.",
    )
    add_noise: bool = param(
        default=True,
        help="Whether noise is really mixed in; without, the next pass takes the latents themselves for noisy ones.",
    )
    video_position_offset_sec: float = param(
        default=0.0, ge=0, le=60, help="Seconds of the sound that come before the video, as in the pass before."
    )
    stream: str = param(
        default="refine", help="Names the noise: passes that share a seed and a stream get the same noise."
    )

    def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
        """The size of the video's latents."""
        known, sound = inputs.get("video", {}), inputs.get("audio", {})
        shape = latent_shape(known)
        if shape is None:
            return {}
        size = shape.pixel(float(known["frame_rate"]))
        frames = sound.get("audio_frames")
        return {"output": latent_facts(size, known["frame_rate"], noise_scale=self.noise_scale, audio_frames=frames)}

    def run(self, video: VideoLatent, audio: AudioLatent, seed: int) -> LatentState:
        """Draw noise for both.

        Args:
            video: of the pass before, or what it was upsampled to.
            audio: of the pass before.
            seed: the seed of the request.
        """
        from stagegraph_ltx2.conditioning import noise_like, without_noise

        state = noise_like(video, audio, derive_seed(seed, self.stream), self.noise_scale)
        state.video.positions[:, 0] += self.video_position_offset_sec
        return state if self.add_noise else without_noise(state)
