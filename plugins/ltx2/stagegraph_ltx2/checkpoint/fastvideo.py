"""A checkpoint in the folder layout of FastVideo: official names and configurations in folders. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from stagegraph_ltx2.checkpoint.assembly import Pieces
from stagegraph_ltx2.checkpoint.components import COMPONENTS
from stagegraph_ltx2.checkpoint.containment import hub_repository, outside
from stagegraph_ltx2.checkpoint.contents import ComponentFiles, WeightFile
from stagegraph_ltx2.checkpoint.families import FASTVIDEO_REPOSITORIES
from stagegraph_ltx2.checkpoint.folder import component_in, distilled_by_scheduler, read_index
from stagegraph_ltx2.checkpoint.gemma import gemma_in_folder
from stagegraph_ltx2.checkpoint.header import read_header
from stagegraph_ltx2.checkpoint.hints import download, download_gemma
from stagegraph_ltx2.checkpoint.identify import GEMMA_STARTS
from stagegraph_ltx2.checkpoint.keymaps import OFFICIAL, KeyMap
from stagegraph_ltx2.checkpoint.names import Names
from stagegraph_ltx2.checkpoint.official_keys import TRANSFORMER_CLASS
from stagegraph_ltx2.checkpoint.official_read import READERS
from stagegraph_ltx2.checkpoint.strict_json import read_object
from stagegraph_ltx2.checkpoint.upsampler import FOLDERS as UPSAMPLER_FOLDERS
from stagegraph_ltx2.checkpoint.upsampler import upsampler_in
from stagegraph_ltx2.checkpoint.weights import weight_files
from stagegraph_ltx2.errors import failure, raise_all
from stagegraph_ltx2.model.config import ConfigError

TRANSFORMER_NAME = "LTX2Transformer3DModel"

#: What FastVideo calls the gates of attention in files.
GATES = KeyMap(
    starts=OFFICIAL["transformer"].starts,
    pieces=MappingProxyType({**OFFICIAL["transformer"].pieces, "to_gate_compress": "to_gate_logits"}),
)

#: Component -> its names; the first of the prefixes is the usual one.
NAMES: Mapping[str, Names] = MappingProxyType(
    {
        "transformer": Names((("model.diffusion_model.", ""), ("model.", ""), ("", "")), GATES),
        "connectors": Names(
            (
                ("embeddings_connector.", "video_embeddings_connector."),
                ("video_connector.", "video_embeddings_connector."),
                ("audio_embeddings_connector.", "audio_embeddings_connector."),
                ("audio_connector.", "audio_embeddings_connector."),
                ("aggregate_embed.", "text_embedding_projection.aggregate_embed."),
                ("video_aggregate_embed.", "text_embedding_projection.video_aggregate_embed."),
                ("audio_aggregate_embed.", "text_embedding_projection.audio_aggregate_embed."),
                ("feature_extractor_linear.aggregate_embed.", "text_embedding_projection.aggregate_embed."),
                ("video_feature_extractor_linear.", "text_embedding_projection.video_aggregate_embed."),
                ("audio_feature_extractor_linear.", "text_embedding_projection.audio_aggregate_embed."),
                ("feature_extractor.", "text_embedding_projection."),
            ),
            OFFICIAL["connectors"],
            GEMMA_STARTS,
        ),
        "vae": Names((("vae.", ""), ("", "")), OFFICIAL["vae"]),
        "audio_vae": Names((("audio_vae.", ""), ("", "")), OFFICIAL["audio_vae"]),
        "vocoder": Names((("", ""),), OFFICIAL["vocoder"]),
    }
)

#: Keys of the transformer's configuration that FastVideo adds and that say nothing about the network.
ADDED = ("num_channels_latents", "patch_size", "stg_block_idx", "qkv_bias")


def is_fastvideo(root: Path, index: Mapping[str, Any]) -> bool:
    """Whether a folder with an index is in this layout: its transformer's class says so."""
    entry = index.get("transformer")
    config = root / "transformer" / "config.json"
    declared = entry[1] if isinstance(entry, list) and len(entry) == 2 else None
    return TRANSFORMER_NAME in (declared, read_object(config).get("_class_name") if config.is_file() else None)


def open_fastvideo(root: Path) -> Pieces:
    """The pieces of a FastVideo folder.

    Raises:
        ComponentError: an index that is damaged, or of another model.
    """
    read_index(root)
    pieces = Pieces(root, "fastvideo", fixes={name: download(root, f"{name}/*") for name in COMPONENTS})
    for name in ("transformer", "vae", "audio_vae", "vocoder"):
        if (root / name).is_dir():
            pieces.look(name, partial(_component, root, name))
    text = root / "text_encoder"
    if text.is_dir():
        pieces.look("connectors", partial(_connectors, root, text))
    if (text / "gemma").is_dir():
        pieces.look_for(["text_encoder", "tokenizer"], partial(gemma_in_folder, root))
    gemma = f"{download_gemma(text / 'gemma')}, or set text_encoder_path to where it is"
    pieces.fixes |= {"text_encoder": gemma, "connectors": download(root, "text_encoder/*")}
    folder = next((root / name for name in UPSAMPLER_FOLDERS if (root / name).is_dir()), None)
    if folder is not None:
        pieces.look("latent_upsampler", partial(upsampler_in, root, folder))
    if (root / "scheduler").is_dir():
        pieces.look("scheduler", partial(component_in, root, root / "scheduler", "scheduler"))
    pieces.distilled, pieces.evidence = distilled_by_scheduler(pieces)
    repository = hub_repository(root) or ""
    if pieces.distilled is None and repository in FASTVIDEO_REPOSITORIES:
        pieces.distilled, pieces.evidence = FASTVIDEO_REPOSITORIES[repository], f"it is {repository}"
    return pieces


def _component(root: Path, name: str) -> ComponentFiles:
    folder = root / name
    path, config, files = _contents(root, folder)
    if name == "transformer":
        config = _official_transformer(config)
    elif name != "vae":  # the official sections name no class
        config.pop("_class_name", None)
    try:
        ours = READERS[name]({name: config}, {})
    except ConfigError as error:
        raise failure("bad_config", "; ".join(error.faults), where=path, why=f"no {name} is built so") from None
    return ComponentFiles(name, folder, ours, path, tuple(WeightFile(file, NAMES[name]) for file in files))


def _contents(root: Path, folder: Path) -> tuple[Path, dict[str, Any], list[Path]]:
    """The configuration of a folder, where it is, and the files of weights."""
    path = folder / "config.json"
    raise_all([outside(path, folder, root)])
    config = dict(read_object(path))
    files = weight_files(root, folder, "model")
    raise_all(outside(file, folder, root) for file in files)
    return path, config, files


def _official_transformer(config: dict[str, Any]) -> dict[str, Any]:
    """The official keys of a transformer's configuration."""
    if config.get("_class_name") == TRANSFORMER_NAME:
        config["_class_name"] = TRANSFORMER_CLASS
    if "double_precision_rope" in config:
        config["frequencies_precision"] = "float64" if config.pop("double_precision_rope") else "float32"
    for key in ADDED:
        config.pop(key, None)
    return config


def _connectors(root: Path, folder: Path) -> ComponentFiles:
    """From the folder of the text encoder, whose configuration is that of the connectors."""
    path, config, files = _contents(root, folder)
    names = NAMES["connectors"]
    shapes = {
        ours: info.shape
        for file in files
        for stored, info in read_header(file).tensors.items()
        if (ours := names.ours(stored)) is not None
    }
    try:
        made = READERS["connectors"]({"transformer": _as_official(config)}, shapes)
    except ConfigError as error:
        raise failure("bad_config", "; ".join(error.faults), where=path, why="no connectors are built so") from None
    if made["per_modality_projections"]:
        widths = (shapes.get(f"{side}_text_proj_in.weight", (0,))[0] for side in ("video", "audio"))
        made["video_hidden_dim"], made["audio_hidden_dim"] = widths
    return ComponentFiles("connectors", folder, made, path, tuple(WeightFile(file, names) for file in files))


def _as_official(config: Mapping[str, Any]) -> dict[str, Any]:
    """The official keys of what the text encoder's configuration says of the connectors."""
    told = {key: value for key, value in config.items() if key.startswith(("connector_", "audio_connector_"))}
    renamed = {
        "positional_embedding_theta": told.pop("connector_positional_embedding_theta", 10000.0),
        "rope_type": told.pop("connector_rope_type", "split"),
        "frequencies_precision": "float64" if told.pop("connector_double_precision_rope", False) else "float32",
        "caption_channels": config.get("hidden_size", 3840),
    }
    projected = {key: value for key, value in config.items() if key.startswith("caption_proj")}
    if not projected.get("caption_proj_before_connector"):
        projected = {}
    return {key: value for key, value in {**told, **renamed, **projected}.items() if value is not None}
