"""Records that a command line names: those of files, and those of runs in the store."""

from __future__ import annotations

from pathlib import Path

from stagegraph import record, records
from stagegraph.cli.workspace import Workspace
from stagegraph.errors import Fault, StagegraphError
from stagegraph.rerun import Recorded, manifest_of
from stagegraph.store import Store
from stagegraph.store.runs import StoredRun, load


def is_file(word: str) -> bool:
    """Whether a word means a file, or the folder of a run, and not a run of the store."""
    path = Path(word)
    return bool(path.suffix) or len(path.parts) > 1 or (path / "run.json").is_file()


def find(workspace: Workspace, word: str) -> Recorded:
    """The record of a file (an mp4, a run.json, the folder of a run), or of a run of the store.

    Raises:
        RecordError: the file carries none that can be read.
        UsageError: there is no such run.
    """
    if is_file(word):
        path = Path(word)
        path = path / "run.json" if path.is_dir() else path
        return Recorded(records.read(path, workspace.registry), str(path))
    with Store() as store:
        stored = load(store, workspace.codecs, word)
        name = f"run {stored.row.id}"
        recorded = Recorded(record.from_data(stored.row.record, name), name)
        return Recorded(recorded.record, name, _described(workspace, stored, recorded))


def _described(workspace: Workspace, stored: StoredRun, recorded: Recorded) -> dict[str, object]:
    """The inputs that the record only describes, as far as the store has them."""
    names = recorded.record.described
    if not names:
        return {}
    declared = manifest_of(recorded).inputs
    types = {name: workspace.registry.type(declared[name].type) for name in names if name in declared}
    try:
        return stored.inputs({name: type_ for name, type_ in types.items() if not isinstance(type_, Fault)})
    except StagegraphError:  # evicted, or written by another release: what is missing is asked for
        return {}
