"""Attention, the one place where every network does it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .rope import Rope, rotate

MASKED = -10_000.0
"""Added to the score of a position that may not be seen."""


def attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Softmax of q kᵀ / sqrt(c) + bias, times v.

    Args:
        q: [b, heads, t, c].
        k: [b, heads, s, c], with v of the same shape.
        v: What is mixed.
        bias: Added to the scores, broadcast to [b, heads, t, s]; None adds nothing.

    Returns:
        [b, heads, t, c].
    """
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


def as_bias(mask: Tensor, dtype: torch.dtype) -> Tensor | None:
    """Turn a mask over keys into what `attention` adds to the scores.

    Reads the mask's values, so call it once before a loop and not in a `forward`: there it would wait for the device
    and break a compiled graph.

    Args:
        mask: [b, s], 1 where a position may be seen, 0 where not.
        dtype: That of the queries.

    Returns:
        [b, 1, 1, s], or None where everything may be seen, which lets attention take its fastest path.
    """
    if bool(mask.all()):
        return None
    bias = (1 - mask.to(dtype)) * MASKED
    return bias[:, None, None, :]


class Attention(nn.Module):
    """Multi-head attention whose queries and keys are RMS-normed over all heads at once."""

    def __init__(
        self,
        width: int,
        heads: int,
        head_dim: int,
        *,
        context_width: int | None = None,
        bias: bool = True,
        out_bias: bool = True,
    ) -> None:
        super().__init__()
        inner = heads * head_dim
        context_width = context_width or width
        self.heads = heads
        # Other norms take their eps from the configuration; here it is a constant of the architecture.
        self.norm_q = nn.RMSNorm(inner, eps=1e-6)
        self.norm_k = nn.RMSNorm(inner, eps=1e-6)
        self.to_q = nn.Linear(width, inner, bias)
        self.to_k = nn.Linear(context_width, inner, bias)
        self.to_v = nn.Linear(context_width, inner, bias)
        self.to_out = nn.Sequential(nn.Linear(inner, width, out_bias))

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        *,
        rope: Rope | None = None,
        context_rope: Rope | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        """Let each position of x look at all positions of the context.

        Args:
            x: [b, t, d].
            context: [b, s, d of the context]; None is x itself.
            rope: Where the positions of x are; None leaves queries and keys unrotated.
            context_rope: Where the positions of the context are; None is `rope`.
            bias: Added to the scores, broadcast to [b, heads, t, s].

        Returns:
            [b, t, d].
        """
        context = x if context is None else context
        q = self._split(self.norm_q(self.to_q(x)))
        k = self._split(self.norm_k(self.to_k(context)))
        v = self._split(self.to_v(context))
        if rope is not None:
            q = rotate(q, rope)
            k = rotate(k, context_rope or rope)
        y: Tensor = self.to_out(attention(q, k, v, bias).transpose(1, 2).flatten(2))
        return y

    def _split(self, x: Tensor) -> Tensor:
        """[b, t, d] to [b, heads, t, c]."""
        return torch.unflatten(x, 2, (self.heads, -1)).transpose(1, 2)
