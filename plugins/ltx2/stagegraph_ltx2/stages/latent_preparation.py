"""`ltx2.latent_preparation`: the noise that a video starts from."""

from __future__ import annotations

from collections.abc import Mapping

from stagegraph import param, stage
from stagegraph.facts import Facts
from stagegraph_ltx2.shapes import MIN_SIZE, SPATIAL, TEMPORAL, PixelShape, sound_before
from stagegraph_ltx2.values import LatentState, latent_facts
from stagegraph_media.values import exact_rate


@stage("ltx2.latent_preparation", version=2)
class LTX2LatentPreparationStage:
    """Draw the noise of a video and its sound from a seed: on the CPU in fp32, so that every device starts alike."""

    height: int = param(default=512, ge=MIN_SIZE, le=8192, multiple_of=SPATIAL, help="Pixels.")
    width: int = param(default=768, ge=MIN_SIZE, le=8192, multiple_of=SPATIAL, help="Pixels.")
    num_frames: int = param(default=121, ge=1, le=4097, multiple_of=TEMPORAL, remainder=1, help="Pixel frames.")
    frame_rate: float | str = param(default=24.0, help='Pixel frames per second; "24000/1001" for NTSC.')
    video_position_offset_sec: float = param(
        default=0.0, ge=0, le=60, help="Seconds of sound before the video, which then begins so much later."
    )

    def __attrs_post_init__(self) -> None:
        PixelShape(self.num_frames, self.height, self.width, float(exact_rate(self.frame_rate)))

    @property
    def size(self) -> PixelShape:
        """The video that the latents become."""
        return PixelShape(self.num_frames, self.height, self.width, float(exact_rate(self.frame_rate)))

    def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
        """The size of the latents, and the rate."""
        audio = sound_before(self.size, self.video_position_offset_sec)
        return {"output": latent_facts(self.size, exact_rate(self.frame_rate), audio_frames=audio.frames)}

    def run(self, seed: int) -> LatentState:
        """Draw video tokens in the order of frames, rows and columns, then audio tokens, from one generator.

        Args:
            seed: any integer of 64 bits; the same seed and size give the same noise.
        """
        from stagegraph_ltx2.conditioning import fresh
        from stagegraph_ltx2.model.positions import audio_positions, video_positions
        from stagegraph_ltx2.noise import draw_noise, seeded

        rate, size, offset = exact_rate(self.frame_rate), self.size, self.video_position_offset_sec
        audio_shape = sound_before(size, offset)
        video, audio = draw_noise(seeded(seed), size.latent(), audio_shape)
        where = video_positions(size.latent(), float(rate))
        where[:, 0] += offset
        return LatentState(
            fresh(video, where), fresh(audio, audio_positions(audio_shape)), size, rate, noise_scale=1.0, seed=seed
        )
