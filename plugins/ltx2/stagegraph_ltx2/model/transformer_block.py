"""One layer of the transformer: each stream attends to itself, to the text and to the other stream."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from .adaln import Modulation, modulate, rows
from .attention import Attention, KeyValue
from .conditions import Conditions, Stream, Text
from .config import TransformerConfig
from .layers import FeedForward, learned_table, rms_norm


class Block(nn.Module):
    """One layer. The weightless RMS norms have no entry in the state dict and are functions here."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        c = config
        d, d_audio = c.width, c.audio_width
        attention = partial(Attention, bias=c.attention_bias, out_bias=c.attention_out_bias)
        heads = c.num_attention_heads, c.attention_head_dim
        audio_heads = c.audio_num_attention_heads, c.audio_attention_head_dim

        self.attn1 = attention(d, *heads, gated=c.gated_attn)
        self.audio_attn1 = attention(d_audio, *audio_heads, gated=c.audio_gated_attn)
        self.attn2 = attention(d, *heads, gated=c.gated_attn)
        self.audio_attn2 = attention(d_audio, *audio_heads, gated=c.audio_gated_attn)
        self.audio_to_video_attn = attention(d, *audio_heads, context_width=d_audio, gated=c.gated_attn)
        self.video_to_audio_attn = attention(d_audio, *audio_heads, context_width=d, gated=c.audio_gated_attn)
        self.ff = FeedForward(d, bias=c.ff_bias)
        self.audio_ff = FeedForward(d_audio, bias=c.audio_ff_bias)

        # Rows: shift, scale and gate of self-attention, of the feed-forward, and maybe of attention to the text.
        self.scale_shift_table = learned_table(9 if c.cross_attn_mod else 6, d)
        self.audio_scale_shift_table = learned_table(9 if c.audio_cross_attn_mod else 6, d_audio)
        # Rows: shift and scale of the text.
        self.prompt_scale_shift_table = learned_table(2, d) if c.modulates_text else None
        self.audio_prompt_scale_shift_table = learned_table(2, d_audio) if c.modulates_text else None
        # Rows: scale and shift for audio-to-video, scale and shift for video-to-audio, and the gate of the own stream.
        self.video_a2v_cross_attn_scale_shift_table = learned_table(5, d)
        self.audio_a2v_cross_attn_scale_shift_table = learned_table(5, d_audio)
        self.norm = partial(rms_norm, eps=c.norm_eps)

    def forward(
        self,
        x: Tensor,
        a: Tensor,
        text: Text | tuple[KeyValue, KeyValue],
        c: Conditions,
        *,
        video_perturbed: bool = False,
        audio_perturbed: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Update the video stream x [b, t, d] and the audio stream a [b, t, d].

        Args:
            x: Video tokens.
            a: Audio tokens.
            text: The prompt, or what `read` makes of it.
            c: All the rest.
            video_perturbed: Whether video tokens do not attend to each other, in the samples that are perturbed.
            audio_perturbed: Likewise for the audio.
        """
        video_text, audio_text = self.read(text, c.video.prompt, c.audio.prompt) if isinstance(text, Text) else text
        table, audio_table, kept = self.scale_shift_table, self.audio_scale_shift_table, c.perturbation.kept
        x = self._attend_to_self(x, self.attn1, table, c.video, video_perturbed, kept)
        a = self._attend_to_self(a, self.audio_attn1, audio_table, c.audio, audio_perturbed, kept)
        x = self._attend_to_text(x, self.attn2, table, c.video, video_text)
        a = self._attend_to_text(a, self.audio_attn2, audio_table, c.audio, audio_text)
        if not c.perturbation.isolated:
            x, a = self._attend_to_each_other(x, a, c)
        x = self._feed_forward(x, self.ff, table, c.video)
        a = self._feed_forward(a, self.audio_ff, audio_table, c.audio)
        return x, a

    def read(
        self, text: Text, video_prompt: Modulation | None = None, audio_prompt: Modulation | None = None
    ) -> tuple[KeyValue, KeyValue]:
        """Keys and values of the text, for the video and for the audio stream; modulated where it is configured."""
        video, audio = text.video, text.audio
        if self.prompt_scale_shift_table is not None and self.audio_prompt_scale_shift_table is not None:
            video = _modulate_text(video, self.prompt_scale_shift_table, video_prompt)
            audio = _modulate_text(audio, self.audio_prompt_scale_shift_table, audio_prompt)
        return self.attn2.read(video), self.audio_attn2.read(audio)

    def _attend_to_self(
        self, x: Tensor, attention: Attention, table: Tensor, stream: Stream, perturbed: bool, kept: Tensor | None
    ) -> Tensor:
        shift, scale, gate = rows(table, stream.modulation, 0, 3)
        n = modulate(self.norm(x), scale, shift)
        if not perturbed:
            y = attention(n, rope=stream.rope, bias=stream.bias, attend=stream.attend)
        elif kept is None:
            y = attention.unmixed(n)
        else:
            mixed = attention(n, rope=stream.rope, bias=stream.bias, attend=stream.attend)
            y = torch.lerp(attention.unmixed(n), mixed, kept[:, None, None].type_as(n))
        return torch.addcmul(x, gate, y)

    def _attend_to_text(self, x: Tensor, attention: Attention, table: Tensor, stream: Stream, text: KeyValue) -> Tensor:
        if len(table) == 6:
            y: Tensor = x + attention(self.norm(x), text, bias=stream.text_bias)
            return y
        shift, scale, gate = rows(table, stream.modulation, 6, 9)
        return torch.addcmul(x, gate, attention(modulate(self.norm(x), scale, shift), text, bias=stream.text_bias))

    def _attend_to_each_other(self, x: Tensor, a: Tensor, c: Conditions) -> tuple[Tensor, Tensor]:
        table, audio_table = self.video_a2v_cross_attn_scale_shift_table, self.audio_a2v_cross_attn_scale_shift_table
        x_scale, x_shift, x_scale_back, x_shift_back = rows(table[:4], c.video.cross)
        a_scale, a_shift, a_scale_back, a_shift_back = rows(audio_table[:4], c.audio.cross)
        (gate,) = rows(table[4:], c.video.gate)
        (audio_gate,) = rows(audio_table[4:], c.audio.gate)
        # Both directions read the streams as they were before either was updated.
        x_norm, a_norm = self.norm(x), self.norm(a)
        to_video = self.audio_to_video_attn(
            modulate(x_norm, x_scale, x_shift),
            modulate(a_norm, a_scale, a_shift),
            rope=c.video.cross_rope,
            context_rope=c.audio.cross_rope,
            bias=c.video.cross_bias,
            attend=c.video.cross_attend,
        )
        to_audio = self.video_to_audio_attn(
            modulate(a_norm, a_scale_back, a_shift_back),
            modulate(x_norm, x_scale_back, x_shift_back),
            rope=c.audio.cross_rope,
            context_rope=c.video.cross_rope,
            bias=c.audio.cross_bias,
            attend=c.audio.cross_attend,
        )
        return torch.addcmul(x, gate, to_video), torch.addcmul(a, audio_gate, to_audio)

    def _feed_forward(self, x: Tensor, feed_forward: FeedForward, table: Tensor, stream: Stream) -> Tensor:
        shift, scale, gate = rows(table, stream.modulation, 3, 6)
        return torch.addcmul(x, gate, feed_forward(modulate(self.norm(x), scale, shift)))


def _modulate_text(text: Tensor, table: Tensor, modulation: Modulation | None) -> Tensor:
    """Shift and scale the text by the table, and by what follows the noise level if anything does."""
    shift, scale = table if modulation is None else rows(table, modulation)
    return modulate(text, scale, shift)
