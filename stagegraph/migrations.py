"""Stage versions: a manifest that was written for an older version is read by migrating its params, step by step.

::

    @stage("sepia.tint", version=2, migrations={1: percent_to_share})
    class Tint: ...

`stage: sepia.tint@1` then reads params as version 1 had them. A migration is a pure function from the params of one
version to those of the next; it is called with what the manifest says, so params at their default may be absent.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import attrs

from stagegraph.errors import Fault, GraphError
from stagegraph.serde import Text

Migration = Callable[[dict[str, Any]], dict[str, Any]]


def _table(steps: Mapping[int, Migration]) -> Mapping[int, Migration]:
    return MappingProxyType(dict(steps))


@attrs.frozen
class Migrations:
    """How params written for older versions of a stage become those of the current one.

    `steps` maps a version to the function that brings its params to the next version.
    """

    id: str
    version: int
    steps: Mapping[int, Migration] = attrs.field(factory=dict, converter=_table)

    def __attrs_post_init__(self) -> None:
        wrong = [version for version in self.steps if version not in range(1, self.version)]
        if wrong:
            what = f"stage {self.id}: there is a migration from version {wrong[0]}, but the stage is of {self.version}"
            fix = "raise version=, or migrate from a version below it"
            raise GraphError(Fault("invalid_stage", what, fix=fix))

    @property
    def readable(self) -> tuple[int, ...]:
        """The versions whose params can be read: the current one, and those from which steps lead to it."""
        versions = [self.version]
        while versions[-1] - 1 in self.steps:
            versions.append(versions[-1] - 1)
        return tuple(reversed(versions))

    def reads(self, version: str) -> bool:
        """Whether params of a version, as written behind the `@`, can be read."""
        return version in map(str, self.readable)

    def migrate(self, reference: str, params: Mapping[str, Any]) -> dict[str, Any] | Fault:
        """The params of `id` or `id@version`, brought to the current version.

        Settings typed on the command line go by today's names: they are laid over what was migrated.

        Args:
            reference: the stage as the manifest names it, of a version that `reads` accepts.
            params: as written.
        """
        version = int(reference.partition("@")[2] or self.version)
        typed = {name: value for name, value in params.items() if isinstance(value, Text)}
        written = {name: copy.deepcopy(value) for name, value in params.items() if name not in typed}
        for step in range(version, self.version):
            try:
                written = self.steps[step](written)
                if not isinstance(written, dict):
                    raise TypeError(f"it returned a {type(written).__name__}, not a dict")
            except Exception as error:
                what = f"{self.id}: params of version {step} could not be brought to version {step + 1}"
                why = f"{type(error).__name__}: {error}"
                fix = f"write {self.id}@{self.version} and its params"
                return Fault("migration_failed", what, why=why, fix=fix)
        return {**written, **typed}
