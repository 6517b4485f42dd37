"""What `stagegraph plugins doctor` tells of a plugin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from stagegraph.errors import Fault
from stagegraph.hookspecs import Check
from stagegraph.plugins import PROJECT, Plugins, entries, installed_engine, required_engine
from stagegraph.registry import Origin, Registry
from stagegraph.testing.inspection import ImportCost, import_cost, owned, undocumented

#: The tables of a registry, and what one of their entries is called.
TABLES = {"stages": "stage", "components": "component", "types": "type", "manifests": "manifest", "codecs": "codec"}


@attrs.frozen
class Report:
    """A plugin, looked over.

    `requires` is the range of engine versions, None if the distribution asks for none; `cost` is None for a plugin
    that was not imported because of it. `counts` says how much it registers, by table.
    """

    origin: Origin
    requires: str | None
    cost: ImportCost | None
    hooks: tuple[str, ...]
    counts: dict[str, int]
    problems: tuple[Fault, ...]
    undocumented: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing must be mended."""
        return all(check.ok for check in self.checks())

    def checks(self) -> Iterator[Check]:
        """Line by line."""
        for fault in self.problems:
            yield Check(fault.code, False, f"{fault.what}; {fault.fix}" if fault.fix else fault.what)
        yield Check("requires", self.requires is not None, self._requires())
        if self.cost is not None:
            yield Check("import", not self.cost.heavy and not self.cost.error, self._import(self.cost))
        yield Check("hooks", True, ", ".join(self.hooks) or "none")
        told = [f"{count} {TABLES[table]}{'s' * (count != 1)}" for table, count in self.counts.items() if count]
        yield Check("registers", True, ", ".join(told) or "nothing")
        yield Check("docs", not self.undocumented, "; ".join(self.undocumented) or "complete")

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        facts = attrs.asdict(self, filter=lambda field, _: field.name not in ("origin", "problems"))
        return {
            **attrs.asdict(self.origin),
            "healthy": self.healthy,
            **facts,
            "problems": [fault.as_dict() for fault in self.problems],
        }

    def _requires(self) -> str:
        if self.requires is None:
            return f"its distribution does not require {PROJECT}, so any version counts as compatible"
        return f"{PROJECT}{self.requires} ({installed_engine()} is installed)"

    def _import(self, cost: ImportCost) -> str:
        if cost.error:
            return f"failed in a fresh interpreter: {cost.error}"
        heavy = f", brings {', '.join(cost.heavy)}: import them where they are used" if cost.heavy else ""
        return f"{cost.seconds * 1000:.0f} ms{heavy}"


def reports(plugins: Plugins, registry: Registry, name: str | None = None) -> Iterator[Report]:
    """Look over every plugin in use, or those of a name; each is imported once more, in a fresh interpreter."""
    seen = set()
    for entry, origin in entries():
        loaded = next((plugin for plugin in plugins.loaded if plugin.origin == origin), None)
        problems = [problem.fault for problem in registry.problems if problem.origin == origin]
        disabled = loaded is None and not problems
        if disabled or origin in seen or name not in (None, entry.name):
            continue
        seen.add(origin)
        required = required_engine(entry)
        refused = any(fault.code == "plugin_incompatible" for fault in problems)
        yield Report(
            origin,
            requires=None if required is None else str(required),
            cost=None if refused else import_cost(entry.module),
            hooks=tuple(plugins.hooks(loaded)) if loaded is not None else (),
            counts={table: len(owned(getattr(registry, table), registry, origin)) for table in TABLES},
            problems=tuple(problems),
            undocumented=tuple(undocumented(registry, origin)),
        )
