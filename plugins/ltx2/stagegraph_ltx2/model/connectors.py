"""From the hidden states of the text encoder to the text features that each stream of the transformer reads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .attention import Attention
from .config import ConnectorsConfig
from .layers import FeedForward, rms_norm
from .rope import Rope, rope

SCALE = 8
"""Range of the normalised hidden states."""


def normalize(hidden_states: Tensor, mask: Tensor) -> Tensor:
    """Bring every layer's hidden states to mean 0 and range 8, over all valid tokens and channels of a sample.

    Args:
        hidden_states: [b, t, c, layers].
        mask: [b, t], 1 for valid tokens, 0 for padding.

    Returns:
        [b, t, c x layers], the layer being the faster index; 0 for padding.
    """
    eps = 1e-6
    padding = mask[:, :, None, None] == 0
    count = mask.sum(1).view(-1, 1, 1, 1) * hidden_states.shape[2]
    mean = hidden_states.masked_fill(padding, 0).sum((1, 2), keepdim=True) / (count + eps)
    lowest = hidden_states.masked_fill(padding, torch.inf).amin((1, 2), keepdim=True)
    highest = hidden_states.masked_fill(padding, -torch.inf).amax((1, 2), keepdim=True)
    y = (hidden_states - mean).div_(highest - lowest + eps).mul_(SCALE)  # fp32, and a gigabyte: there is one of it
    return y.masked_fill_(padding, 0).flatten(2).type_as(hidden_states)


def normalize_tokens(hidden_states: Tensor, mask: Tensor) -> Tensor:
    """Divide every token's hidden state of every layer by its own root mean square; otherwise like `normalize`."""
    # The mean is taken in fp32 without a copy in fp32, which would be a gigabyte.
    length = torch.linalg.vector_norm(hidden_states, dim=2, keepdim=True, dtype=torch.float32)
    y: Tensor = hidden_states * (length.square() / hidden_states.shape[2] + 1e-6).rsqrt().type_as(hidden_states)
    return y.masked_fill(mask[:, :, None, None] == 0, 0).flatten(2)


class ConnectorBlock(nn.Module):
    """Self-attention and feed-forward over text; the weightless norms are functions."""

    def __init__(self, width: int, heads: int, head_dim: int, *, gated: bool) -> None:
        super().__init__()
        self.attn1 = Attention(width, heads, head_dim, gated=gated)
        self.ff = FeedForward(width)

    def forward(self, x: Tensor, positions: Rope) -> Tensor:
        x = x + self.attn1(rms_norm(x), rope=positions)
        y: Tensor = x + self.ff(rms_norm(x))
        return y


class Connector(nn.Module):
    """A small transformer over text, in which learned registers stand where the padding was."""

    def __init__(
        self, config: ConnectorsConfig, heads: int, head_dim: int, layers: int, registers: int, *, gated: bool
    ) -> None:
        super().__init__()
        self.config = config
        self.heads = heads
        width = heads * head_dim
        self.learnable_registers = nn.Parameter(torch.empty(registers, width).uniform_(-1, 1))
        self.transformer_blocks = nn.ModuleList(
            ConnectorBlock(width, heads, head_dim, gated=gated) for _ in range(layers)
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Features [b, t, d], all of them valid, of text x [b, t, d] with a mask [b, t]."""
        x = self._fill(x, mask)
        positions = self._positions(x)
        for block in self.transformer_blocks:
            x = block(x, positions)
        return rms_norm(x)

    def _fill(self, x: Tensor, mask: Tensor) -> Tensor:
        """Move valid tokens to the front, in their order, and put register p mod n at every other position p."""
        count, t = len(self.learnable_registers), x.shape[1]
        if t % count:
            raise ValueError(f"the text has {t} positions, which must be a multiple of the {count} learned registers")
        valid = mask != 0
        order = valid.long().argsort(dim=1, descending=True, stable=True)
        front = x.gather(1, order[:, :, None].expand_as(x))
        is_text = torch.arange(t, device=x.device) < valid.sum(1, keepdim=True)
        registers = self.learnable_registers.repeat(t // count, 1)
        return torch.where(is_text[:, :, None], front, registers.type_as(x))

    def _positions(self, x: Tensor) -> Rope:
        c = self.config
        positions = torch.arange(x.shape[1], dtype=torch.float32, device=x.device)[None, None]
        return rope(
            positions,
            [c.connector_rope_base_seq_len],
            x.shape[2],
            self.heads,
            theta=c.rope_theta,
            double=c.rope_double_precision,
            layout=c.rope_type,
        )


class TextConnectors(nn.Module):
    """Projections of all the text encoder's layers, one for both streams or one for each, then a connector for each."""

    def __init__(self, config: ConnectorsConfig) -> None:
        super().__init__()
        self.config = c = config
        hidden = c.caption_channels * c.text_proj_in_factor
        if c.per_modality_projections:
            self.video_text_proj_in = nn.Linear(hidden, c.video_hidden_dim, bias=c.proj_bias)
            self.audio_text_proj_in = nn.Linear(hidden, c.audio_hidden_dim, bias=c.proj_bias)
        else:
            self.text_proj_in = nn.Linear(hidden, c.caption_channels, bias=c.proj_bias)
        self.video_connector = Connector(
            c,
            c.video_connector_num_attention_heads,
            c.video_connector_attention_head_dim,
            c.video_connector_num_layers,
            c.video_connector_num_learnable_registers,
            gated=c.video_gated_attn,
        )
        self.audio_connector = Connector(
            c,
            c.audio_connector_num_attention_heads,
            c.audio_connector_attention_head_dim,
            c.audio_connector_num_layers,
            c.audio_connector_num_learnable_registers,
            gated=c.audio_gated_attn,
        )

    def forward(self, hidden_states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Make text features for both streams.

        Args:
            hidden_states: [b, t, c, layers] of the text encoder, its embeddings first and its final norm last; t must
                be a multiple of the number of registers.
            mask: [b, t], 1 for valid tokens, 0 for padding on either side.

        Returns:
            Features [b, t, d] for video and for audio, and their mask [b, t], which is 1 everywhere: registers took the
            place of the padding.
        """
        video, audio = self._project(hidden_states, mask)
        return self.video_connector(video, mask), self.audio_connector(audio, mask), torch.ones_like(mask)

    def _project(self, hidden_states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        c = self.config
        if not c.per_modality_projections:
            x = self.text_proj_in(normalize(hidden_states, mask))
            return x, x
        x = normalize_tokens(hidden_states, mask)
        # The wider the stream, the larger what its projection reads.
        video = self.video_text_proj_in(x * (c.video_hidden_dim / c.caption_channels) ** 0.5)
        audio = self.audio_text_proj_in(x * (c.audio_hidden_dim / c.caption_channels) ** 0.5)
        return video, audio
