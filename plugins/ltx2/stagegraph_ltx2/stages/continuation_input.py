"""`ltx2.continuation_input`: the end of the segment before, for the next one to go on from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from stagegraph import param, stage
from stagegraph.facts import Facts
from stagegraph_ltx2.continuation import LTX2ContinuationState
from stagegraph_ltx2.parts import VideoVAE
from stagegraph_ltx2.values import LatentState


@stage("ltx2.continuation_input", version=1)
class LTX2ContinuationInputStage:
    """Have a segment begin with the last frames and the last sound of the one before, and its sound reach its end.

    The sound may begin before the video, by what more of it is carried over. Each segment has noise of its own, made
    from the seed and its number. The first segment goes on from nothing: only its sound gets longer, so that it can be
    cut at the video's end.
    """

    fit: Literal["crop", "stretch"] = param(
        default="crop", help="Whether frames of another size are cut around their centre, or stretched."
    )

    def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
        """Those of the latents, but for what depends on the segment before."""
        unsure = ("audio_frames", "kept")
        return {"output": {name: value for name, value in inputs.get("latents", {}).items() if name not in unsure}}

    def run(
        self, latents: LatentState, state: LTX2ContinuationState | None = None, *, video_vae: VideoVAE
    ) -> LatentState:
        """Keep what the state says.

        Args:
            latents: of this segment; those of every pass go through this stage.
            state: what the segment before left; None for the first.

        Raises:
            InputError: what the state holds does not fit the latents.
            ContinuationError: it does not hold what it says.
        """
        from stagegraph_ltx2.joining import begun, continued

        return begun(latents) if state is None else continued(latents, state, video_vae.module, self.fit)
