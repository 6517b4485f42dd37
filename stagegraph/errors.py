"""Every error of the engine.

::

    StagegraphError                exit  what went wrong
    ├── UsageError                  2    something a person wrote; found before any work starts
    │   ├── ManifestError                the file: syntax, unknown keys, wrong types
    │   ├── GraphError                   the graph: names, types, wiring, params
    │   ├── PlanError                    the request: an output nobody makes
    │   ├── InputError                   the values given to a run
    │   │   └── ContinuationError            the state of another segment that does not say what it must; a ValueError
    │   ├── SessionError                 a session that cannot be begun, gone on with or written down
    │   └── RecordError                  a run record: absent, damaged, or of what is not here any more
    ├── MissingError                3    something to install or to download
    │   ├── PluginError                  a plugin that is absent or broken
    │   └── ComponentError               weights or libraries that a component needs
    ├── FitError                    4    more memory than there is; found before anything is loaded, if it can be
    ├── RunError                    1    work that started and failed
    │   ├── StageError                   one stage of it, with its inputs and its cause
    │   ├── TimedOut                     a stage took longer than its node allows (the cause of a StageError)
    │   ├── StoreError                   the folder of artifacts and runs: full, unreadable, damaged
    │   └── ArtifactError                a stored value that is not what its codec writes
    └── Cancelled                 130    the user stopped the run

An error carries one or more `Fault` values, so that a console, a log and a JSON reader all show the same facts.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import attrs

#: Code -> what it says. Codes are stable: programs match on them. Plugins add their own under a prefix ("ltx2.…").
CODES: dict[str, str] = {
    "usage": "words of a command line that the command does not take",
    "syntax": "the file is not YAML 1.2 or JSON, or uses what manifests exclude (aliases, tags, duplicate keys)",
    "too_large": "the input exceeds a documented limit",
    "unsupported_version": "the document or stage is of a version that this release does not read",
    "unknown_key": "a key that this place does not have",
    "missing_key": "a key that this place requires",
    "invalid_type": "a value of the wrong type",
    "invalid_value": "a value of the right type outside its allowed range",
    "invalid_json": "bytes that are not one JSON value in UTF-8",
    "duplicate_key": "a key that appears twice",
    "unknown_kind": "a continuation state of a kind that is not read here",
    "unknown_blob": "this owner has no such blob",
    "bad_blob": "a blob is not what was put",
    "invalid_name": "a name that cannot be used in references",
    "invalid_stage": "a stage, component or output declaration that cannot be used",
    "unknown_manifest": "no file and no shipped manifest has this name",
    "unknown_stage": "no installed plugin registers this stage",
    "unknown_component": "no installed plugin registers this component kind, or the manifest defines no such component",
    "unknown_type": "no installed plugin registers this type",
    "unknown_part": "a part that the component does not have",
    "unknown_node": "a reference to a node that the graph does not have",
    "unknown_port": "a port that the stage does not have",
    "unknown_input": "an input that the graph does not have",
    "unknown_param": "a param that the stage does not have",
    "unknown_output": "an output that the graph does not have",
    "ambiguous_port": "a reference that names a node with several outputs",
    "type_mismatch": "an output wired to an input that does not accept its type",
    "missing_input": "a required input that nothing feeds",
    "missing_param": "a required param that is not set",
    "duplicate_producer": "one input fed from two places",
    "fact_mismatch": "a value of a size or rate that a stage cannot take, known before it exists",
    "unwritable": "a file that a stage will write and cannot",
    "orphan": "a node that no output needs, or a component that changes nothing (a warning)",
    "missing_component": "a stage needs a component that no component of the graph provides",
    "ambiguous_component": "several components of the graph provide what a stage needs",
    "cycle": "nodes that wait for each other",
    "missing_library": "a library that a place of blobs needs is not installed",
    "plugin_import": "a plugin that fails to import",
    "plugin_invalid": "a plugin that does not follow the hook specifications",
    "plugin_conflict": "two plugins that register one name",
    "plugin_incompatible": "a plugin that requires another version of the engine",
    "unknown_plugin": "no installed distribution has this plugin",
    "folder_taken": "a folder that is to be made exists and is not empty, or cannot be made",
    "migration_failed": "params written for an older version of a stage could not be brought to its version",
    "does_not_fit": "a step takes more memory than there is",
    "component_failed": "a component that could not be loaded",
    "skipped": "an output that no node made, because a condition did not hold",
    "stage_failed": "a stage raised an exception",
    "timed_out": "a stage took longer than its node allows",
    "stage_output": "a stage returned something else than it declares",
    "bad_artifact": "a stored value that is not what its codec writes",
    "no_codec": "a value of a type that no installed codec writes",
    "store_full": "the disk of the store has no space left",
    "store_busy": "another process holds the store for too long",
    "store_failed": "the operating system refused to read or write the store",
    "store_corrupt": "the store holds something else than was put into it",
    "unknown_run": "the store knows no run of this name",
    "ambiguous_run": "several runs have names that begin so",
    "no_record": "a file that carries no run record, or of a kind that carries none",
    "bad_record": "a run record that is no JSON, or not of the structure of one",
    "record_remains": "a text of the run record is still in the file after it was removed",
    "weights_changed": "the weights are others than those of the recorded run",
    "stage_changed": "a stage is of another version than in the recorded run, which cannot be brought to it",
    "values_given": "the recorded run was given values of nodes, which the record does not hold",
    "untrusted_path": "a file that only the record says to write",
    "no_writer": "no node of the run, or more than one, writes the file that a path is given for",
    "no_carry": "a session of a graph that carries nothing from one run to the next",
    "no_session": "a folder that holds no session",
    "pending": "a session of which segments were asked for that are not done",
    "no_segment": "a segment of a session whose file is not there",
    "no_joiner": "files of segments that no installed plugin joins, or of which it is not clear which are meant",
    "session_busy": "a session that is asked for two segments at once",
    "cancelled": "the run was cancelled",
}


@attrs.frozen
class Location:
    """A place in a text file; lines and columns count from 1."""

    file: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)


@attrs.frozen
class Fault:
    """One thing that is wrong: what, where, why, and what to type to mend it."""

    code: str
    what: str
    where: str = ""
    why: str = ""
    fix: str = ""
    location: Location | None = None

    def __str__(self) -> str:
        place = str(self.location) if self.location else self.where
        lines = [f"{place}: error[{self.code}]: {self.what}" if place else f"error[{self.code}]: {self.what}"]
        lines += [f"  why: {self.why}"] if self.why else []
        lines += [f"  fix: {self.fix}"] if self.fix else []
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON: the fields that are set."""
        location = attrs.asdict(self.location) if self.location else None
        fields = {"code": self.code, "what": self.what, "where": self.where, "why": self.why, "fix": self.fix}
        return {key: value for key, value in {**fields, "location": location}.items() if value}


class StagegraphError(Exception):
    """Base of all errors of the engine and its plugins.

    Args:
        faults: what is wrong, all of it; at least one.
    """

    #: What a command line ends with; an error that wraps another takes over that of its cause.
    exit_code: int = 1
    #: Whether the same may succeed later: a node with `retry` calls its stage again.
    retryable: bool = False
    #: The run that it ended, with the outputs that were made before; None if nothing has run.
    run: Any = None

    def __init__(self, *faults: Fault) -> None:
        if not faults:
            raise TypeError(f"{type(self).__name__} needs at least one Fault")
        super().__init__(*faults)
        self.faults: tuple[Fault, ...] = faults

    @classmethod
    def of(cls, code: str, what: str, *, where: str = "", why: str = "", fix: str = "") -> StagegraphError:
        """An error of one fault."""
        return cls(Fault(code, what, where=where, why=why, fix=fix))

    @property
    def code(self) -> str:
        """The code of the first fault."""
        return self.faults[0].code

    def __str__(self) -> str:
        return "\n".join(str(fault) for fault in self.faults)


class UsageError(StagegraphError):
    """Something that a person wrote is wrong; no work has started."""

    exit_code = 2


class ManifestError(UsageError):
    """A manifest that cannot be read."""


class GraphError(UsageError):
    """A graph that cannot run."""


class PlanError(UsageError):
    """A request that the graph cannot serve."""


class InputError(UsageError):
    """Values given to a run that the graph does not accept."""


class ContinuationError(InputError, ValueError):
    """A continuation state that cannot be read, or cannot be written.

    `where` of each fault is the path in the state: "payload.video.frames_b64[3]".
    """


class SessionError(UsageError):
    """A session that cannot be begun, gone on with or written down."""


class RecordError(UsageError):
    """A run record that cannot be read, or whose run cannot be made again as it was."""


class MissingError(StagegraphError):
    """Something must be installed or downloaded first."""

    exit_code = 3


class PluginError(MissingError):
    """A plugin is absent or broken."""


class ComponentError(MissingError):
    """A component lacks weights or libraries, or they are not what it expects."""


class FitError(StagegraphError):
    """More memory is taken than there is."""

    exit_code = 4


class RunError(StagegraphError):
    """Work that started and failed."""


class StageError(RunError):
    """A stage failed; the exception that it raised is chained as the cause.

    Args:
        faults: what is wrong.
        node: the node's name.
        stage: the stage's id.
        inputs: port -> a short description of the value that came in.
    """

    def __init__(self, *faults: Fault, node: str, stage: str, inputs: dict[str, str]) -> None:
        super().__init__(*faults)
        self.node = node
        self.stage = stage
        self.inputs = inputs

    def __reduce__(self) -> Any:
        make = functools.partial(type(self), node=self.node, stage=self.stage, inputs=self.inputs)
        return make, self.faults, {name: value for name, value in vars(self).items() if name != "run"}


class TimedOut(RunError):
    """A stage took longer than its node allows; a node with `retry` calls it again."""

    retryable = True


class StoreError(RunError):
    """The store of artifacts and runs cannot be read or written."""


class ArtifactError(RunError):
    """A stored value is not what its codec writes."""


class Cancelled(StagegraphError):
    """The run was cancelled."""

    exit_code = 130


def suggest(name: str, known: Iterable[str]) -> str:
    """`did you mean "…"?` for the nearest of the known names, else the list of them, else an empty text."""
    names = sorted(known)
    near = nearest(name, names)
    if near is not None:
        return f'did you mean "{near}"?'
    return f"use one of: {', '.join(names)}" if names else ""


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known name that was probably meant, if there is one; `cutoff` is how much must be alike, from 0 to 1."""
    import difflib

    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=cutoff)
    return near[0] if near else None
