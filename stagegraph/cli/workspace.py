"""What the commands of one call share: the plugins that are installed, loaded when first needed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stagegraph import builder, graph, manifest, yaml
from stagegraph import plugins as plugin_loading
from stagegraph.artifacts import Codecs
from stagegraph.errors import Fault, GraphError, UsageError
from stagegraph.graph import Graph, Input
from stagegraph.manifest import Manifest
from stagegraph.plugins import Plugins
from stagegraph.preflight import Report, examine
from stagegraph.registry import Registry
from stagegraph.serde import Text

if TYPE_CHECKING:
    from stagegraph.caching import Caching
    from stagegraph.store import Store
    from stagegraph.store.runs import StoredRun


class Workspace:
    """The plugins in use and what follows from them.

    Args:
        disabled: names of plugins to leave out.
    """

    def __init__(self, disabled: tuple[str, ...] = ()) -> None:
        self._disabled = disabled

    @cached_property
    def plugins(self) -> Plugins:
        """The loaded plugins."""
        return plugin_loading.discover(self._disabled)

    @cached_property
    def registry(self) -> Registry:
        """What they register."""
        return plugin_loading.fill(self.plugins)

    @cached_property
    def commands(self) -> dict[str, Any]:
        """The command groups that they contribute."""
        return plugin_loading.commands(self.plugins)

    @cached_property
    def codecs(self) -> Codecs:
        """What writes and reads values."""
        return Codecs(self.registry.codecs.values())

    def caching(self, store: Store, *, resumed: StoredRun | None = None, optional: bool = False) -> Caching:
        """How a run uses a store."""
        from stagegraph.caching import Caching  # only runs need it

        return Caching(store, self.codecs, resumed=resumed, optional=optional)

    def graph(self, name: str, settings: list[str] | None = None) -> Graph:
        """The bound graph of a manifest file or shipped name, with `NODE.PARAM=VALUE` settings laid over it."""
        return graph.build(self.written(name, settings), self.registry)

    def report(self, name: str, settings: list[str] | None = None) -> Report:
        """What can be known of a run of it without running it."""
        return examine(self.written(name, settings), self.registry)

    def to_run(self, name: str, settings: list[str] | None = None, outputs: list[str] | None = None) -> Graph:
        """As `graph`; of one that cannot be bound, the error tells as well what is missing on this machine."""
        written = self.written(name, settings)
        try:
            return graph.build(written, self.registry)
        except GraphError:
            return examine(written, self.registry, outputs).check()

    def written(self, name: str, settings: list[str] | None = None) -> Manifest:
        """The manifest of a file or shipped name, with settings laid over it."""
        written = builder.find(name, self.registry)
        return manifest.override(written, assignments(settings, "--set", "NODE.PARAM"))


def assignments(words: list[str] | None, option: str, left: str) -> dict[str, Text]:
    """`["a=1", "b=x=y"]` -> {"a": "1", "b": "x=y"}; the values are read by type later.

    Raises:
        UsageError: a word without "=", or one name given twice.
    """
    values: dict[str, Text] = {}
    faults = []
    for word in words or ():
        name, sign, value = word.partition("=")
        if not sign or not name:
            faults.append(Fault("usage", f"{option} {word} has no value", fix=f"write {option} {left}=VALUE"))
        elif name in values:
            faults.append(Fault("usage", f"{option} {name} is given twice", fix="keep one of them"))
        values[name] = yaml.typed(value)
    if faults:
        raise UsageError(*faults)
    return values


_RANGE = re.compile(r"(-?[0-9]{1,9})\.\.(-?[0-9]{1,9})")
#: How many values one input may be swept over.
MAX_SWEEP = 10_000


def sweeps(values: Mapping[str, Text], inputs: Mapping[str, Input]) -> dict[str, list[Any]]:
    """The inputs that are given several values: `seed=1..4`, `prompt=@prompts.txt` (one a line; `@@` for a real @).

    Raises:
        UsageError: a file that cannot be read or is empty, a range that is too long; with every fault.
    """
    found: dict[str, list[Any]] = {}
    faults: list[Fault] = []
    for name, text in values.items():
        declared = inputs.get(name)
        span = _RANGE.fullmatch(text) if declared is not None and declared.type is int else None
        try:
            if span is not None:
                found[name] = _range(name, int(span[1]), int(span[2]))
            elif text.startswith("@") and not text.startswith("@@"):
                found[name] = _lines(name, text[1:])
        except UsageError as error:
            faults += error.faults
    if faults:
        raise UsageError(*faults)
    return found


def _range(name: str, first: int, last: int) -> list[int]:
    step = 1 if last >= first else -1
    if abs(last - first) >= MAX_SWEEP:
        what = f"-i {name}={first}..{last} has more than {MAX_SWEEP} values"
        raise UsageError(Fault("too_large", what, fix="sweep in parts"))
    return list(range(first, last + step, step))


def _lines(name: str, path: str) -> list[Text]:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        what = f"-i {name}=@{path}: the file cannot be read: {getattr(error, 'strerror', None) or error}"
        raise UsageError(Fault("usage", what, fix=f"write -i {name}=@@{path} for the text itself")) from None
    texts = [yaml.typed(line) for line in lines if line.strip()]
    if not texts or len(texts) > MAX_SWEEP:
        what = f"-i {name}=@{path}: the file has {len(texts)} lines"
        raise UsageError(Fault("usage", what, why=f"1 to {MAX_SWEEP} can be swept over"))
    return texts
