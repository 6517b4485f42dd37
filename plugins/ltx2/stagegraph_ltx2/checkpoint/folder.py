"""A checkpoint in the diffusers folder layout: what is there, and where. Reads no weights and needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from stagegraph.errors import Fault
from stagegraph_ltx2.checkpoint.assembly import Pieces
from stagegraph_ltx2.checkpoint.components import COMPONENTS, Component
from stagegraph_ltx2.checkpoint.containment import outside
from stagegraph_ltx2.checkpoint.contents import Asset, ComponentFiles, WeightFile
from stagegraph_ltx2.checkpoint.families import SUPPORTED, family_of, refused, unsupported
from stagegraph_ltx2.checkpoint.hints import contents, download
from stagegraph_ltx2.checkpoint.identify import GEMMA
from stagegraph_ltx2.checkpoint.names import AS_STORED
from stagegraph_ltx2.checkpoint.strict_json import read_object
from stagegraph_ltx2.checkpoint.weights import weight_files
from stagegraph_ltx2.errors import failure, fault, plain, raise_all

INDEX = "model_index.json"

#: What folders with a tokenizer or a processor have beside their vocabulary.
SIDE_FILES = ("*.json", "*.jinja")


def open_folder(root: Path) -> Pieces:
    """The pieces of a folder with a `model_index.json`.

    Raises:
        ComponentError: an index that is damaged, or of another model or release.
    """
    index = read_index(root)
    classes = declared_classes(root / INDEX, index)
    if str(classes.get("text_encoder", "")).startswith("Gemma4"):
        raise refused(root / INDEX, "2.5")
    raise_all(_unsupported(root / INDEX, classes))
    fixes = {name: download(root, f"{name}/*") for name in COMPONENTS}
    pieces = Pieces(root, "diffusers", _family(root, classes), fixes=fixes)
    for name in COMPONENTS:
        if (root / name).is_dir():
            pieces.look(name, partial(component_in, root, root / name, name))
    pieces.distilled, pieces.evidence = distilled_by_scheduler(pieces)
    return pieces


def _family(root: Path, classes: Mapping[str, str]) -> str | None:
    """The release that the index or the transformer's configuration tells, whether or not there are weights."""
    path = root / "transformer" / COMPONENTS["transformer"].config
    if not path.is_file():
        return "2.3" if classes.get("vocoder") == "LTX2VocoderWithBWE" else None
    raise_all([outside(path, path.parent, root)])
    return family_of("transformer", read_object(path))


def read_index(root: Path) -> Mapping[str, Any]:
    """The content of `model_index.json`.

    Raises:
        ComponentError: it is damaged, leads out of the folder, or names another family of models.
    """
    raise_all([outside(root / INDEX, root, root)])
    index = read_object(root / INDEX)
    pipeline = index.get("_class_name")
    if not isinstance(pipeline, str) or not pipeline.startswith("LTX2"):
        why = f"its model_index.json names another family of models; {SUPPORTED}"
        raise unsupported(root / INDEX, f"the folder holds a {pipeline!r:.80}", why)
    return index


def distilled_by_scheduler(pieces: Pieces) -> tuple[bool | None, str]:
    """Whether a model is distilled, and what says so: such models shift no noise levels."""
    scheduler = pieces.found.get("scheduler")
    shifting = scheduler.config.get("use_dynamic_shifting") if scheduler else None
    if not isinstance(shifting, bool) or scheduler is None:
        return None, ""
    return not shifting, f"{scheduler.config_path.name}: use_dynamic_shifting is {str(shifting).lower()}"


def component_in(root: Path, folder: Path, name: str) -> ComponentFiles:
    """The files of a component in a folder of its own.

    Raises:
        ComponentError: absent or pickled weights, absent or ambiguous files, a file name that leads out of the
            checkpoint, a class that this release does not open.
    """
    kind = COMPONENTS[name]
    raise_all([outside(folder, root, root)])
    config = _config(root, folder, kind)
    needed = [_present(root, folder / asset) for asset in kind.assets]
    weights = weight_files(root, folder, kind.stem) if kind.stem else []
    assets = side_files(folder) if name == "tokenizer" else {}
    if name == "text_encoder":
        assets = {name: asset for name, asset in side_files(folder).items() if name == "generation_config.json"}
    raise_all(outside(path, folder, root) for path in [*needed, *weights, *(asset.path for asset in assets.values())])
    names = GEMMA if name == "text_encoder" else AS_STORED
    files = tuple(WeightFile(path, names) for path in weights)
    return ComponentFiles(name, folder, config, folder / kind.config, files, assets)


def side_files(folder: Path) -> dict[str, Asset]:
    """The small files of a tokenizer or a processor, by name."""
    found = sorted(path for pattern in SIDE_FILES for path in folder.glob(pattern) if path.is_file())
    skip = ("config.json", INDEX)
    return {path.name: Asset(path) for path in found if path.name not in skip and ".index." not in path.name}


def _config(root: Path, folder: Path, kind: Component) -> Mapping[str, Any]:
    path = _present(root, folder / kind.config)
    raise_all([outside(path, folder, root)])
    config = read_object(path)
    declared = config.get("_class_name") or config.get("tokenizer_class") or config.get("architectures")
    for name in declared if isinstance(declared, list) else [declared]:
        # A plain tokenizer class says nothing about the vocabulary, and we read the vocabulary only.
        if name is not None and name not in kind.classes and kind.stem is not None:
            raise unsupported(
                path,
                f"{folder.name} is a {plain(str(name))}",
                why=f"this release opens {' or '.join(kind.classes)}",
                fix=download(root, f"{folder.name}/*"),
            )
    return MappingProxyType(dict(config))


def _present(root: Path, path: Path) -> Path:
    if not path.is_file():
        raise failure(
            "missing_file",
            f"{path.parent.name}/{path.name} is absent",
            where=path.parent,
            why=contents(path.parent),
            fix=download(root, f"{path.parent.name}/*"),
        )
    return path


def declared_classes(path: Path, index: Mapping[str, Any]) -> dict[str, str]:
    """Component -> class, as an index declares them.

    Raises:
        ComponentError: entries that are no [library, class] pairs.
    """
    classes: dict[str, str] = {}
    faults: list[Fault] = []
    for name, entry in index.items():
        if name.startswith("_") or (not isinstance(entry, list) and name not in COMPONENTS):
            continue  # Settings of the pipeline stand beside its components.
        if entry == [None, None] or entry is None:
            continue
        if isinstance(entry, list) and len(entry) == 2 and all(isinstance(part, str) for part in entry):
            classes[name] = entry[1]
        else:
            faults.append(
                fault(
                    "bad_json",
                    f"{plain(name)}: {entry!r:.80}",
                    where=path,
                    why="components are [library, class] pairs",
                    fix=f"download {path.name} again",
                )
            )
    raise_all(faults)
    return classes


def _unsupported(path: Path, classes: Mapping[str, str]) -> Iterable[Fault]:
    for name, kind in COMPONENTS.items():
        if name in classes and classes[name] not in kind.classes:
            why = f"{name} must be {' or '.join(kind.classes)}; {SUPPORTED}"
            yield from unsupported(path, f"{name} is a {plain(classes[name])}", why).faults
