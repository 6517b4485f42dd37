"""Attention among tokens of which each rank has some: what `model.conditions.Attends` consists of then.

Padding is cut off after each exchange that puts tokens together, so that attention is computed of exactly the tokens
that there are. So no mask keeps it from its fastest path, and rows of padding, of which nothing is computed, are 0.
"""

from __future__ import annotations

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor

from stagegraph_ltx2.model.attention import attention
from stagegraph_ltx2.model.conditions import Attends
from stagegraph_ltx2.parallel.cuts import Cut
from stagegraph_ltx2.parallel.group import Group


@attrs.frozen(eq=False)
class ByHeads:
    """Each rank computes some of the heads, for all tokens (Ulysses).

    Rank 0 has the first heads. A bias is of all tokens, and of the own heads.

    Attributes:
        group: the ranks, whose number divides that of heads.
        queries: how the tokens of the queries are cut.
        keys: how those of keys and values are.
    """

    group: Group
    queries: Cut
    keys: Cut

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        """Of the own tokens and all heads, [b, heads, t, c]."""
        if self.queries == self.keys:  # one exchange costs less than two
            q, k, v = self._to_heads((q, k, v), self.keys)
        else:
            (q,) = self._to_heads((q,), self.queries)
            k, v = self._to_heads((k, v), self.keys)
        return self._to_tokens(attention(q, k, v, bias))

    def _to_heads(self, parts: tuple[Tensor, ...], cut: Cut) -> tuple[Tensor, ...]:
        """Each [b, heads, t, c] to [b, heads / ranks, all t, c]."""
        x = torch.unflatten(torch.stack(parts), 2, (cut.ranks, -1)).movedim(2, 0)
        tokens = self.group.all_to_all(x).movedim(0, 3).flatten(3, 4)
        return tokens[..., : cut.tokens, :].unbind()

    def _to_tokens(self, y: Tensor) -> Tensor:
        """[b, heads / ranks, all t, c] to [b, heads, t, c]."""
        cut = self.queries
        x = torch.unflatten(F.pad(y, (0, 0, 0, cut.padding)), 2, (cut.ranks, -1)).movedim(2, 0)
        return self.group.all_to_all(x).movedim(0, 1).flatten(1, 2)


@attrs.frozen(eq=False)
class Gathered:
    """Each rank computes all heads, for its own tokens, which look at all keys: for few keys.

    A bias is of the own tokens and all keys.

    Attributes:
        group: the ranks.
        keys: how the tokens of keys and values are cut.
    """

    group: Group
    keys: Cut

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        """Of the own tokens and all heads, [b, heads, t, c]."""
        tokens = self.group.all_gather(torch.stack((k, v))).movedim(0, 3).flatten(3, 4)
        k, v = tokens[..., : self.keys.tokens, :].unbind()
        return attention(q, k, v, bias)


def divided(group: Group, video: Cut, audio: Cut) -> Attends:
    """The attentions of a transformer whose tokens are cut so."""
    return Attends(
        video=ByHeads(group, video, video),
        audio=ByHeads(group, audio, audio),
        audio_to_video=Gathered(group, audio),
        # To gather the keys of a video, which has a hundred times the tokens, would move several times as much.
        video_to_audio=ByHeads(group, audio, video),
    )
