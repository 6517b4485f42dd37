"""A first look at what the transformer has learned, on the device that trains."""

from __future__ import annotations

from typing import Any

import torch

from stagegraph_ltx2.model import audio_vae
from stagegraph_ltx2.model.video_vae import unpack

from . import flow
from .agreement import Agreement
from .pieces import WHOLE, Trained
from .scenes import draw
from .sentences import sentence
from .words import tokens


@torch.no_grad()
def measure(trained: Trained, *, count: int = 96, seed: int = 11) -> dict[str, Any]:
    """How often held-out prompts are followed, without guidance and with some."""
    scenes = draw(seed, count, held_out=True)
    device = next(trained.trainee.parameters()).device
    ids = torch.from_numpy(tokens([sentence(scenes, row, 9) for row in range(count)])).to(device)
    told: dict[str, Any] = {}
    for scale in (1.0, 2.0):
        agreement = Agreement()
        for start in range(0, count, 32):
            rows = range(start, min(start + 32, count))
            x, a = flow.sample(
                trained.trainee, ids[start : start + 32], flow.LONG, 53, seed=start, length=WHOLE, scale=scale
            )
            z = trained.vae.denormalize(unpack(x, flow.LONG.latent()))
            pixels = trained.vae.decode(z).float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
            frames = pixels.permute(0, 2, 3, 4, 1).cpu().numpy()
            mel = trained.ear.decode(audio_vae.unpack(trained.ear.denormalize(a)))
            sounds = trained.vocoder(mel.float()).float().cpu().numpy()
            for i, row in enumerate(rows):
                agreement.add(scenes, row, frames[i], sounds[i], 24_000)
        told[f"scale {scale}"] = agreement.shares()
    return told
