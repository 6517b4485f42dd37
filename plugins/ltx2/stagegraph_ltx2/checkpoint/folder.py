"""A checkpoint in the diffusers folder layout: what is there, and where. Reads no weights and needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import attrs

from stagegraph.errors import ComponentError, Fault, suggest
from stagegraph_ltx2.checkpoint.containment import outside
from stagegraph_ltx2.checkpoint.fingerprint import fingerprint_files
from stagegraph_ltx2.checkpoint.hints import contents, download
from stagegraph_ltx2.checkpoint.layout import COMPONENTS, SUPPORTED, Component, model_version
from stagegraph_ltx2.checkpoint.strict_json import read_object
from stagegraph_ltx2.checkpoint.weights import weight_files
from stagegraph_ltx2.errors import failure, fault, plain, raise_all, unreadable

INDEX = "model_index.json"


@attrs.frozen
class ComponentFiles:
    """Where a component lies, checked: every file exists and belongs to the checkpoint.

    Args:
        name: "transformer", "vae", …
        folder: its folder.
        config: the content of its configuration file.
        files: its weights, all of them safetensors; for a tokenizer, its vocabulary.
    """

    name: str
    folder: Path
    config: Mapping[str, Any]
    files: tuple[Path, ...]

    @property
    def config_path(self) -> Path:
        """The configuration file."""
        return self.folder / COMPONENTS[self.name].config


@attrs.frozen
class Checkpoint:
    """A folder with a `model_index.json` of a model that this release supports.

    Args:
        root: the folder.
        version: of the model: "2.0".
        classes: component -> class, as `model_index.json` declares them; optional ones that are absent are left out.
    """

    root: Path
    version: str
    classes: Mapping[str, str]

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read `model_index.json` and find out which model it is. Other components are not looked at.

        Raises:
            ComponentError: no such folder, no checkpoint in this layout, or one of another model or version.
        """
        try:
            return cls._open(path)
        except OSError as error:
            raise unreadable(path, error) from None

    @classmethod
    def _open(cls, path: Path) -> Self:
        _check_is_folder(path)
        if not (path / INDEX).exists():
            raise _no_index(path)
        transformer = path / "transformer" / COMPONENTS["transformer"].config
        raise_all(outside(file, path, path) for file in (path / INDEX, transformer))
        index = read_object(path / INDEX)
        classes = _declared_classes(path / INDEX, index)
        version = model_version(classes, read_object(transformer) if transformer.is_file() else {})
        raise_all(_unsupported(path / INDEX, index.get("_class_name"), classes, version))
        return cls(path, version, MappingProxyType(classes))

    @property
    def distilled(self) -> bool | None:
        """Whether the model is distilled, which its scheduler says; None if it has none."""
        if not (self.root / "scheduler").is_dir():
            return None
        shifting = self.component("scheduler").config.get("use_dynamic_shifting")
        return not shifting if isinstance(shifting, bool) else None

    @property
    def names(self) -> tuple[str, ...]:
        """The components that have a folder."""
        return tuple(name for name in COMPONENTS if (self.root / name).is_dir())

    def component(self, name: str) -> ComponentFiles:
        """The files of one component.

        Raises:
            ComponentError: as `components`.
        """
        return self.components([name])[0]

    def components(self, names: Iterable[str]) -> tuple[ComponentFiles, ...]:
        """The files of several components.

        Raises:
            ComponentError: for all of them at once: an unknown or absent component, absent or pickled weights, absent
                or ambiguous files, a file name that leads out of the checkpoint, a class that this release does not
                open.
        """
        found: list[ComponentFiles] = []
        faults: list[Fault] = []
        for name in names:
            try:
                found.append(self._component(name))
            except ComponentError as error:
                faults += error.faults
            except OSError as error:
                faults += unreadable(self.root / name, error).faults
        raise_all(faults)
        return tuple(found)

    def fingerprint(self, name: str, *, whole: bool = False) -> str:
        """The identity of one component, in hex, and the same for a copy of the folder.

        Args:
            name: of the component.
            whole: by every byte of its weights; cheap samples are the default.

        Raises:
            ComponentError: as `components`.
        """
        files = self.component(name)
        return fingerprint_files(files.config_path, files.files, whole=whole)

    def _component(self, name: str) -> ComponentFiles:
        if name not in COMPONENTS:
            raise failure("no_such_component", f'no component is called "{name}"', fix=suggest(name, COMPONENTS))
        layout, folder = COMPONENTS[name], self.root / name
        if not folder.is_dir():
            raise failure(
                "missing_component",
                f"the checkpoint has no {name}/",
                where=self.root,
                why=f"it contains {', '.join(self.names) or 'no component'}",
                fix=download(self.root, f"{name}/*"),
            )
        raise_all([outside(folder, self.root, self.root)])
        config = self._config(folder, layout)
        own = [self._present(folder / asset) for asset in layout.assets]
        weights = weight_files(self.root, folder, layout.stem) if layout.stem else []
        paths = [*own, *weights]
        raise_all(outside(path, folder, self.root) for path in paths)
        return ComponentFiles(name, folder, config, tuple(paths))

    def _config(self, folder: Path, layout: Component) -> Mapping[str, Any]:
        path = self._present(folder / layout.config)
        raise_all([outside(path, folder, self.root)])
        config = read_object(path)
        declared = config.get("_class_name") or config.get("tokenizer_class") or config.get("architectures")
        for name in declared if isinstance(declared, list) else [declared]:
            # A plain tokenizer class says nothing about the vocabulary, and we read the vocabulary only.
            if name is not None and name not in layout.classes and layout.stem is not None:
                raise failure(
                    "unsupported_checkpoint",
                    f"{folder.name} is a {plain(str(name))}",
                    where=path,
                    why=f"this release opens {' or '.join(layout.classes)}",
                    fix=download(self.root, f"{folder.name}/*"),
                )
        return MappingProxyType(dict(config))

    def _present(self, path: Path) -> Path:
        if not path.is_file():
            raise failure(
                "missing_file",
                f"{path.parent.name}/{path.name} is absent",
                where=path.parent,
                why=contents(path.parent),
                fix=download(self.root, f"{path.parent.name}/*"),
            )
        return path


def _check_is_folder(path: Path) -> None:
    if path.is_file():
        raise failure(
            "unsupported_checkpoint",
            f"{path.name} is a file",
            where=path,
            why=f"single-file checkpoints are not opened yet; supported: {SUPPORTED}",
            fix="hf download Lightricks/LTX-2",
        )
    if not path.is_dir():
        raise failure(
            "no_such_checkpoint",
            f"no such folder: {path}",
            where=path,
            fix=f"ls {path.parent}",
        )


def _no_index(path: Path) -> ComponentError:
    nearby = [path.parent, *sorted(entry for entry in path.iterdir() if entry.is_dir())]
    better = next((folder for folder in nearby if (folder / INDEX).is_file()), None)
    return failure(
        "unsupported_checkpoint",
        f"{path} has no {INDEX}",
        where=path,
        why=f"{contents(path)}; supported: {SUPPORTED}",
        fix=f"use {better}" if better else "hf download Lightricks/LTX-2",
    )


def _declared_classes(path: Path, index: Mapping[str, Any]) -> dict[str, str]:
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


def _unsupported(path: Path, pipeline: Any, classes: Mapping[str, str], version: str) -> Iterable[Fault]:
    def refuse(what: str, why: str) -> Fault:
        return fault(
            "unsupported_checkpoint",
            what,
            where=path,
            why=f"{why}; supported: {SUPPORTED}",
            fix="hf download Lightricks/LTX-2",
        )

    if not isinstance(pipeline, str) or not pipeline.startswith("LTX2"):
        yield refuse(
            f"the folder holds a {pipeline!r:.80}",
            "its model_index.json names another family of models",
        )
    elif version != "2.0":
        yield refuse(
            f"the folder holds LTX-{version}",
            f"this release does not run LTX-{version} yet",
        )
    else:
        for name, layout in COMPONENTS.items():
            if name in classes and classes[name] not in layout.classes:
                yield refuse(
                    f"{name} is a {plain(classes[name])}",
                    f"{name} must be {' or '.join(layout.classes)}",
                )
