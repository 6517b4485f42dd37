"""How the official files call what our networks, which have diffusers' names, call otherwise. Needs no torch.

A map works on whole pieces of a dotted name, so that it also takes paths of modules, as in the keys of a LoRA::

    >>> TRANSFORMER.ours("transformer_blocks.0.attn1.q_norm")
    'transformer_blocks.0.attn1.norm_q'
    >>> TRANSFORMER.official("transformer_blocks.0.attn1.norm_q")
    'transformer_blocks.0.attn1.q_norm'
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from types import MappingProxyType

import attrs


@attrs.frozen
class KeyMap:
    """A renaming that goes both ways.

    Args:
        starts: beginnings of names, official -> ours; the longest that fits is replaced.
        pieces: what is replaced anywhere else, official -> ours: one piece of a name, or several with dots.
    """

    starts: Mapping[str, str] = MappingProxyType({})
    pieces: Mapping[str, str] = MappingProxyType({})

    def ours(self, name: str) -> str:
        """From an official name."""
        return self._to_ours(name)

    def official(self, name: str) -> str:
        """From a name of ours."""
        return self._to_official(name)

    @cached_property
    def _to_ours(self) -> Callable[[str], str]:
        return _renaming(self.starts, self.pieces)

    @cached_property
    def _to_official(self) -> Callable[[str], str]:
        return _renaming(*({ours: name for name, ours in table.items()} for table in (self.starts, self.pieces)))


def _renaming(starts: Mapping[str, str], pieces: Mapping[str, str]) -> Callable[[str], str]:
    start = _any_of(starts, before="^")
    piece = _any_of(pieces, before=r"(?<![^.])")

    def rename(name: str) -> str:
        found = start.match(name)
        if found is None:
            return piece.sub(lambda match: pieces[match[0]], name)
        return starts[found[0]] + piece.sub(lambda match: pieces[match[0]], name[found.end() :])

    return rename


def _any_of(words: Mapping[str, str], before: str) -> re.Pattern[str]:
    """Matches whole pieces, the longest first; nothing if there are no words."""
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile(rf"{before}(?:{'|'.join(map(re.escape, longest_first)) or '(?!)'})(?![^.])")


ATTENTION = {"q_norm": "norm_q", "k_norm": "norm_k"}

STATISTICS = {
    "per_channel_statistics.mean-of-means": "latents_mean",
    "per_channel_statistics.std-of-means": "latents_std",
}

TRANSFORMER = KeyMap(
    pieces=MappingProxyType(
        {
            **ATTENTION,
            "patchify_proj": "proj_in",
            "audio_patchify_proj": "audio_proj_in",
            "adaln_single": "time_embed",
            "audio_adaln_single": "audio_time_embed",
            "prompt_adaln_single": "prompt_adaln",
            "audio_prompt_adaln_single": "audio_prompt_adaln",
            "av_ca_video_scale_shift_adaln_single": "av_cross_attn_video_scale_shift",
            "av_ca_audio_scale_shift_adaln_single": "av_cross_attn_audio_scale_shift",
            "av_ca_a2v_gate_adaln_single": "av_cross_attn_video_a2v_gate",
            "av_ca_v2a_gate_adaln_single": "av_cross_attn_audio_v2a_gate",
            "scale_shift_table_a2v_ca_video": "video_a2v_cross_attn_scale_shift_table",
            "scale_shift_table_a2v_ca_audio": "audio_a2v_cross_attn_scale_shift_table",
        }
    )
)

CONNECTORS = KeyMap(
    starts=MappingProxyType(
        {
            "video_embeddings_connector": "video_connector",
            "audio_embeddings_connector": "audio_connector",
            "text_embedding_projection.aggregate_embed": "text_proj_in",
            "text_embedding_projection.video_aggregate_embed": "video_text_proj_in",
            "text_embedding_projection.audio_aggregate_embed": "audio_text_proj_in",
        }
    ),
    pieces=MappingProxyType({**ATTENTION, "transformer_1d_blocks": "transformer_blocks"}),
)

#: Official files number blocks and resamplings of the video VAE together, as they follow each other; the last of the
#: encoder and the first of the decoder are the middle.
LEVELS = 4

VIDEO_VAE = KeyMap(
    starts=MappingProxyType(
        {
            **STATISTICS,
            **{f"encoder.down_blocks.{2 * i}": f"encoder.down_blocks.{i}" for i in range(LEVELS)},
            **{f"encoder.down_blocks.{2 * i + 1}": f"encoder.down_blocks.{i}.downsamplers.0" for i in range(LEVELS)},
            f"encoder.down_blocks.{2 * LEVELS}": "encoder.mid_block",
            "decoder.up_blocks.0": "decoder.mid_block",
            **{f"decoder.up_blocks.{2 * i + 1}": f"decoder.up_blocks.{i}.upsamplers.0" for i in range(LEVELS)},
            **{f"decoder.up_blocks.{2 * i + 2}": f"decoder.up_blocks.{i}" for i in range(LEVELS)},
            "decoder.last_time_embedder": "decoder.time_embedder",
            "decoder.last_scale_shift_table": "decoder.scale_shift_table",
        }
    ),
    pieces=MappingProxyType({"res_blocks": "resnets"}),
)

AUDIO_VAE = KeyMap(starts=MappingProxyType(STATISTICS))

VOCODER = KeyMap(
    pieces=MappingProxyType(
        {
            "conv_pre": "conv_in",
            "conv_post": "conv_out",
            "act_post": "act_out",
            "ups": "upsamplers",
            "resblocks": "resnets",
            "downsample.lowpass": "downsample",
        }
    )
)

#: Upsamplers, and everything in a diffusers folder.
SAME = KeyMap()

#: By the names of components.
OFFICIAL: Mapping[str, KeyMap] = MappingProxyType(
    {
        "transformer": TRANSFORMER,
        "connectors": CONNECTORS,
        "vae": VIDEO_VAE,
        "audio_vae": AUDIO_VAE,
        "vocoder": VOCODER,
        "latent_upsampler": SAME,
    }
)
