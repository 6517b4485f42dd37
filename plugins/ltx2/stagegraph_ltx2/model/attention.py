"""Attention, the one place where every network does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

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


Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
"""What `attention` does, perhaps of queries, keys and values that only begin or end here: see `Attends`."""


def as_bias(mask: Tensor, dtype: torch.dtype) -> Tensor | None:
    """Turn a mask into what `attention` adds to the scores.

    Reads the mask's values, so call it once before a loop and not in a `forward`: there it would wait for the device
    and break a compiled graph.

    Args:
        mask: Of keys [b, s], or of queries and keys [b, t, s]: 1 where a position may be seen, 0 where not. Values
            between hide it nearly as well as 0 does; for those that are strengths, see `strength_bias`.
        dtype: That of the queries.

    Returns:
        [b, 1, 1 or t, s], or None where everything may be seen, which lets attention take its fastest path.
    """
    return _unless_all_seen(mask, (1 - mask.to(dtype)) * MASKED)


def strength_bias(strength: Tensor, dtype: torch.dtype) -> Tensor | None:
    """Like `as_bias`, of strengths that multiply the weight of a position: 1 leaves it, 0.5 halves it, 0 hides it."""
    return _unless_all_seen(strength, strength.float().log().clamp(min=torch.finfo(dtype).min).to(dtype))


def _unless_all_seen(mask: Tensor, bias: Tensor) -> Tensor | None:
    if bool((mask == 1).all()):
        return None
    return bias[:, None, None, :] if bias.ndim == 2 else bias[:, None]


class KeyValue(NamedTuple):
    """What attention reads of a context, each [b, heads, s, c]."""

    key: Tensor
    value: Tensor


class Attention(nn.Module):
    """Multi-head attention whose queries and keys are RMS-normed over all heads at once.

    If gated, each position weighs the heads' results by gates of its own, which are 1 where their logits are 0.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        head_dim: int,
        *,
        context_width: int | None = None,
        bias: bool = True,
        out_bias: bool = True,
        gated: bool = False,
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
        self.to_gate_logits = nn.Linear(width, heads) if gated else None

    def forward(
        self,
        x: Tensor,
        context: Tensor | KeyValue | None = None,
        *,
        rope: Rope | None = None,
        context_rope: Rope | None = None,
        bias: Tensor | None = None,
        attend: Attend = attention,
    ) -> Tensor:
        """Let each position of x look at all positions of the context.

        Args:
            x: [b, t, d].
            context: [b, s, d of the context], or what `read` made of it; None is x itself.
            rope: Where the positions of x are; None leaves queries and keys unrotated.
            context_rope: Where the positions of the context are; None is `rope`.
            bias: Added to the scores, broadcast to [b, heads, t, s].
            attend: How it looks.

        Returns:
            [b, t, d].
        """
        if not isinstance(context, KeyValue):
            context = self.read(x if context is None else context, context_rope or rope)
        q = self._split(self.norm_q(self.to_q(x)))
        if rope is not None:
            q = rotate(q, rope)
        return self._merge(attend(q, *context, bias).transpose(1, 2), x)

    def read(self, context: Tensor, rope: Rope | None = None) -> KeyValue:
        """Keys and values of a context [b, s, d], for queries to come."""
        k = self._split(self.norm_k(self.to_k(context)))
        return KeyValue(k if rope is None else rotate(k, rope), self._split(self.to_v(context)))

    def unmixed(self, x: Tensor) -> Tensor:
        """What self-attention gives where each position sees itself alone: its own value."""
        return self._merge(torch.unflatten(self.to_v(x), 2, (self.heads, -1)), x)

    def _split(self, x: Tensor) -> Tensor:
        """[b, t, d] to [b, heads, t, c]."""
        return torch.unflatten(x, 2, (self.heads, -1)).transpose(1, 2)

    def _merge(self, y: Tensor, x: Tensor) -> Tensor:
        """The heads' results y [b, t, heads, c] as [b, t, d], weighed by gates of x [b, t, d]."""
        if self.to_gate_logits is not None:
            y = y * (2 * self.to_gate_logits(x).sigmoid())[..., None]
        out: Tensor = self.to_out(y.flatten(2))
        return out
