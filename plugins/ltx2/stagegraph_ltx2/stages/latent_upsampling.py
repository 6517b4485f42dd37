"""`ltx2.latent_upsampling`: latents of a larger video."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

from stagegraph import param, stage
from stagegraph.facts import Facts
from stagegraph_ltx2 import memory
from stagegraph_ltx2.model.config import LatentUpsamplerConfig
from stagegraph_ltx2.parts import LatentUpsampler, VideoStatistics
from stagegraph_ltx2.values import VideoLatent, latent_shape


@stage("ltx2.latent_upsampling", version=1)
class LTX2LatentUpsamplingStage:
    """Upsample the latents of a video, in space or in time as the upsampler does; a refine pass then adds detail."""

    adain: float = param(
        default=0.0,
        ge=0,
        le=1,
        help="How far the mean and deviation of each channel move back to those before: 0 not at all, 1 wholly.",
    )
    tone_map: float = param(
        default=0.0, ge=0, le=1, help="How strongly large values are pressed together: 0 not at all."
    )

    def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
        """The size of what comes out, if the upsampler tells its factors."""
        known, upsampler = inputs.get("latents", {}), inputs.get("upsampler", {})
        if "spatial_scale" not in upsampler or "latent_height" not in known:
            return {}
        made = {**known}
        for name in ("latent_height", "latent_width"):
            made[name] = math.ceil(known[name] * Fraction(upsampler["spatial_scale"]))
        if upsampler["temporal_scale"] == 2:
            made["latent_frames"] = 2 * known["latent_frames"] - 1
            made["frame_rate"] = 2 * known["frame_rate"]
        return {"output": made}

    def memory(self, inputs: Mapping[str, Facts]) -> int | None:
        """Of the upsampler."""
        shape = latent_shape(inputs.get("latents", {}))
        network = memory.network(inputs["upsampler"], LatentUpsamplerConfig)
        return memory.latent_upsampling(network[0], shape, network[1]) if shape is not None and network else None

    def run(self, latents: VideoLatent, *, upsampler: LatentUpsampler, statistics: VideoStatistics) -> VideoLatent:
        """Upsample.

        Args:
            latents: normalised, as all latents between stages are.
            upsampler: lent.
            statistics: lent; the upsampler works on latents that are not normalised.
        """
        import torch

        from stagegraph_ltx2.model.latent_upsampler import compress_range, match_statistics

        module = upsampler.module
        weight = next(module.parameters())
        with torch.inference_mode():
            plain = statistics.denormalize(latents.latent).to(weight)
            made = module(plain)
            if self.adain:
                made = match_statistics(made, plain, self.adain)
            if self.tone_map:
                made = compress_range(made, self.tone_map)
            rate = latents.frame_rate * upsampler.temporal_scale
            return VideoLatent(statistics.normalize(made.float()).cpu(), rate)
