"""The text encoder and its tokenizer, which lie in a folder as Hugging Face has them or in one file. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stagegraph.errors import ComponentError
from stagegraph_ltx2.checkpoint.components import GEMMA_REPOSITORY
from stagegraph_ltx2.checkpoint.containment import root_of
from stagegraph_ltx2.checkpoint.contents import Asset, ComponentFiles, WeightFile
from stagegraph_ltx2.checkpoint.families import refused, unsupported
from stagegraph_ltx2.checkpoint.folder import component_in
from stagegraph_ltx2.checkpoint.header import Header
from stagegraph_ltx2.checkpoint.hints import contents, download_gemma
from stagegraph_ltx2.checkpoint.identify import ASSET, GEMMA, SENTENCEPIECE, TOKENIZER
from stagegraph_ltx2.checkpoint.official_file import json_in
from stagegraph_ltx2.checkpoint.strict_json import JSON_LIMIT, parse_object, read_bounded, read_object
from stagegraph_ltx2.errors import failure, plain, unreadable

#: In the header of a text encoder's file: the content of its `config.json`.
CONFIG = "gemma_config"

#: What the bytes of a tokenizer have at most.
TOKENIZER_LIMIT = 200_000_000

Both = tuple[ComponentFiles, ComponentFiles]


def is_gemma(folder: Path) -> bool:
    """Whether a folder has the configuration of a Gemma model."""
    path = folder / "config.json"
    try:
        return path.is_file() and str(read_object(path).get("model_type", "")).startswith("gemma")
    except ComponentError:
        return False


def gemma_in_folder(folder: Path) -> Both:
    """The text encoder and the tokenizer in a folder: both at its top, or in folders of these names.

    Raises:
        ComponentError: one of them is absent, damaged or of another kind.
    """
    if not (folder / "config.json").exists() and (folder / "text_encoder").is_dir():
        nested = folder / "text_encoder" / "gemma"
        own = nested if nested.is_dir() else nested.parent
        apart = folder / "tokenizer"
        root = root_of(folder)
        return _encoder(root, own), tokenizer_in(root, apart if apart.is_dir() else own)
    if not (folder / "config.json").is_file():
        raise failure(
            "missing_file",
            f"{folder} has no config.json",
            where=folder,
            why=f"a folder with Gemma 3 has one, beside its weights and its tokenizer; {contents(folder)}",
            fix=download_gemma(folder),
        )
    beside = folder.parent / "tokenizer"
    place = beside if beside.is_dir() and not (folder / "tokenizer.json").exists() else folder
    return _encoder(root_of(folder), folder), tokenizer_in(root_of(place), place)


def _encoder(root: Path, folder: Path) -> ComponentFiles:
    path = folder / "config.json"
    if path.is_file():
        _check_kind(path, read_object(path))
    return component_in(root, folder, "text_encoder")


def _check_kind(path: Path, config: Mapping[str, Any]) -> None:
    kind = str(config.get("model_type", ""))
    if kind.startswith("gemma4"):
        raise refused(path, "2.5")
    if not kind.startswith("gemma3"):
        raise unsupported(
            path,
            f"the text encoder is a {plain(kind) or 'model that does not say its type'}",
            why="LTX-2.0 and LTX-2.3 read the hidden states of Gemma 3",
            fix=download_gemma(Path("gemma")),
        )


def tokenizer_in(root: Path, folder: Path) -> ComponentFiles:
    """The tokenizer in a folder.

    Raises:
        ComponentError: it is absent or damaged.
    """
    absent = [name for name in ("tokenizer.json", "tokenizer_config.json") if not (folder / name).is_file()]
    if absent:
        raise failure(
            "missing_file",
            f"{folder.name} has no {' and no '.join(absent)}",
            where=folder,
            why="prompts are cut into tokens by the tokenizer of the text encoder",
            fix=f"hf download {GEMMA_REPOSITORY} {' '.join(absent)} --local-dir {folder}",
        )
    return component_in(root, folder, "tokenizer")


def gemma_in_file(header: Header) -> Both:
    """The text encoder and the tokenizer in one file.

    Raises:
        ComponentError: the file has no configuration or no tokenizer, or those of another model.
    """
    path = header.path
    config = json_in(header, CONFIG)
    if not config:
        raise failure(
            "bad_config",
            f"{path.name} does not say which text encoder it is",
            where=path,
            why=f'files of text encoders have the key "{CONFIG}" in their header',
            fix=f"set text_encoder_path to a folder with Gemma 3: {download_gemma(Path('gemma'))}",
        )
    _check_kind(path, config)
    assets = _assets(header)
    if "tokenizer.json" not in assets or "tokenizer_config.json" not in assets:
        packed = f"; it has {SENTENCEPIECE}, a format that is not read here" if SENTENCEPIECE in header.tensors else ""
        raise failure(
            "bad_tokenizer",
            f"{path.name} has no tokenizer",
            where=path,
            why=f"such files hold it as {TOKENIZER} and {ASSET}tokenizer_config.json{packed}",
            fix=f"set text_encoder_path to a folder with Gemma 3: {download_gemma(Path('gemma'))}",
        )
    encoder = ComponentFiles("text_encoder", path, config, path, (WeightFile(path, GEMMA),))
    settings = _tokenizer_config(assets["tokenizer_config.json"])
    return encoder, ComponentFiles("tokenizer", path, settings, path, (), assets)


def _assets(header: Header) -> dict[str, Asset]:
    """The files that tensors hold as bytes, by name."""
    found = {}
    for name, info in header.tensors.items():
        # A name with a separator would be a path.
        own = "tokenizer.json" if name == TOKENIZER else name.removeprefix(ASSET)
        if (name == TOKENIZER or name.startswith(ASSET)) and info.dtype in ("U8", "I8") and Path(own).name == own:
            found[own] = Asset(header.path, info.offset, info.nbytes)
    return found


def _tokenizer_config(asset: Asset) -> Mapping[str, Any]:
    try:
        return parse_object(asset_bytes(asset, JSON_LIMIT))
    except ValueError as error:
        raise failure(
            "bad_json",
            f"tokenizer_config.json in {asset.path.name}: {error}",
            where=asset.path,
            why="configurations are JSON objects in which every key appears once",
            fix=f"download {asset.path.name} again",
        ) from None


def asset_bytes(asset: Asset, limit: int = TOKENIZER_LIMIT) -> bytes:
    """The content of an asset.

    Raises:
        ComponentError: absent, unreadable, or larger than a limit.
    """
    if asset.size is None:
        return read_bounded(asset.path, limit)
    if asset.size > limit:
        raise failure(
            "too_large",
            f"{asset.path.name} holds a file of {asset.size} bytes",
            where=asset.path,
            why=f"files of its kind have at most {limit} bytes",
            fix=f"download {asset.path.name} again",
        )
    try:
        with asset.path.open("rb") as file:
            file.seek(asset.offset)
            return file.read(asset.size)
    except OSError as error:
        raise unreadable(asset.path, error) from None
