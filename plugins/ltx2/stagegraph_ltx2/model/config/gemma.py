"""What the text encoder is built from, as far as its sizes go. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

#: What transformers takes where a configuration of Gemma 3 says nothing.
DEFAULTS: Mapping[str, int | float] = {
    "vocab_size": 262_208,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 131_072,
    "rms_norm_eps": 1e-6,
    "sliding_window": 4096,
}


@attrs.frozen
class GemmaConfig:
    """The text model of Gemma 3, by the keys of its `config.json`; None is whatever the checkpoint has."""

    vocab_size: int | None = None
    hidden_size: int | None = None
    intermediate_size: int | None = None
    num_hidden_layers: int | None = None
    num_attention_heads: int | None = None
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    max_position_embeddings: int | None = None  # tokens
    rms_norm_eps: float | None = None
    sliding_window: int | None = None  # tokens

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> GemmaConfig:
        """Read a `config.json`, of the text model alone or of one that sees as well; other keys are not looked at."""
        stored = data.get("text_config", data)
        return cls(**{name: stored.get(name, default) for name, default in DEFAULTS.items()})
