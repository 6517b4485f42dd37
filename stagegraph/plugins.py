"""Find, load and check plugins, and fill a registry with what they register.

Plugins come from the entry-point group `stagegraph.plugins`. Each is loaded on its own: one that fails is reported,
with its distribution and version and what to do, and the others go on.
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import attrs
import pluggy

from stagegraph import hookspecs
from stagegraph.artifacts import Codec
from stagegraph.components import component_spec_of
from stagegraph.continuation import ContinuationCodec
from stagegraph.errors import Fault, GraphError, PluginError
from stagegraph.hookspecs import Check
from stagegraph.joiners import Joiner
from stagegraph.recordreaders import RecordReader
from stagegraph.registry import BASIC_TYPES, Origin, PluginProblem, Registry
from stagegraph.stages import ID, spec_of

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

GROUP: Final = "stagegraph.plugins"
PROJECT: Final = "stagegraph"

_SUFFIX: Final = re.compile(r"\.[a-z0-9]{1,16}")

HOOKS: Final = tuple(name for name in vars(hookspecs) if name.startswith("stagegraph_"))


@attrs.frozen(eq=False)
class Plugin:
    """A plugin that loaded."""

    origin: Origin
    module: ModuleType


@attrs.frozen(eq=False)
class Plugins:
    """The plugins that loaded, and the problems of those that did not."""

    loaded: tuple[Plugin, ...]
    problems: tuple[PluginProblem, ...]
    manager: pluggy.PluginManager = attrs.field(repr=False)

    def hooks(self, plugin: Plugin) -> list[str]:
        """The hooks that a plugin implements, in the order of `HOOKS`."""
        implemented = {caller.name for caller in self.manager.get_hookcallers(plugin.module) or ()}
        return [hook for hook in HOOKS if hook in implemented]

    def each(self, hook: str) -> Iterator[tuple[Plugin, Any, PluginProblem | None]]:
        """Call one hook of each plugin that implements it: (plugin, result, problem)."""
        for plugin in self.loaded:
            caller = self.manager.subset_hook_caller(
                hook, [other.module for other in self.loaded if other is not plugin]
            )
            implemented = any(implementation.plugin is plugin.module for implementation in caller.get_hookimpls())
            if not implemented:
                continue
            problem, result = None, None
            try:
                result = next(iter(caller()), None)
                if isinstance(result, Iterator):  # a generator runs only now
                    result = list(result)
            except (Exception, SystemExit) as error:
                problem = _problem(plugin.origin, "plugin_invalid", f"its hook {hook} failed: {_short(error)}")
            else:
                if result is None:
                    problem = _problem(plugin.origin, "plugin_invalid", f"its hook {hook} returned nothing")
            yield plugin, result, problem


def discover(disabled: Iterable[str] = ()) -> Plugins:
    """Load every installed plugin but the disabled ones; never fails."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    loaded: list[Plugin] = []
    problems: list[PluginProblem] = []
    disabled = frozenset(disabled)
    for entry, origin in entries():
        if entry.name in disabled:
            continue
        other = next((plugin.origin for plugin in loaded if plugin.origin.plugin == entry.name), None)
        if other == origin:  # the same distribution twice on the path
            continue
        problem = _conflict(origin, other) if other is not None else _incompatible(entry, origin)
        if problem is None:
            module, problem = _load(entry, origin, manager)
            if module is not None:
                loaded.append(Plugin(origin, module))
        if problem is not None:
            problems.append(problem)
    return Plugins(tuple(loaded), tuple(problems), manager)


def entries() -> list[tuple[metadata.EntryPoint, Origin]]:
    """The entry points of every installed plugin, by name; nothing is imported."""
    found = [(entry, _origin(entry)) for entry in metadata.entry_points(group=GROUP)]
    return sorted(found, key=lambda pair: (pair[0].name, pair[0].value, pair[1].distribution))


def required_engine(entry: metadata.EntryPoint) -> SpecifierSet | None:
    """The versions of the engine that a plugin's distribution requires; None if it does not require the engine."""
    requires = (entry.dist.requires if entry.dist is not None else None) or []
    ours = [text for text in requires if re.split(r"[^\w.-]", text, maxsplit=1)[0].lower() == PROJECT]
    if not ours:
        return None
    from packaging.requirements import InvalidRequirement, Requirement  # 30 ms; only programs that use plugins pay

    for text in ours:
        with contextlib.suppress(InvalidRequirement):
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                return requirement.specifier
    return None


def installed_engine() -> str | None:
    """The version of the engine that is installed; None if it runs without being installed."""
    try:
        return metadata.version(PROJECT)
    except metadata.PackageNotFoundError:
        return None


@cache
def default_plugins() -> Plugins:
    """The installed plugins, found once in a process."""
    return discover()


@cache
def default_registry() -> Registry:
    """What the installed plugins register."""
    return fill(default_plugins())


def fill(plugins: Plugins) -> Registry:
    """Everything that the plugins register.

    A name that two plugins register belongs to neither: using it is an error that names both.
    """
    filler = _Filler(plugins.problems)
    readers: Mapping[str, Callable[[Any], Iterable[tuple[str, Any]]]] = {
        "stagegraph_types": _named_types,
        "stagegraph_codecs": _named_codecs,
        "stagegraph_continuations": _named_continuations,
        "stagegraph_stages": lambda things: ((spec_of(thing).id, spec_of(thing)) for thing in things),
        "stagegraph_components": lambda things: ((component_spec_of(t).kind, component_spec_of(t)) for t in things),
        "stagegraph_manifests": _named_files,
        "stagegraph_record_readers": _named_readers,
        "stagegraph_joiners": _named_joiners,
    }
    tables = {}
    for hook, read in readers.items():
        tables[hook] = filler.table(plugins.each(hook), read)
    return Registry(
        stages=tables["stagegraph_stages"],
        components=tables["stagegraph_components"],
        types={**BASIC_TYPES, **tables["stagegraph_types"]},
        codecs=tables["stagegraph_codecs"],
        continuations=tables["stagegraph_continuations"],
        manifests=tables["stagegraph_manifests"],
        readers=tables["stagegraph_record_readers"],
        joiners=tables["stagegraph_joiners"],
        origins=filler.origins,
        plugins=tuple(plugin.origin for plugin in plugins.loaded),
        problems=tuple(filler.problems),
    )


def commands(plugins: Plugins) -> dict[str, Any]:
    """The command groups that plugins contribute, by name; a name that two give goes to the first by plugin name."""
    groups: dict[str, Any] = {}
    for _, result, _ in plugins.each("stagegraph_commands"):
        if isinstance(result, Mapping):
            for name, app in result.items():
                groups.setdefault(name, app)
    return groups


def checks(plugins: Plugins) -> list[tuple[Origin, Check]]:
    """What `stagegraph doctor` finds: the checks of every plugin, and each problem as a failed check."""
    found = [(problem.origin, Check("plugin", False, problem.fault.what)) for problem in plugins.problems]
    for plugin, result, problem in plugins.each("stagegraph_doctor"):
        if problem is None and not (isinstance(result, Iterable) and all(isinstance(c, Check) for c in result)):
            problem = _problem(plugin.origin, "plugin_invalid", "its hook stagegraph_doctor returned no list of checks")
        if problem is not None:
            found.append((plugin.origin, Check("doctor", False, problem.fault.what)))
        else:
            found += [(plugin.origin, check) for check in result]
    return found


class _Filler:
    """Fills tables of names, keeping who registered what."""

    def __init__(self, problems: Iterable[PluginProblem]) -> None:
        self.problems = list(problems)
        self.origins: dict[str, Origin] = {}

    def table(self, results: Iterable[Any], read: Callable[[Any], Iterable[tuple[str, Any]]]) -> dict[str, Any]:
        table: dict[str, Any] = {}
        owners: dict[str, Origin] = {}
        for plugin, result, problem in results:
            try:
                entries = [] if problem is not None else list(read(result))
            except (GraphError, PluginError) as error:
                problem = PluginProblem(plugin.origin, _named(plugin.origin, error.faults[0]))
            except Exception as error:
                what = f"a hook returned something else than its specification says: {_short(error)}"
                problem = _problem(plugin.origin, "plugin_invalid", what)
            if problem is not None:
                self.problems.append(problem)
                continue
            for name, thing in entries:
                if name in owners:
                    self.problems.append(_taken(name, owners[name], plugin.origin))
                    table.pop(name, None)
                    continue
                owners[name] = plugin.origin
                table[name] = thing
        self.origins |= {name: owners[name] for name in table}
        return table


def _load(
    entry: metadata.EntryPoint, origin: Origin, manager: pluggy.PluginManager
) -> tuple[ModuleType | None, PluginProblem | None]:
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what a plugin says must not get into the output of a command
            module = entry.load()
        if not isinstance(module, ModuleType):
            raise TypeError(f"it is a {type(module).__name__}, not a module")
    except (Exception, SystemExit) as error:
        what = f"importing {entry.value} failed: {_short(error)}"
        fix = f"update or uninstall {origin.distribution}, or run with --no-plugin {origin.plugin}"
        return None, _problem(origin, "plugin_import", what, fix)
    misspelt = [name for name in _hook_names(module) if name not in HOOKS]
    if misspelt:
        near = difflib.get_close_matches(misspelt[0], HOOKS, n=1)
        what = f"it implements a hook {misspelt[0]} that does not exist"
        fix = f"its author should rename it to {near[0]}" if near else f"the hooks are {', '.join(HOOKS)}"
        return None, _problem(origin, "plugin_invalid", what, fix)
    unmarked = [name for name in HOOKS if _is_unmarked(module, name)]
    if unmarked:
        what = f"it defines {unmarked[0]} without @hookimpl, so that it would never be called"
        return None, _problem(origin, "plugin_invalid", what, f"its author should mark {', '.join(unmarked)}")
    try:
        manager.register(module, name=origin.plugin)
    except Exception as error:  # pluggy's own validation: arguments that a hook does not have
        if manager.has_plugin(origin.plugin):
            manager.unregister(name=origin.plugin)  # the hooks that came before the wrong one
        return None, _problem(origin, "plugin_invalid", _short(error))
    return module, None


def _hook_names(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if _is_hook(value)]


def _is_unmarked(module: ModuleType, name: str) -> bool:
    value = vars(module).get(name)
    return inspect.isfunction(value) and value.__module__ == module.__name__ and not _is_hook(value)


def _is_hook(value: Any) -> bool:
    return inspect.isroutine(value) and isinstance(getattr(value, f"{PROJECT}_impl", None), dict)


def _origin(entry: metadata.EntryPoint) -> Origin:
    distribution = entry.dist
    if distribution is None:
        return Origin(entry.name, "unknown distribution", "?")
    return Origin(entry.name, distribution.metadata["Name"] or "unknown distribution", distribution.version)


def _conflict(origin: Origin, other: Origin) -> PluginProblem:
    what = f"another distribution, {other.distribution} {other.version}, has a plugin of the same name"
    return _problem(origin, "plugin_conflict", what, f"uninstall {origin.distribution} or {other.distribution}")


def _incompatible(entry: metadata.EntryPoint, origin: Origin) -> PluginProblem | None:
    required, installed = required_engine(entry), installed_engine()
    if required is None or installed is None or required.contains(installed, prereleases=True):
        return None
    wanted = f"{PROJECT}{required}"
    what = f"it requires {wanted}, but {PROJECT} {installed} is installed"
    fix = f'pip install --upgrade {origin.distribution}, or pip install "{wanted}"'
    return _problem(origin, "plugin_incompatible", what, fix)


def _taken(name: str, first: Origin, second: Origin) -> PluginProblem:
    what = f'it registers "{name}", which {first} registers too, so neither can be used'
    fix = f"uninstall {first.distribution} or {second.distribution}, or run with --no-plugin {second.plugin}"
    if first == second:
        what, fix = f'it registers "{name}" twice, so neither can be used', ""
    problem = _problem(second, "plugin_conflict", what, fix)
    return attrs.evolve(problem, names=frozenset([name]))


def _problem(origin: Origin, code: str, what: str, fix: str = "") -> PluginProblem:
    fix = fix or f"update {origin.distribution}, or run with --no-plugin {origin.plugin}"
    return PluginProblem(origin, _named(origin, Fault(code, what, fix=fix)))


def _named(origin: Origin, fault: Fault) -> Fault:
    return attrs.evolve(fault, where=f"plugin {origin}")


def _short(error: BaseException) -> str:
    text = inspect.cleandoc(str(error)).replace("\n", " ")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _named_types(types: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, type_ in types.items():
        if not ID.fullmatch(name) or name in BASIC_TYPES:
            raise PluginError(Fault("plugin_invalid", f'it registers a type as "{name}", which is no usable name'))
        if not isinstance(type_, type):
            raise PluginError(Fault("plugin_invalid", f'it registers as the type "{name}" what is no class: {type_!r}'))
        yield name, type_


def _named_codecs(codecs: Iterable[Any]) -> Iterator[tuple[str, Codec]]:
    for codec in codecs:
        if not isinstance(codec, Codec) or not ID.fullmatch(codec.name):
            what = f"it registers as a codec what is none, or has no usable name: {codec!r}"
            raise PluginError(Fault("plugin_invalid", what))
        yield codec.name, codec


def _named_readers(readers: Iterable[Any]) -> Iterator[tuple[str, RecordReader]]:
    for reader in readers:
        suffixes = reader.suffixes if isinstance(reader, RecordReader) else ()
        if not suffixes or not all(_SUFFIX.fullmatch(suffix) for suffix in suffixes):
            what = f"it registers as a reader of run records what is none, or has no usable ending: {reader!r}"
            raise PluginError(Fault("plugin_invalid", what))
        yield from ((suffix, reader) for suffix in suffixes)


def _named_joiners(joiners: Iterable[Any]) -> Iterator[tuple[str, Joiner]]:
    for joiner in joiners:
        suffixes = joiner.suffixes if isinstance(joiner, Joiner) else ()
        if not suffixes or not all(_SUFFIX.fullmatch(suffix) for suffix in suffixes):
            what = f"it registers as what joins files what does not, or has no usable ending: {joiner!r}"
            raise PluginError(Fault("plugin_invalid", what))
        spec = spec_of(joiner.stage)
        if not spec.is_variadic or "path" not in spec.params:
            what = f"it registers as what joins files {spec.id}, which takes no number of paths, or has no param path"
            raise PluginError(Fault("plugin_invalid", what))
        yield from ((suffix, joiner) for suffix in suffixes)


def _named_continuations(codecs: Iterable[Any]) -> Iterator[tuple[str, ContinuationCodec]]:
    for codec in codecs:
        if not isinstance(codec, ContinuationCodec):
            what = f"it registers as the codec of a continuation what is none: {codec!r}"
            raise PluginError(Fault("plugin_invalid", what))
        yield codec.kind, codec


def _named_files(manifests: Mapping[str, Path]) -> Iterator[tuple[str, Path]]:
    return ((name, Path(path)) for name, path in manifests.items())
