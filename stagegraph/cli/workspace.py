"""What the commands of one call share: the plugins that are installed, loaded when first needed."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from stagegraph import builder, graph, manifest, yaml
from stagegraph import plugins as plugin_loading
from stagegraph.errors import Fault, UsageError
from stagegraph.graph import Graph
from stagegraph.plugins import Plugins
from stagegraph.registry import Registry
from stagegraph.serde import Text


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

    def graph(self, name: str, settings: list[str] | None = None) -> Graph:
        """The bound graph of a manifest file or shipped name, with `NODE.PARAM=VALUE` settings laid over it."""
        written = builder.find(name, self.registry)
        return graph.build(manifest.override(written, assignments(settings, "--set", "NODE.PARAM")), self.registry)


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
