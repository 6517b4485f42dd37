"""`ltx2.video_decoding`: latents to pixels."""

from __future__ import annotations

from stagegraph import stage
from stagegraph_ltx2.parts import VideoVAE
from stagegraph_ltx2.values import VideoLatent
from stagegraph_media.values import Frames


@stage("ltx2.video_decoding", version=1)
class LTX2VideoDecodingStage:
    """Decode video latents into frames."""

    def run(self, latents: VideoLatent, *, video_vae: VideoVAE) -> Frames:
        """Decode the whole video at once; the first of a batch."""
        import torch

        vae = video_vae.module
        with torch.inference_mode():
            latent = vae.denormalize(latents.latent[:1].to(vae.latents_mean))
            pixels = vae.decode(latent)[0].float()  # [c, f, h, w] in [-1, 1]
            pixels = pixels.add_(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
            return Frames(pixels.permute(1, 2, 3, 0).contiguous().cpu().numpy(), latents.frame_rate)
