"""What a checkpoint becomes in the folder layout of FastVideo. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from stagegraph_ltx2.checkpoint.diffusers_form import DIFFUSERS_VERSION
from stagegraph_ltx2.checkpoint.drafts import Draft, Origin, file_of, gemma_folder
from stagegraph_ltx2.checkpoint.fastvideo import NAMES, TRANSFORMER_NAME
from stagegraph_ltx2.checkpoint.folder import INDEX
from stagegraph_ltx2.checkpoint.keymaps import OFFICIAL
from stagegraph_ltx2.checkpoint.names import AS_STORED, Names
from stagegraph_ltx2.checkpoint.upsampler import FASTVIDEO_CLASS
from stagegraph_ltx2.checkpoint.writing import TensorFile
from stagegraph_ltx2.model.config import ConnectorsConfig, LatentUpsamplerConfig

#: Component -> the class that its configuration and the index name.
CLASSES: Mapping[str, str] = MappingProxyType(
    {
        "transformer": TRANSFORMER_NAME,
        "vae": "CausalVideoAutoencoder",
        "audio_vae": "LTX2AudioDecoder",
        "vocoder": "LTX2Vocoder",
    }
)

#: The official keys of a transformer that FastVideo keeps.
KEPT = (
    "num_attention_heads",
    "attention_head_dim",
    "num_layers",
    "cross_attention_dim",
    "caption_channels",
    "norm_eps",
    "positional_embedding_theta",
    "positional_embedding_max_pos",
    "timestep_scale_multiplier",
    "use_middle_indices_grid",
    "rope_type",
    "in_channels",
    "out_channels",
    "audio_num_attention_heads",
    "audio_attention_head_dim",
    "audio_in_channels",
    "audio_out_channels",
    "audio_cross_attention_dim",
    "audio_positional_embedding_max_pos",
    "av_ca_timestep_scale_multiplier",
    "apply_gated_attention",
    "cross_attention_adaln",
    "caption_proj_before_connector",
    "caption_proj_input_norm",
    "caption_projection_first_linear",
    "caption_projection_second_linear",
)


def fastvideo(origin: Origin) -> Draft:
    """The files of the layout."""
    official = json.loads(origin.official(["transformer", "connectors", "vae", "audio_vae", "vocoder"]))
    made: Draft = {INDEX: file_of(_index(origin))}
    for name, class_name in CLASSES.items():
        config = _transformer(official[name]) if name == "transformer" else official[name]
        made[f"{name}/config.json"] = file_of({**config, "_class_name": class_name})
        metadata = origin.metadata() if name == "transformer" else {"format": "pt"}
        made[f"{name}/model.safetensors"] = TensorFile(origin.tensors(name, Names(keys=OFFICIAL[name])), metadata)
    made["text_encoder/config.json"] = file_of(_text_encoder(origin, official["transformer"]))
    made["text_encoder/model.safetensors"] = TensorFile(origin.tensors("connectors", NAMES["connectors"]), {})
    made |= gemma_folder(origin, "text_encoder/gemma/", "tokenizer/")
    if origin.scheduler is not None:
        made["scheduler/scheduler_config.json"] = file_of(origin.scheduler)
    if origin.has("latent_upsampler"):
        config = LatentUpsamplerConfig.from_dict(origin.files("latent_upsampler").config).to_header()
        made["spatial_upscaler/config.json"] = file_of({**config, "_class_name": FASTVIDEO_CLASS})
        tensors = origin.tensors("latent_upsampler", AS_STORED)
        made["spatial_upscaler/model.safetensors"] = TensorFile(tensors, {"format": "pt"})
    return made


def _index(origin: Origin) -> Mapping[str, Any]:
    classes = {name: ["diffusers", class_name] for name, class_name in CLASSES.items()}
    return {
        "_class_name": "LTX2Pipeline",
        "_diffusers_version": DIFFUSERS_VERSION,
        "text_encoder": ["transformers", "LTX2GemmaTextEncoderModel"],
        "tokenizer": ["transformers", "GemmaTokenizer"],
        **classes,
    }


def _transformer(section: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: section[key] for key in KEPT if key in section}
    return {**kept, "double_precision_rope": section["frequencies_precision"] == "float64"}


def _text_encoder(origin: Origin, section: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the folder with the connectors."""
    c = ConnectorsConfig.from_dict(origin.files("connectors").config)
    made = {key: value for key, value in section.items() if key.startswith(("connector_", "audio_connector_"))}
    made |= {key: section[key] for key in KEPT if key.startswith("caption_proj") and key in section}
    del made["connector_norm_output"]
    width = c.caption_channels * c.text_proj_in_factor
    made |= {
        "architectures": ["LTX2GemmaTextEncoderModel"],
        "hidden_size": c.caption_channels,
        "num_hidden_layers": c.text_proj_in_factor - 1,
        "text_len": 1024,
        "padding_side": "left",
        "gemma_model_path": "",
        "feature_extractor_in_features": width,
        "feature_extractor_out_features": c.caption_channels,
        "connector_positional_embedding_theta": c.rope_theta,
        "connector_rope_type": c.rope_type,
        "connector_double_precision_rope": c.rope_double_precision,
    }
    if c.per_modality_projections:
        made |= {
            "video_feature_extractor_out_features": c.video_hidden_dim,
            "audio_feature_extractor_out_features": c.audio_hidden_dim,
        }
    return made
