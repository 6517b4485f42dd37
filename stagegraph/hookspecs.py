"""Every hook that a plugin can implement, in the order in which the program meets them.

A plugin is a module named by an entry point of the group `stagegraph.plugins`, with functions marked by `hookimpl`::

    from stagegraph import hookimpl

    @hookimpl
    def stagegraph_stages():
        return [Tint]

Hooks are called once, when a command first needs plugins; importing the module must be quick, so heavy libraries are
imported inside `run` and inside the loaders of components.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pluggy

if TYPE_CHECKING:
    import typer

    from stagegraph.artifacts import Codec
    from stagegraph.continuation import ContinuationCodec
    from stagegraph.joiners import Joiner
    from stagegraph.recordreaders import RecordReader

hookspec = pluggy.HookspecMarker("stagegraph")
hookimpl = pluggy.HookimplMarker("stagegraph")


@attrs.frozen
class Check:
    """One line of `stagegraph doctor`: what was looked at, whether it is usable, what was found or how to mend it."""

    name: str
    ok: bool
    detail: str


@hookspec
def stagegraph_types() -> Mapping[str, type]:  # type: ignore[empty-body]
    """Name the port types that manifests may ask for as inputs: {"media.frames": Frames}."""


@hookspec
def stagegraph_codecs() -> Iterable[Codec]:  # type: ignore[empty-body]
    """Give the codecs of the port types, so that outputs can be stored and runs taken up again."""


@hookspec
def stagegraph_continuations() -> Iterable[ContinuationCodec]:  # type: ignore[empty-body]
    """Give the codecs of what crosses from one segment of a video to the next, one a kind: "ltx2.v1"."""


@hookspec
def stagegraph_stages() -> Iterable[Any]:  # type: ignore[empty-body]
    """Give the stages: classes and functions decorated with `stage`."""


@hookspec
def stagegraph_components() -> Iterable[type]:  # type: ignore[empty-body]
    """Give the components: classes decorated with `component`."""


@hookspec
def stagegraph_manifests() -> Mapping[str, Path]:  # type: ignore[empty-body]
    """Give shipped manifests by name: {"ltx2/text-to-video": path}; `stagegraph run NAME` finds them."""


@hookspec
def stagegraph_record_readers() -> Iterable[RecordReader]:  # type: ignore[empty-body]
    """Give the kinds of files that carry run records: `rerun`, `diff` and `strip` read them, by the file's ending."""


@hookspec
def stagegraph_joiners() -> Iterable[Joiner]:  # type: ignore[empty-body]
    """Give the kinds of files that can be joined: a session joins what its segments leave, by the files' ending."""


@hookspec
def stagegraph_commands() -> Mapping[str, typer.Typer]:  # type: ignore[empty-body]
    """Give groups of commands: {"ltx2": app} makes `stagegraph ltx2 ...`."""


@hookspec
def stagegraph_doctor() -> Iterable[Check]:  # type: ignore[empty-body]
    """Look at what the plugin needs (libraries, devices, files) for `stagegraph doctor`; may import heavy libraries."""
