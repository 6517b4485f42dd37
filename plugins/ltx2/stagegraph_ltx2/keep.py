"""Frames that a generation is to keep, from pixels: which of them, where, and as what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from stagegraph.context import derive_seed
from stagegraph.errors import InputError
from stagegraph_ltx2.conditioning import AppendFrames, KeepFrames
from stagegraph_ltx2.encode import encode_video
from stagegraph_ltx2.errors import fault
from stagegraph_ltx2.model.video_vae import VideoVAE
from stagegraph_ltx2.noise import seeded
from stagegraph_ltx2.pixels import Fit
from stagegraph_ltx2.shapes import TEMPORAL, latent_frames, nearest_num_frames
from stagegraph_ltx2.values import LatentState

Place = Literal["auto", "replace", "append"]


def keep_frames(
    latents: LatentState,
    pixels: NDArray[np.uint8],
    vae: VideoVAE,
    frame_idx: int,
    strength: float,
    place: Place,
    fit: Fit,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> LatentState:
    """The state with frames kept from a pixel frame on.

    Args:
        latents: the state so far.
        pixels: uint8 [8k + 1, h, w, 3], of any size.
        vae: encodes them.
        frame_idx: the pixel frame at which they begin; negative ones count from the end.
        strength: 1 keeps them as they are, 0 not at all.
        place: whether they take the place of latent frames or stand beside the video; "auto" replaces at frame 0.
        fit: what becomes of another shape.
        progress: as for `encode_video`.

    Raises:
        InputError: the video has no such frames, or they do not begin where latent frames do.
    """
    frame = _frame(latents, frame_idx, len(pixels))
    replace = place == "replace" or (place == "auto" and frame == 0)
    if replace and frame:
        what = f"frame_idx is {frame_idx}, and the frames there are to be replaced"
        why = "what is encoded alone begins with a latent frame of one pixel frame, those within a video hold eight"
        raise InputError(fault("no_such_frame", what, why=why, fix="use frame 0, or set place to append"))
    size = latents.size
    latent = encode_video(vae, pixels, size.height, size.width, fit, progress)
    if replace:
        return KeepFrames(latent, 0, strength)(latents)
    generator = seeded(derive_seed(latents.seed, "keyframe", str(frame)))
    noise = torch.randn(len(latents.video.noise), latent[0, 0].numel(), latent.shape[1], generator=generator)
    return AppendFrames(latent, frame, len(pixels), noise, strength)(latents)


def whole_latents(count: int, wanted: int | None) -> int:
    """How many frames of a clip are taken: 8k + 1 of those there are, or as many as are wanted.

    Raises:
        InputError: there are fewer than are wanted.
    """
    if wanted is not None and wanted > count:
        fix = f"set it to {nearest_num_frames(count)[0]}"
        raise InputError(fault("no_such_frame", f"num_frames is {wanted}, but the clip has {count} frames", fix=fix))
    return wanted or (latent_frames(count) - 1) * TEMPORAL + 1


def _frame(latents: LatentState, frame_idx: int, count: int) -> int:
    total = latents.size.frames
    frame = frame_idx + total if frame_idx < 0 else frame_idx
    if not 0 <= frame <= total - count:
        what = f"frame_idx is {frame_idx}" + (f", for {count} frames" if count > 1 else "")
        why = f"the video has frames 0 to {total - 1}"
        fix = f"use 0 to {total - count}" if total >= count else f"make a video of at least {count} frames"
        raise InputError(fault("no_such_frame", what, why=why, fix=fix))
    return frame
