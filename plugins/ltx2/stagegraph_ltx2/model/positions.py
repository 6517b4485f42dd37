"""Where tokens are in time and space, as the bounds [start, end) of what each covers.

All bounds are fp32: seconds on the time axis, on which video and audio meet, and pixels in height and width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..shapes import AUDIO_COMPRESSION, HOP_LENGTH, SAMPLE_RATE, SPATIAL, TEMPORAL, AudioShape, LatentShape


def video_positions(shape: LatentShape, frame_rate: float, device: torch.device | str = "cpu") -> Tensor:
    """Bounds [1, 3, t, 2] in time, height and width; the leading 1 serves every sample of a batch.

    The first latent frame covers [0, 1) pixel frames, the next [1, 9), [9, 17) and so on.
    """
    starts = torch.stack(
        torch.meshgrid(
            *(torch.arange(n, dtype=torch.float32, device=device) for n in (shape.frames, shape.height, shape.width)),
            indexing="ij",
        )
    ).flatten(1)
    frames, height, width = torch.stack((starts, starts + 1), dim=-1).unbind()
    return torch.stack((_causal(frames, TEMPORAL) / frame_rate, height * SPATIAL, width * SPATIAL))[None]


def keyframe_positions(
    shape: LatentShape, frame: int, pixel_frames: int, frame_rate: float, device: torch.device | str = "cpu"
) -> Tensor:
    """Bounds [1, 3, t, 2] of frames that are given beside a video, from a pixel frame of it on.

    Args:
        shape: Of their latents.
        frame: The pixel frame at which they begin.
        pixel_frames: How many of them there are: a still covers one pixel frame although its latent could cover eight.
        frame_rate: Pixel frames per second.
        device: Where the result goes.
    """
    bounds = video_positions(shape, 1.0, device)
    if frame != 0:  # only where the video begins does the first latent frame cover one pixel frame
        bounds[:, 0] = torch.arange(shape.frames, dtype=torch.float32, device=device).repeat_interleave(
            shape.tokens_per_frame
        )[:, None] * TEMPORAL + torch.tensor([0.0, TEMPORAL], device=device)
    if pixel_frames == 1:
        bounds[:, 0, :, 1] = bounds[:, 0, :, 0] + 1
    bounds[:, 0] = (bounds[:, 0] + frame) / frame_rate
    return bounds


def audio_positions(shape: AudioShape, device: torch.device | str = "cpu") -> Tensor:
    """Bounds [1, 1, t, 2] in time; the first latent frame covers one mel frame, each other one covers four."""
    starts = torch.arange(shape.frames, dtype=torch.float32, device=device)
    mel_frames = _causal(torch.stack((starts, starts + 1), dim=-1), AUDIO_COMPRESSION)
    return (mel_frames * HOP_LENGTH / SAMPLE_RATE)[None, None]


def middles(bounds: Tensor) -> Tensor:
    """Middle [b, axes, t] of bounds [b, axes, t, 2]."""
    return (bounds[..., 0] + bounds[..., 1]) / 2


def _causal(latent_frames: Tensor, compression: int) -> Tensor:
    """Latent frames as frames of what was compressed, of which the first latent frame holds only one."""
    return (latent_frames * compression + 1 - compression).clamp(min=0)
