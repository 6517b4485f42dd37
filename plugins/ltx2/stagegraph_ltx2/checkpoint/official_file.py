"""A safetensors file with official names: what its header says, and the components that it holds. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import attrs

from stagegraph_ltx2.checkpoint.assembly import Pieces
from stagegraph_ltx2.checkpoint.components import COMPONENTS
from stagegraph_ltx2.checkpoint.contents import ComponentFiles, WeightFile
from stagegraph_ltx2.checkpoint.families import OFFICIAL_NAME, family_of_header, refused
from stagegraph_ltx2.checkpoint.header import Header, read_header
from stagegraph_ltx2.checkpoint.identify import Holds, identify
from stagegraph_ltx2.checkpoint.official_read import READERS
from stagegraph_ltx2.checkpoint.strict_json import parse_object
from stagegraph_ltx2.errors import failure
from stagegraph_ltx2.model.config import ConfigError

#: Keys of a header: its configuration, and that of the diffusers scheduler, which files that were converted keep.
CONFIG, SCHEDULER = "config", "diffusers_scheduler"


@attrs.frozen
class OfficialFile:
    """A file, by its header alone.

    Args:
        header: checked.
        holds: the components.
        config: the configuration in the header; empty if there is none.
    """

    header: Header
    holds: Holds
    config: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a header.

        Raises:
            ComponentError: as `read_header`; a configuration that is damaged; a file of LTX-2.5.
        """
        header = read_header(path)
        config = json_in(header, CONFIG)
        holds = identify(header.tensors)
        if holds.components and family_of_header(header.metadata, config) == "2.5":
            raise refused(path, "2.5")
        return cls(header, holds, config)

    @property
    def path(self) -> Path:
        """Of the file."""
        return self.header.path

    @property
    def distilled(self) -> tuple[bool | None, str]:
        """Whether its transformer is distilled, and what says so."""
        kept = json_in(self.header, SCHEDULER).get("use_dynamic_shifting")
        if isinstance(kept, bool):
            return not kept, f"{self.path.name}: its header keeps a scheduler"
        name = OFFICIAL_NAME.match(self.path.name)
        return (name["kind"] == "distilled", "its official file name") if name else (None, "")


def json_in(header: Header, key: str) -> Mapping[str, Any]:
    """The JSON object in the metadata of a header; empty if there is none.

    Raises:
        ComponentError: what is there is no JSON object.
    """
    text = header.metadata.get(key)
    if text is None:
        return {}
    try:
        return parse_object(text.encode())
    except ValueError as error:
        raise failure(
            "bad_json",
            f"{key} in the header of {header.path.name}: {error}",
            where=header.path,
            why="configurations are JSON objects in which every key appears once",
            fix=f"download {header.path.name} again",
        ) from None


def look_for_components(pieces: Pieces, files: Sequence[OfficialFile]) -> None:
    """Put the components that files hold among the pieces."""
    for name in READERS:
        holders = [file for file in files if name in file.holds.components]
        if holders:
            pieces.look(name, partial(component_from, name, holders, files))


def component_from(name: str, holders: Sequence[OfficialFile], files: Sequence[OfficialFile]) -> ComponentFiles:
    """A component out of official files.

    Args:
        name: of the component.
        holders: the files that hold its tensors.
        files: those whose header may tell how it is built.

    Raises:
        ComponentError: no header tells it, or what it tells cannot be built.
    """
    section = "transformer" if name == "connectors" else name
    alone = name == "latent_upsampler"
    telling = [file for file in [*holders, *files] if (file.config if alone else section in file.config)]
    if not telling:
        raise failure(
            "bad_config",
            f"no header says how the {COMPONENTS[name].title} is built",
            where=holders[0].path,
            why=f'official files have the key "{CONFIG}" in their header'
            + ("" if alone else f', with a section "{section}"'),
            fix=f"use a file that kept it, such as the original of {holders[0].path.name}",
        )
    try:
        config = READERS[name](telling[0].config, _shapes(name, holders) if name == "connectors" else {})
    except ConfigError as error:
        raise failure(
            "bad_config",
            "; ".join(error.faults),
            where=telling[0].path,
            why=f"the {COMPONENTS[name].title} cannot be built from this configuration",
            fix="use a checkpoint of LTX-2, or report this with its name",
        ) from None
    weights = tuple(WeightFile(file.path, file.holds.components[name]) for file in holders)
    return ComponentFiles(name, holders[0].path, config, telling[0].path, weights)


def _shapes(name: str, holders: Sequence[OfficialFile]) -> dict[str, tuple[int, ...]]:
    """The shapes of a component's tensors, by our names."""
    return {
        ours: info.shape
        for file in holders
        for stored, info in file.header.tensors.items()
        if (ours := file.holds.components[name].ours(stored)) is not None
    }
