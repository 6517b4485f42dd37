"""The transformer and the connectors, from the configuration in an official file. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stagegraph_ltx2.checkpoint import official_keys as keys
from stagegraph_ltx2.checkpoint.official_section import MISSING, Section, Shapes
from stagegraph_ltx2.model.config import ConfigError, ConnectorsConfig, TransformerConfig


def read_transformer(config: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """The configuration of the transformer, from the section of its name."""
    section = _transformer_section(config)
    made = {"_class_name": TransformerConfig.diffusers_class, **section.renamed(keys.TRANSFORMER)}
    time, height, width = _positions(section, "positional_embedding_max_pos", [20, 2048, 2048])
    (audio_time,) = _positions(section, "audio_positional_embedding_max_pos", [20])
    made |= {"pos_embed_max_pos": time, "base_height": height, "base_width": width}
    made |= {"audio_pos_embed_max_pos": audio_time}
    made["rope_double_precision"] = section.take("frequencies_precision") == "float64"
    gated, modulated = section.take("apply_gated_attention", False), section.take("cross_attention_adaln", False)
    made |= {"gated_attn": gated, "audio_gated_attn": gated}
    made |= {"cross_attn_mod": modulated, "audio_cross_attn_mod": modulated}
    first = _projected_first(section)
    # All that were trained for the perturbed pass of guidance project their text first.
    made |= {"use_prompt_embeddings": not first, "perturbed_attn": first}
    section.drop({key for key in section.rest if key.startswith(("connector_", "audio_connector_"))})
    section.close()
    return made


def read_connectors(config: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """The configuration of the connectors, which the transformer's section tells.

    Args:
        config: the whole.
        shapes: of their tensors by our names: that of the projection tells how many layers it reads.
    """
    section = _transformer_section(config)
    first = _projected_first(section)
    channels = section.whole("caption_channels", 3840)
    heads, head_dim, layers, registers = (
        section.take(f"connector_{key}", default)
        for key, default in (
            ("num_attention_heads", 30),
            ("attention_head_dim", 128),
            ("num_layers", 2),
            ("num_learnable_registers", 128),
        )
    )
    gated = section.take("connector_apply_gated_attention", False)
    made: dict[str, Any] = {
        "_class_name": ConnectorsConfig.diffusers_class,
        "caption_channels": channels,
        "text_proj_in_factor": _layers_read(shapes, channels),
        "per_modality_projections": first,
        "proj_bias": first,
        "rope_theta": section.take("positional_embedding_theta", 10000.0),
        "rope_type": section.take("rope_type"),
        "rope_double_precision": section.take("frequencies_precision") == "float64",
    }
    (made["connector_rope_base_seq_len"],) = _positions(section, "connector_positional_embedding_max_pos", [1])
    for side, prefix in (("video", ""), ("audio", "audio_")):
        made |= {
            f"{side}_connector_num_attention_heads": section.take(f"{prefix}connector_num_attention_heads", heads),
            f"{side}_connector_attention_head_dim": section.take(f"{prefix}connector_attention_head_dim", head_dim),
            f"{side}_connector_num_layers": section.take(f"{prefix}connector_num_layers", layers),
            f"{side}_connector_num_learnable_registers": registers,
            f"{side}_gated_attn": gated,
        }
    if first:
        made["video_hidden_dim"] = section.whole("num_attention_heads", 32) * section.whole("attention_head_dim", 128)
        audio = section.whole("audio_num_attention_heads", 32) * section.whole("audio_attention_head_dim", 64)
        made["audio_hidden_dim"] = audio
    section.check()
    return made


def _transformer_section(config: Mapping[str, Any]) -> Section:
    values = config.get("transformer")
    section = Section("transformer", values)
    section.rest = {**keys.TRANSFORMER_DEFAULTS, **section.rest}
    section.same({"_class_name": keys.TRANSFORMER_CLASS, **keys.TRANSFORMER_CONSTANTS, **keys.TRANSFORMER_UNWRITTEN})
    section.drop(keys.NOTES)
    return section


def _projected_first(section: Section) -> bool:
    """Whether the text is projected before the connectors; every key of this must agree."""
    told = {key: section.take(key) for key in keys.PROJECTED_FIRST if key in section.rest}
    norm = told.get("text_encoder_norm_type")
    if isinstance(norm, str):
        told["text_encoder_norm_type"] = norm.lower()
    if not told or told.get("caption_proj_before_connector") is False:
        return False
    for key, value in keys.PROJECTED_FIRST.items():
        if told.get(key, value if key == "text_encoder_norm_type" else MISSING) != value:
            found = f"{told[key]!r}" if key in told else "absent"
            section.faults.append(f"{key} is {found}, and must be {value!r} where text is projected first")
    return True


def _positions(section: Section, key: str, default: list[int]) -> list[int]:
    found = section.take(key, default)
    if not isinstance(found, list) or len(found) != len(default) or not all(type(one) is int for one in found):
        section.faults.append(f"{key}={found!r} must be {len(default)} whole numbers")
        return default
    return found


def _layers_read(shapes: Shapes, channels: int) -> int:
    """How many hidden states of the text encoder the projection reads."""
    shape = next(
        (shapes[name] for name in ("text_proj_in.weight", "video_text_proj_in.weight") if name in shapes), None
    )
    if shape is None or len(shape) != 2 or channels < 1 or shape[1] % channels:
        what = "absent" if shape is None else f"of shape {list(shape)}"
        raise ConfigError("connectors", (f"the projection of the text is {what}, for caption_channels={channels!r}",))
    return shape[1] // channels
