"""Where stages that write files put them, and the run record beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs

from stagegraph import StageContext
from stagegraph_media.files import make_directory, write_text


@attrs.frozen
class Target:
    """A file that a stage writes, and where the record of its run goes."""

    file: Path
    sidecar: Path

    def write_record(self, record: dict[str, Any]) -> None:
        """Write the sidecar.

        Raises:
            MediaError: it cannot be written.
        """
        write_text(self.sidecar, record_json(record, indent=2) + "\n")


def target(path: str | None, suffix: str, context: StageContext) -> Target:
    """The file at a path, with its folder made if need be; without one NODE and the suffix in the run's directory.

    Raises:
        MediaError: the folder cannot be made.
    """
    if path is None:
        file = context.directory / f"{context.node.replace('/', '-')}{suffix}"
        return Target(file, file.with_name("run.json"))
    file = Path(path)
    make_directory(file.parent)
    return Target(file, file.with_suffix(".run.json"))


def check_mp4(path: str | None) -> None:
    """Refuse the path of a video, if one is set, that does not end in .mp4.

    Raises:
        ValueError: it does not.
    """
    if path is not None and Path(path).suffix.lower() != ".mp4":
        raise ValueError(f'path is "{path}": must end in .mp4')


def record_json(record: dict[str, Any], indent: int | None = None) -> str:
    """JSON with its letters as they are; half a surrogate pair, which UTF-8 lacks, becomes its JSON escape."""
    return json.dumps(record, ensure_ascii=False, indent=indent).encode("utf-8", "backslashreplace").decode("utf-8")
