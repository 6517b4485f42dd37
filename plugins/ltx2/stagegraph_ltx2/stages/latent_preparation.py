"""`ltx2.latent_preparation`: the noise that a video starts from."""

from __future__ import annotations

from collections.abc import Mapping

from stagegraph import param, stage
from stagegraph.facts import Facts
from stagegraph_ltx2.shapes import MIN_SIZE, SPATIAL, TEMPORAL, PixelShape
from stagegraph_ltx2.values import LatentState, latent_facts
from stagegraph_media.values import exact_rate


@stage("ltx2.latent_preparation", version=1)
class LTX2LatentPreparationStage:
    """Draw the noise of a video and its sound from a seed: on the CPU in fp32, so that every device starts alike."""

    height: int = param(default=512, ge=MIN_SIZE, le=8192, multiple_of=SPATIAL, help="Pixels.")
    width: int = param(default=768, ge=MIN_SIZE, le=8192, multiple_of=SPATIAL, help="Pixels.")
    num_frames: int = param(default=121, ge=1, le=4097, multiple_of=TEMPORAL, remainder=1, help="Pixel frames.")
    frame_rate: float | str = param(default=24.0, help='Pixel frames per second; "24000/1001" for NTSC.')

    def __attrs_post_init__(self) -> None:
        PixelShape(self.num_frames, self.height, self.width, float(exact_rate(self.frame_rate)))

    def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
        """The size of the latents, and the rate."""
        size = PixelShape(self.num_frames, self.height, self.width, float(exact_rate(self.frame_rate)))
        return {"output": latent_facts(size, exact_rate(self.frame_rate))}

    def run(self, seed: int) -> LatentState:
        """Draw video tokens in the order of frames, rows and columns, then audio tokens, from one generator.

        Args:
            seed: any integer of 64 bits; the same seed and size give the same noise.
        """
        from stagegraph_ltx2.noise import draw_noise, seeded

        rate = exact_rate(self.frame_rate)
        size = PixelShape(self.num_frames, self.height, self.width, float(rate))
        video, audio = draw_noise(seeded(seed), size.latent(), size.audio())
        return LatentState(video, audio, size, rate)
