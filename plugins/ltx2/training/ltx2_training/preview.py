"""A first look at what the transformer has learned, on the device that trains."""

from __future__ import annotations

import os
from multiprocessing import get_context
from typing import Any

import torch
from torch import Tensor

from stagegraph_ltx2.model import audio_vae

from . import flow
from .agreement import Agreement
from .pieces import WHOLE, Trained
from .scenes import Scenes, draw
from .sentences import sentence
from .words import tokens


@torch.no_grad()
def measure(trained: Trained, *, count: int = 96, seed: int = 11) -> dict[str, Any]:
    """How often held-out prompts are followed, without guidance and with some."""
    scenes = draw(seed, count, held_out=True)
    device = next(trained.trainee.parameters()).device
    ids = torch.from_numpy(tokens([sentence(scenes, row, 9) for row in range(count)])).to(device)
    told: dict[str, Any] = {}
    if device.type == "cuda":
        torch.cuda.empty_cache()  # of the graphs of training
    # Looking takes longer than making; children that only look need no GPU.
    with get_context("fork").Pool(min(count, os.cpu_count() or 1)) as pool:
        for scale in (1.0, 2.0):
            agreement = Agreement()
            for start in range(0, count, 32):
                made = zip(*_clips(trained, ids[start : start + 32], start, scale), strict=True)
                jobs = [(scenes, start + i, frames, samples) for i, (frames, samples) in enumerate(made)]
                for part in pool.starmap_async(_looked, jobs, chunksize=1).get(timeout=120):
                    agreement.join(part)
            told[f"scale {scale}"] = agreement.shares()
    return told


def _clips(trained: Trained, ids: Tensor, seed: int, scale: float) -> tuple[Any, Any]:
    """Frames [n, f, h, w, 3], every second one, and sound [n, 2, s]."""
    x, a = flow.sample(trained.trainee, ids, flow.LONG, 53, seed=seed, length=WHOLE, scale=scale)
    mel = trained.ear.decode(audio_vae.unpack(trained.ear.denormalize(a)))
    sounds = trained.vocoder(mel.float()).float()
    return trained.frames(x, flow.LONG, every=2), sounds[..., : 49 * 1000].cpu().numpy()


def _looked(scenes: Scenes, row: int, frames: Any, samples: Any) -> Agreement:
    agreement = Agreement()
    agreement.add(scenes, row, frames, samples, 24_000)
    return agreement
