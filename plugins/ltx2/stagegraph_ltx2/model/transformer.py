"""The denoiser: two streams of tokens, video and audio, that attend to themselves, to the text and to each other."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .adaln import AdaLN, modulate, rows
from .attention import Attention
from .config import TransformerConfig
from .layers import FeedForward, TextProjection, learned_table, rms_norm
from .positions import middles
from .rope import Rope, rope


class Rotary(NamedTuple):
    """The RoPE of both streams: within each, and between them, where only time counts."""

    video: Rope
    audio: Rope
    video_cross: Rope
    audio_cross: Rope


class Conditions(NamedTuple):
    """What every block is told. n vectors [b, 1 or t, n, d] of modulation, text [b, t, d] and where tokens are."""

    video: Tensor
    audio: Tensor
    video_cross: Tensor
    audio_cross: Tensor
    video_gate: Tensor
    audio_gate: Tensor
    video_context: Tensor
    audio_context: Tensor
    video_context_bias: Tensor | None
    audio_context_bias: Tensor | None
    rotary: Rotary


class Block(nn.Module):
    """One layer. The weightless RMS norms have no entry in the state dict and are functions here."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        d, d_audio = config.width, config.audio_width
        attention = partial(Attention, bias=config.attention_bias, out_bias=config.attention_out_bias)
        heads = config.num_attention_heads, config.attention_head_dim
        audio_heads = config.audio_num_attention_heads, config.audio_attention_head_dim

        self.attn1 = attention(d, *heads)
        self.audio_attn1 = attention(d_audio, *audio_heads)
        self.attn2 = attention(d, *heads)
        self.audio_attn2 = attention(d_audio, *audio_heads)
        self.audio_to_video_attn = attention(d, *audio_heads, context_width=d_audio)
        self.video_to_audio_attn = attention(d_audio, *audio_heads, context_width=d)
        self.ff = FeedForward(d)
        self.audio_ff = FeedForward(d_audio)

        # Rows: shift, scale and gate of self-attention, then of the feed-forward.
        self.scale_shift_table = learned_table(6, d)
        self.audio_scale_shift_table = learned_table(6, d_audio)
        # Rows: scale and shift for audio-to-video, scale and shift for video-to-audio, and the gate of the own stream.
        self.video_a2v_cross_attn_scale_shift_table = learned_table(5, d)
        self.audio_a2v_cross_attn_scale_shift_table = learned_table(5, d_audio)
        self.norm = partial(rms_norm, eps=config.norm_eps)

    def forward(self, x: Tensor, a: Tensor, c: Conditions) -> tuple[Tensor, Tensor]:
        """Update the video stream x [b, t, d] and the audio stream a [b, t, d]."""
        x, a = self._attend_to_self(x, a, c)
        x = x + self.attn2(self.norm(x), c.video_context, bias=c.video_context_bias)
        a = a + self.audio_attn2(self.norm(a), c.audio_context, bias=c.audio_context_bias)
        x, a = self._attend_to_each_other(x, a, c)
        return self._feed_forward(x, a, c)

    def _attend_to_self(self, x: Tensor, a: Tensor, c: Conditions) -> tuple[Tensor, Tensor]:
        shift, scale, gate = rows(self.scale_shift_table[:3], c.video[:, :, :3])
        x = x + gate * self.attn1(modulate(self.norm(x), scale, shift), rope=c.rotary.video)
        shift, scale, gate = rows(self.audio_scale_shift_table[:3], c.audio[:, :, :3])
        a = a + gate * self.audio_attn1(modulate(self.norm(a), scale, shift), rope=c.rotary.audio)
        return x, a

    def _attend_to_each_other(self, x: Tensor, a: Tensor, c: Conditions) -> tuple[Tensor, Tensor]:
        table, audio_table = self.video_a2v_cross_attn_scale_shift_table, self.audio_a2v_cross_attn_scale_shift_table
        x_scale, x_shift, x_scale_back, x_shift_back = rows(table[:4], c.video_cross)
        a_scale, a_shift, a_scale_back, a_shift_back = rows(audio_table[:4], c.audio_cross)
        (gate,) = rows(table[4:], c.video_gate)
        (audio_gate,) = rows(audio_table[4:], c.audio_gate)
        # Both directions read the streams as they were before either was updated.
        x_norm, a_norm = self.norm(x), self.norm(a)
        x = x + gate * self.audio_to_video_attn(
            modulate(x_norm, x_scale, x_shift),
            modulate(a_norm, a_scale, a_shift),
            rope=c.rotary.video_cross,
            context_rope=c.rotary.audio_cross,
        )
        a = a + audio_gate * self.video_to_audio_attn(
            modulate(a_norm, a_scale_back, a_shift_back),
            modulate(x_norm, x_scale_back, x_shift_back),
            rope=c.rotary.audio_cross,
            context_rope=c.rotary.video_cross,
        )
        return x, a

    def _feed_forward(self, x: Tensor, a: Tensor, c: Conditions) -> tuple[Tensor, Tensor]:
        shift, scale, gate = rows(self.scale_shift_table[3:], c.video[:, :, 3:])
        x = x + gate * self.ff(modulate(self.norm(x), scale, shift))
        shift, scale, gate = rows(self.audio_scale_shift_table[3:], c.audio[:, :, 3:])
        a = a + gate * self.audio_ff(modulate(self.norm(a), scale, shift))
        return x, a


class AudioVideoTransformer(nn.Module):
    """Predict the velocity of video and audio tokens, together."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        d, d_audio = config.width, config.audio_width
        self.proj_in = nn.Linear(config.in_channels, d)
        self.audio_proj_in = nn.Linear(config.audio_in_channels, d_audio)
        self.caption_projection = TextProjection(config.caption_channels, d)
        self.audio_caption_projection = TextProjection(config.caption_channels, d_audio)

        self.time_embed = AdaLN(d, 6)
        self.audio_time_embed = AdaLN(d_audio, 6)
        self.av_cross_attn_video_scale_shift = AdaLN(d, 4)
        self.av_cross_attn_audio_scale_shift = AdaLN(d_audio, 4)
        self.av_cross_attn_video_a2v_gate = AdaLN(d, 1)
        self.av_cross_attn_audio_v2a_gate = AdaLN(d_audio, 1)

        self.transformer_blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))

        self.scale_shift_table = learned_table(2, d)
        self.audio_scale_shift_table = learned_table(2, d_audio)
        self.proj_out = nn.Linear(d, config.out_channels or config.in_channels)
        self.audio_proj_out = nn.Linear(d_audio, config.audio_out_channels or config.audio_in_channels)

    def rotary(self, video_positions: Tensor, audio_positions: Tensor) -> Rotary:
        """Compute the RoPE of all tokens, once for a whole denoising loop.

        Args:
            video_positions: [b or 1, 3, t, 2], bounds in seconds, pixels and pixels, fp32.
            audio_positions: [b or 1, 1, t, 2], bounds in seconds, fp32.
        """
        c = self.config
        angles = partial(rope, theta=c.rope_theta, double=c.rope_double_precision, layout=c.rope_type)
        video, audio = middles(video_positions), middles(audio_positions)
        seconds, audio_seconds = c.pos_embed_max_pos, c.audio_pos_embed_max_pos
        shared = [max(seconds, audio_seconds)]
        return Rotary(
            video=angles(video, [seconds, c.base_height, c.base_width], c.width, c.num_attention_heads),
            audio=angles(audio, [audio_seconds], c.audio_width, c.audio_num_attention_heads),
            video_cross=angles(video[:, :1], shared, c.audio_width, c.audio_num_attention_heads),
            audio_cross=angles(audio, shared, c.audio_width, c.audio_num_attention_heads),
        )

    def forward(
        self,
        video: Tensor,
        audio: Tensor,
        video_context: Tensor,
        audio_context: Tensor,
        video_timestep: Tensor,
        audio_timestep: Tensor,
        rotary: Rotary,
        *,
        video_cross_timestep: Tensor | None = None,
        audio_cross_timestep: Tensor | None = None,
        video_context_bias: Tensor | None = None,
        audio_context_bias: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Predict the velocity (noise minus clean latent) of each token.

        Timesteps are 1000 times the noise level, of whole samples [b] or of tokens [b, t].

        Args:
            video: Noisy latents [b, t, c].
            audio: Noisy latents [b, t, c].
            video_context: Text features [b, t, c] from the video connector.
            audio_context: Text features [b, t, c] from the audio connector.
            video_timestep: 0 for tokens that are clean already.
            audio_timestep: 0 for tokens that are clean already.
            rotary: What `rotary` makes of the tokens' positions.
            video_cross_timestep: What modulates and gates the video where the streams meet. Inference with LTX-2 passes
                the other stream's noise level, that is 1000 times the audio's sigma [b]. None is `video_timestep`, the
                original recipe of LTX-2.0; the two differ only where some tokens, or one stream, are kept clean.
            audio_cross_timestep: Likewise for the audio: 1000 times the video's sigma, or None.
            video_context_bias: From `as_bias`; None if every text position counts.
            audio_context_bias: Likewise for the audio.

        Returns:
            Velocities of video [b, t, c] and audio [b, t, c].
        """
        x, a = self.proj_in(video), self.audio_proj_in(audio)
        dtype = x.dtype
        video_modulation, video_features = self.time_embed(video_timestep, dtype)
        audio_modulation, audio_features = self.audio_time_embed(audio_timestep, dtype)
        video_cross, video_gate = self._between(
            self.av_cross_attn_video_scale_shift,
            self.av_cross_attn_video_a2v_gate,
            video_timestep if video_cross_timestep is None else video_cross_timestep,
            dtype,
        )
        audio_cross, audio_gate = self._between(
            self.av_cross_attn_audio_scale_shift,
            self.av_cross_attn_audio_v2a_gate,
            audio_timestep if audio_cross_timestep is None else audio_cross_timestep,
            dtype,
        )
        conditions = Conditions(
            video=video_modulation,
            audio=audio_modulation,
            video_cross=video_cross,
            audio_cross=audio_cross,
            video_gate=video_gate,
            audio_gate=audio_gate,
            video_context=self.caption_projection(video_context),
            audio_context=self.audio_caption_projection(audio_context),
            video_context_bias=video_context_bias,
            audio_context_bias=audio_context_bias,
            rotary=rotary,
        )
        for block in self.transformer_blocks:
            x, a = block(x, a, conditions)
        x = self.proj_out(self._head(x, self.scale_shift_table, video_features))
        a = self.audio_proj_out(self._head(a, self.audio_scale_shift_table, audio_features))
        return x, a

    def _between(self, scale_shift: nn.Module, gate: nn.Module, t: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Modulation and gate of a stream where it meets the other one; a gate may read t on a scale of its own."""
        c = self.config
        factor = c.cross_attn_timestep_scale_multiplier / c.timestep_scale_multiplier
        return scale_shift(t, dtype)[0], gate(t * factor, dtype)[0]

    @staticmethod
    def _head(x: Tensor, table: Tensor, features: Tensor) -> Tensor:
        """The last norm, modulated by the features [b, 1 or t, d] of the timestep."""
        shift, scale = rows(table, features[:, :, None])
        return modulate(F.layer_norm(x, x.shape[-1:], eps=1e-6), scale, shift)
