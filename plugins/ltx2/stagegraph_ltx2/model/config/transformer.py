"""What the transformer is built from. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from .base import Config, depth, odd_heads, only, positive, size


@attrs.frozen
class TransformerConfig(Config):
    """The audio-video transformer.

    Beyond the class defaults, all releases have rope_type "split". LTX-2.3 also has the two gated_attn, the two
    cross_attn_mod and perturbed_attn, and no use_prompt_embeddings; LTX-2.5 has in addition
    use_keyframes_abs_pos_embedding and no ff_bias.
    """

    diffusers_class = "LTX2VideoTransformer3DModel"

    in_channels: int = size(128)
    out_channels: int | None = size(128)  # None: as many as in_channels
    patch_size: int = only(1)
    patch_size_t: int = only(1)
    num_attention_heads: int = size(32)
    attention_head_dim: int = size(128)
    cross_attention_dim: int = size(4096)
    vae_scale_factors: tuple[int, int, int] = only((8, 32, 32))
    pos_embed_max_pos: int = size(20)  # seconds
    base_height: int = size(2048)  # pixels
    base_width: int = size(2048)
    gated_attn: bool = False
    cross_attn_mod: bool = False
    audio_in_channels: int = size(128)
    audio_out_channels: int | None = size(128)
    audio_patch_size: int = only(1)
    audio_patch_size_t: int = only(1)
    audio_num_attention_heads: int = size(32)
    audio_attention_head_dim: int = size(64)
    audio_cross_attention_dim: int = size(2048)
    audio_scale_factor: int = only(4)
    audio_pos_embed_max_pos: int = size(20)  # seconds
    audio_sampling_rate: int = only(16000)
    audio_hop_length: int = only(160)
    audio_gated_attn: bool = False
    audio_cross_attn_mod: bool = False
    num_layers: int = depth(48, least=1)
    activation_fn: str = only("gelu-approximate")
    qk_norm: str = only("rms_norm_across_heads")
    norm_elementwise_affine: bool = only(False)
    norm_eps: float = positive(1e-6)
    caption_channels: int = size(3840)  # read together with use_prompt_embeddings only
    attention_bias: bool = True
    attention_out_bias: bool = True
    rope_theta: float = positive(10000.0)
    rope_double_precision: bool = True
    causal_offset: int = only(1)
    timestep_scale_multiplier: int = size(1000)
    cross_attn_timestep_scale_multiplier: int = size(1000)
    rope_type: str = only("interleaved", "split")
    use_prompt_embeddings: bool = True  # project the text to the streams' widths
    perturbed_attn: bool = False  # says which guidance passes were trained for; the weights are the same
    ff_bias: bool = True
    audio_ff_bias: bool = True
    use_prompt_adaln_single: bool = True  # read together with cross_attn_mod only
    use_keyframes_abs_pos_embedding: bool = False

    @property
    def width(self) -> int:
        """d of the video stream."""
        return self.num_attention_heads * self.attention_head_dim

    @property
    def audio_width(self) -> int:
        """d of the audio stream, and of the attention between the streams."""
        return self.audio_num_attention_heads * self.audio_attention_head_dim

    @property
    def modulates_text(self) -> bool:
        """Whether each block scales and shifts the text; for both streams as soon as one asks for it."""
        return self.cross_attn_mod or self.audio_cross_attn_mod

    @property
    def text_follows_noise(self) -> bool:
        """Whether the text that a block reads depends on the noise level, besides on the prompt."""
        return self.modulates_text and self.use_prompt_adaln_single

    def _contradictions(self) -> Iterator[str]:
        yield from odd_heads(self, "attention_head_dim", "audio_attention_head_dim")
        for name, width in (("cross_attention_dim", self.width), ("audio_cross_attention_dim", self.audio_width)):
            if getattr(self, name) != width:
                yield f"{name}={getattr(self, name)} must be heads x head dim = {width}"
        if self.num_attention_heads != self.audio_num_attention_heads:
            yield (
                f"num_attention_heads={self.num_attention_heads} and audio_num_attention_heads="
                f"{self.audio_num_attention_heads} must be equal: attention between the streams has one set of heads"
            )
