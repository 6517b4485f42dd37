"""The denoiser: two streams of tokens, video and audio, that attend to themselves, to the text and to each other."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .adaln import AdaLN, Levels, Modulation, modulate, rows, scaled
from .conditions import Attends, Biases, Conditions, CrossTimestep, Perturbation, Rotary, Stream, Text, Timesteps
from .config import TransformerConfig
from .layers import TextProjection, learned_table
from .positions import middles
from .rope import rope
from .transformer_block import Block


class AudioVideoTransformer(nn.Module):
    """Predict the velocity of video and audio tokens, together."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = c = config
        d, d_audio = c.width, c.audio_width
        self.proj_in = nn.Linear(c.in_channels, d)
        self.audio_proj_in = nn.Linear(c.audio_in_channels, d_audio)
        self.keyframes_abs_pos_embedding = (
            nn.Parameter(torch.zeros(1, d)) if c.use_keyframes_abs_pos_embedding else None
        )
        self.caption_projection, self.audio_caption_projection = (
            TextProjection(c.caption_channels, width) if c.use_prompt_embeddings else nn.Identity()
            for width in (d, d_audio)
        )

        self.time_embed = AdaLN(d, 9 if c.cross_attn_mod else 6)
        self.audio_time_embed = AdaLN(d_audio, 9 if c.audio_cross_attn_mod else 6)
        self.av_cross_attn_video_scale_shift = AdaLN(d, 4)
        self.av_cross_attn_audio_scale_shift = AdaLN(d_audio, 4)
        self.av_cross_attn_video_a2v_gate = AdaLN(d, 1)
        self.av_cross_attn_audio_v2a_gate = AdaLN(d_audio, 1)
        self.prompt_adaln, self.audio_prompt_adaln = (
            AdaLN(width, 2) if c.text_follows_noise else None for width in (d, d_audio)
        )

        self.transformer_blocks = nn.ModuleList(Block(c) for _ in range(c.num_layers))

        self.scale_shift_table = learned_table(2, d)
        self.audio_scale_shift_table = learned_table(2, d_audio)
        self.proj_out = nn.Linear(d, c.out_channels or c.in_channels)
        self.audio_proj_out = nn.Linear(d_audio, c.audio_out_channels or c.audio_in_channels)

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

    def text(self, video: Tensor, audio: Tensor, *, ahead: bool = False) -> Text:
        """Prepare a prompt, once for a whole denoising loop.

        Args:
            video: Text features [b, t, c] from the video connector.
            audio: Text features [b, t, c] from the audio connector.
            ahead: Also compute what each block reads of them: 1.2 GB a prompt in bf16 at the released size, for which
                every step saves the keys and values of 1024 tokens. Does nothing where these follow the noise level.
        """
        text = Text(self.caption_projection(video), self.audio_caption_projection(audio))
        if not ahead or self.config.text_follows_noise:
            return text
        blocks = cast("Iterable[Block]", self.transformer_blocks)
        return text._replace(read=tuple(block.read(text) for block in blocks))

    def forward(
        self,
        video: Tensor,
        audio: Tensor,
        text: Text,
        timesteps: Timesteps,
        rotary: Rotary,
        *,
        biases: Biases | None = None,
        perturbation: Perturbation | None = None,
        cross_timestep: CrossTimestep = "other",
        keyframes: Tensor | None = None,
        attends: Attends | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Predict the velocity (noise minus clean latent) of each token.

        Args:
            video: Noisy latents [b, t, c].
            audio: Noisy latents [b, t, c].
            text: What `text` makes of the prompt.
            timesteps: How noisy the latents are.
            rotary: What `rotary` makes of the tokens' positions.
            biases: Which tokens may not be seen; None hides nothing.
            perturbation: What to leave out; None is nothing.
            cross_timestep: By which noise level the streams are modulated where they meet.
            keyframes: [b, t], 1 for video tokens that stand for a single pixel frame, 0 for the others; only for a
                network that has an embedding of them.
            attends: How attention is computed; None is among the tokens given.

        Returns:
            Velocities of video [b, t, c] and audio [b, t, c].
        """
        perturbation = perturbation or Perturbation()
        self._check(perturbation, keyframes)
        x, a = self.proj_in(video), self.audio_proj_in(audio)
        if self.keyframes_abs_pos_embedding is not None and keyframes is not None:
            x = x + keyframes[:, :, None].type_as(x) * self.keyframes_abs_pos_embedding
        modulation, features = self.time_embed(timesteps.video, x.dtype)
        audio_modulation, audio_features = self.audio_time_embed(timesteps.audio, x.dtype)
        conditions = Conditions(
            *self._streams(
                (modulation, audio_modulation),
                timesteps,
                rotary,
                biases or Biases(),
                attends or Attends(),
                cross_timestep,
            ),
            perturbation,
        )
        for i, block in enumerate(self.transformer_blocks):
            x, a = block(
                x,
                a,
                text.read[i] if text.read else text,
                conditions,
                video_perturbed=i in perturbation.video_blocks,
                audio_perturbed=i in perturbation.audio_blocks,
            )
        x = self.proj_out(self._head(x, self.scale_shift_table, features))
        a = self.audio_proj_out(self._head(a, self.audio_scale_shift_table, audio_features))
        return x, a

    def _check(self, perturbation: Perturbation, keyframes: Tensor | None) -> None:
        """What is asked for and would have no effect."""
        last = self.config.num_layers - 1
        for block in (*perturbation.video_blocks, *perturbation.audio_blocks):
            if not 0 <= block <= last:
                raise ValueError(f"block {block} cannot be perturbed: the transformer has blocks 0 to {last}")
        if keyframes is not None and self.keyframes_abs_pos_embedding is None:
            raise ValueError("this transformer has no embedding of keyframes")

    def _streams(
        self,
        modulations: tuple[Modulation, Modulation],
        t: Timesteps,
        rotary: Rotary,
        biases: Biases,
        attends: Attends,
        how: CrossTimestep,
    ) -> tuple[Stream, Stream]:
        """What blocks are told of the video and of the audio."""
        video, audio = modulations
        dtype = video.vectors.dtype
        cross, gate = self._between(
            self.av_cross_attn_video_scale_shift, self.av_cross_attn_video_a2v_gate, t.video, t.audio_sigma, how, dtype
        )
        audio_cross, audio_gate = self._between(
            self.av_cross_attn_audio_scale_shift, self.av_cross_attn_audio_v2a_gate, t.audio, t.video_sigma, how, dtype
        )
        prompt = audio_prompt = None
        if self.prompt_adaln is not None and self.audio_prompt_adaln is not None:
            prompt, _ = self.prompt_adaln(t.video_sigma, dtype)
            audio_prompt, _ = self.audio_prompt_adaln(t.audio_sigma, dtype)
        return (
            Stream(
                modulation=video,
                cross=cross,
                gate=gate,
                prompt=prompt,
                rope=rotary.video,
                cross_rope=rotary.video_cross,
                bias=biases.video,
                text_bias=biases.video_text,
                cross_bias=biases.audio_to_video,
                attend=attends.video,
                cross_attend=attends.audio_to_video,
            ),
            Stream(
                modulation=audio,
                cross=audio_cross,
                gate=audio_gate,
                prompt=audio_prompt,
                rope=rotary.audio,
                cross_rope=rotary.audio_cross,
                bias=biases.audio,
                text_bias=biases.audio_text,
                cross_bias=biases.video_to_audio,
                attend=attends.audio,
                cross_attend=attends.video_to_audio,
            ),
        )

    def _between(
        self,
        scale_shift: nn.Module,
        gate: nn.Module,
        own: Tensor | Levels,
        other: Tensor,
        how: CrossTimestep,
        dtype: torch.dtype,
    ) -> tuple[Modulation, Modulation]:
        """Modulation and gate of a stream where it meets the other; a gate may read timesteps on a scale of its own."""
        c = self.config
        factor = c.cross_attn_timestep_scale_multiplier / c.timestep_scale_multiplier
        modulation: Modulation = scale_shift(other if how == "other" else own, dtype)[0]
        gates: Modulation = gate(scaled(own if how == "own" else other, factor), dtype)[0]
        return modulation, gates

    @staticmethod
    def _head(x: Tensor, table: Tensor, features: Modulation) -> Tensor:
        """The last norm, modulated by the features of the timestep."""
        shift, scale = rows(table, features)
        return modulate(F.layer_norm(x, x.shape[-1:], eps=1e-6), scale, shift)
