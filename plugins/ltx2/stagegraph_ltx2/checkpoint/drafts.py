"""Which files a checkpoint becomes in each layout: values that say what is to be written. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from stagegraph_ltx2.checkpoint.components import COMPONENTS
from stagegraph_ltx2.checkpoint.configs import parse
from stagegraph_ltx2.checkpoint.contents import Checkpoint, ComponentFiles
from stagegraph_ltx2.checkpoint.diffusers_form import labelled, model_index
from stagegraph_ltx2.checkpoint.folder import INDEX
from stagegraph_ltx2.checkpoint.gemma import CONFIG as GEMMA_CONFIG
from stagegraph_ltx2.checkpoint.gemma import asset_bytes
from stagegraph_ltx2.checkpoint.header import read_header
from stagegraph_ltx2.checkpoint.identify import ASSET, SENTENCEPIECE, TOKENIZER, official_names
from stagegraph_ltx2.checkpoint.names import AS_STORED, Names
from stagegraph_ltx2.checkpoint.official_file import CONFIG, SCHEDULER
from stagegraph_ltx2.checkpoint.official_write import official_config
from stagegraph_ltx2.checkpoint.stored import Stored, tensors_of
from stagegraph_ltx2.checkpoint.writing import Source, TensorFile
from stagegraph_ltx2.model.config import LatentUpsamplerConfig

#: Path in the folder -> what is written there.
Draft = dict[str, TensorFile | bytes]

NETWORKS = ("transformer", "connectors", "vae", "audio_vae", "vocoder")

#: Keys of a header that are made anew.
MADE = ("format", CONFIG, SCHEDULER, GEMMA_CONFIG, "model_version")


@attrs.frozen
class Origin:
    """A checkpoint that is to be written again.

    Args:
        checkpoint: it.
        name: what its files are called where a layout leaves that open.
        scheduler: of diffusers; None if it is not known whether the model is distilled.
    """

    checkpoint: Checkpoint
    name: str
    scheduler: Mapping[str, Any] | None

    def has(self, name: str) -> bool:
        """Whether it has a component."""
        return name in self.checkpoint.found

    def files(self, name: str) -> ComponentFiles:
        """The files of a component."""
        return self.checkpoint.component(name)

    def tensors(self, name: str, names: Names = AS_STORED) -> dict[str, Source]:
        """The tensors of a component, under the names that they get."""
        return {names.stored(ours): stored for ours, stored in tensors_of(self.files(name)).items()}

    def encoder_tensors(self) -> dict[str, Source]:
        """All tensors of the text encoder, also those that no prompt needs, under the names that they have."""
        skip = (TOKENIZER, ASSET, SENTENCEPIECE, "text_embedding_projection.")
        return {
            name: Stored(header, name, info)
            for header in (read_header(file.path) for file in self.files("text_encoder").weights)
            for name, info in header.tensors.items()
            if not name.startswith(skip)
        }

    def official(self, names: Iterable[str]) -> str:
        """The configuration of components in an official header."""
        configs = {name: self.files(name).config for name in names}
        shapes = {name: {n: s.info.shape for n, s in tensors_of(self.files(name)).items()} for name in names}
        return _json(official_config(configs, shapes))

    def metadata(self) -> dict[str, str]:
        """The metadata of the transformer's file: what it had, and what tells the release and the scheduler."""
        kept = read_header(self.files("transformer").weights[0].path).metadata
        made = {key: value for key, value in kept.items() if key not in MADE}
        version = kept.get("model_version", self.checkpoint.family)
        scheduler = {} if self.scheduler is None else {SCHEDULER: _json(self.scheduler)}
        return {"format": "pt", **made, "model_version": version, **scheduler}

    def assets(self) -> dict[str, bytes]:
        """The files of the tokenizer and of the text encoder, by name."""
        both = {**self.files("text_encoder").assets, **self.files("tokenizer").assets}
        return {name: asset_bytes(asset) for name, asset in both.items()}


def _json(value: Mapping[str, Any], indent: int | None = None) -> str:
    return json.dumps(dict(value), indent=indent, sort_keys=True)


def file_of(value: Mapping[str, Any]) -> bytes:
    """A JSON file."""
    return f"{_json(value, 2)}\n".encode()


def diffusers(origin: Origin) -> Draft:
    """The files of a diffusers folder."""
    made: Draft = {INDEX: file_of(_index(origin))}
    for name in (*NETWORKS, "latent_upsampler"):
        if origin.has(name):
            metadata = origin.metadata() if name == "transformer" else {"format": "pt"}
            made[f"{name}/config.json"] = file_of(_folder_config(origin.files(name)))
            made[f"{name}/{COMPONENTS[name].stem}.safetensors"] = TensorFile(origin.tensors(name), metadata)
    if origin.has("text_encoder"):
        made |= gemma_folder(origin, "text_encoder/", "tokenizer/")
    if origin.scheduler is not None:
        made["scheduler/scheduler_config.json"] = file_of(origin.scheduler)
    return made


def _folder_config(files: ComponentFiles) -> Mapping[str, Any]:
    """What diffusers reads: as it was written, or all that an official header said."""
    if files.config_path.name == "config.json" and "_diffusers_version" in files.config:
        return files.config
    config = parse(files.name, files.config)
    return labelled(config.diffusers_class, config.to_dict())


def _index(origin: Origin) -> Mapping[str, Any]:
    """`model_index.json`; what is absent is null."""
    index = model_index(origin.checkpoint.family)
    for name, entry in index.items():
        if isinstance(entry, list) and entry[0] is not None and not origin.has(name) and name != "scheduler":
            index[name] = [None, None]
    if origin.has("text_encoder"):
        index["text_encoder"] = ["transformers", *origin.files("text_encoder").config.get("architectures", [])[:1]]
    return index


def gemma_folder(origin: Origin, encoder: str, tokenizer: str) -> Draft:
    """The text encoder as Hugging Face has it, and its tokenizer in the same or another folder."""
    made: Draft = {f"{encoder}config.json": file_of(origin.files("text_encoder").config)}
    made[f"{encoder}model.safetensors"] = TensorFile(origin.encoder_tensors(), {"format": "pt"})
    for name, content in origin.assets().items():
        made[f"{encoder if name == 'generation_config.json' else tokenizer}{name}"] = content
    return made


def single(origin: Origin) -> Draft:
    """One official file, with Gemma and an upsampler beside it."""
    tensors: dict[str, Source] = {}
    for name in NETWORKS:
        tensors |= origin.tensors(name, official_names(name))
    metadata = {**origin.metadata(), CONFIG: origin.official(NETWORKS)}
    made: Draft = {f"{origin.name}.safetensors": TensorFile(tensors, metadata)}
    if origin.has("text_encoder"):
        made |= gemma_folder(origin, "gemma/", "gemma/")
    return made | _upsampler(origin, "")


def _upsampler(origin: Origin, folder: str) -> Draft:
    if not origin.has("latent_upsampler"):
        return {}
    config = LatentUpsamplerConfig.from_dict(origin.files("latent_upsampler").config)
    tensors = origin.tensors("latent_upsampler", AS_STORED)
    metadata = {"format": "pt", CONFIG: _json(config.to_header())}
    kind = "spatial" if config.spatial_upsample else "temporal"
    return {f"{folder}{origin.name}-{kind}-upscaler.safetensors": TensorFile(tensors, metadata)}


def split(origin: Origin) -> Draft:
    """A file a component, in the folders that ComfyUI has for them."""
    projection, blocks = _halves(origin.tensors("connectors", official_names("connectors")))
    transformer = origin.tensors("transformer", official_names("transformer"))
    metadata = {**origin.metadata(), CONFIG: origin.official(["transformer", "connectors"])}
    made: Draft = {
        f"diffusion_models/{origin.name}-transformer.safetensors": TensorFile(transformer | blocks, metadata)
    }
    if origin.has("text_encoder"):
        assets: dict[str, Source] = {
            TOKENIZER if name == "tokenizer.json" else ASSET + name: content
            for name, content in origin.assets().items()
        }
        told = {"format": "pt", GEMMA_CONFIG: _json(origin.files("text_encoder").config)}
        tensors = origin.encoder_tensors() | projection | assets
        made[f"text_encoders/{origin.name}-gemma-with-proj.safetensors"] = TensorFile(tensors, told)
    else:
        path = f"text_encoders/{origin.name}-text-projection.safetensors"
        made[path] = TensorFile(projection, {"format": "pt"})
    for file, names in (("video-vae", ("vae",)), ("audio-vae", ("audio_vae", "vocoder"))):
        held = [name for name in names if origin.has(name)]
        if held:
            tensors = {}
            for name in held:
                tensors |= origin.tensors(name, official_names(name))
            told = {"format": "pt", CONFIG: origin.official(held)}
            made[f"vae/{origin.name}-{file}.safetensors"] = TensorFile(tensors, told)
    return made | _upsampler(origin, "latent_upscale_models/")


def _halves(connectors: dict[str, Source]) -> tuple[dict[str, Source], dict[str, Source]]:
    """The projection of the text, which lies with the text encoder, and the blocks, which lie with the transformer."""
    start = "text_embedding_projection."
    projection = {name: source for name, source in connectors.items() if name.startswith(start)}
    return projection, {name: source for name, source in connectors.items() if not name.startswith(start)}
