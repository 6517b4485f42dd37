"""`ltx2.video_decoding`: latents to pixels."""

from __future__ import annotations

from collections.abc import Mapping

from stagegraph import stage
from stagegraph.facts import Facts
from stagegraph_ltx2.parts import VideoVAE
from stagegraph_ltx2.shapes import LatentShape
from stagegraph_ltx2.values import VideoLatent
from stagegraph_media.values import Frames


@stage("ltx2.video_decoding", version=1)
class LTX2VideoDecodingStage:
    """Decode video latents into frames."""

    def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
        """The size in pixels of what the latents become."""
        known = inputs.get("latents", {})
        if not {"latent_frames", "latent_height", "latent_width", "frame_rate"} <= known.keys():
            return {}
        shape = LatentShape(known["latent_frames"], known["latent_height"], known["latent_width"])
        size = shape.pixel(float(known["frame_rate"]))
        frames = {"num_frames": size.frames, "height": size.height, "width": size.width}
        return {"output": {**frames, "frame_rate": known["frame_rate"]}}

    def run(self, latents: VideoLatent, *, video_vae: VideoVAE) -> Frames:
        """Decode the whole video at once; the first of a batch."""
        import torch

        vae = video_vae.module
        with torch.inference_mode():
            latent = vae.denormalize(latents.latent[:1].to(vae.latents_mean))
            pixels = vae.decode(latent)[0].float()  # [c, f, h, w] in [-1, 1]
            pixels = pixels.add_(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
            return Frames(pixels.permute(1, 2, 3, 0).contiguous().cpu().numpy(), latents.frame_rate)
