"""Pictures on their way into the video VAE: cut or stretched to size, and scaled to [-1, 1]."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Fit = Literal["crop", "stretch"]
"""How a picture of another shape comes to size.

- "crop": enlarged or shrunk until it covers the size, bilinear and without antialiasing, then cut around its centre, as
  in the official code and diffusers' pipelines for conditions.
- "stretch": bilinear with antialiasing, each side on its own, as in diffusers' image-to-video pipeline.
"""


def fitted(pixels: NDArray[np.uint8], height: int, width: int, fit: Fit = "crop") -> Tensor:
    """Pictures at a size.

    Args:
        pixels: uint8 [f, h, w, 3].
        height: of the result.
        width: of the result.
        fit: what becomes of another shape.

    Returns:
        [1, 3, f, height, width], fp32 in [-1, 1].
    """
    x = torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2)  # [f, c, h, w]
    rows, columns = x.shape[2:]
    if (rows, columns) != (height, width):
        if fit == "stretch":  # on 8 bits, as PIL does it; its results differ by one in places
            x = F.interpolate(x, (height, width), mode="bilinear", antialias=True)
        else:
            scale = max(height / rows, width / columns)
            size = (max(math.ceil(rows * scale), height), max(math.ceil(columns * scale), width))
            x = F.interpolate(x.float(), size, mode="bilinear", align_corners=False)
            top, left = (size[0] - height) // 2, (size[1] - width) // 2
            x = x[:, :, top : top + height, left : left + width]
    return (x.float() / 127.5 - 1).transpose(0, 1)[None]
