"""`ltx2.audio_conditioning`: sound that the generation is to keep."""

from __future__ import annotations

from stagegraph import param, stage
from stagegraph_ltx2.values import AudioLatent, LatentState


@stage("ltx2.audio_conditioning", version=1)
class LTX2AudioConditioningStage:
    """Have the video go with a sound that is there: all of it (audio-to-video), or as far as it reaches."""

    start: float = param(default=0.0, ge=0, help="Seconds into the generation's sound at which it begins.")
    strength: float = param(default=1.0, ge=0, le=1, help="1 keeps the sound as it is, 0 ignores it.")

    def run(self, latents: LatentState, audio: AudioLatent) -> LatentState:
        """Keep the sound; what is longer than the video is left out, and what it does not reach is generated.

        Raises:
            InputError: it begins after the end.
        """
        from stagegraph.errors import InputError
        from stagegraph_ltx2.conditioning import KeepSound
        from stagegraph_ltx2.errors import fault
        from stagegraph_ltx2.shapes import AUDIO_LATENTS_PER_SECOND

        start, total = round(self.start * AUDIO_LATENTS_PER_SECOND), latents.audio.tokens
        if start >= total:
            what = f"start is {self.start:g} s"
            why = f"the sound has {total / AUDIO_LATENTS_PER_SECOND:g} s"
            raise InputError(fault("no_such_time", what, why=why, fix="begin earlier, or make a longer video"))
        return KeepSound(audio.latent[:, : total - start], start, self.strength)(latents)
