"""Plugins are found, loaded and checked one by one; a broken one is named and the others go on."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stagegraph.errors import Fault
from stagegraph.plugins import Plugins, checks, commands, discover, fill
from stagegraph.registry import Registry

#: Installs a distribution: (plugin, source of its module, distribution, version) -> the folder it is in.
Install = Callable[..., Path]

GOOD = """
    from stagegraph import hookimpl, stage

    @stage("{plugin}.inc", version=1)
    def inc(x: int) -> int:
        '''Add one.'''
        return x + 1

    @hookimpl
    def stagegraph_stages():
        return [inc]
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Distributions as pip leaves them: a dist-info folder with METADATA and entry points, and a module."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder), *(p for p in sys.path if "site-packages" not in p or p == "")])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def write(plugin: str, source: str, distribution: str = "", version: str = "1.2", value: str = "") -> Path:
        distribution = distribution or f"{plugin}-plugin"
        module = f"plugin_{distribution.replace('-', '_')}"
        info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        with (info / "entry_points.txt").open("a") as file:
            file.write(f"[stagegraph.plugins]\n{plugin} = {value or module}\n")
        (folder / f"{module}.py").write_text(textwrap.dedent(source).format(plugin=plugin))
        return folder

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("plugin_"):
            del sys.modules[name]


def only_fakes(plugins: Plugins) -> Plugins:
    """Without the plugins that happen to be installed beside the engine."""
    return Plugins(
        tuple(p for p in plugins.loaded if p.module.__name__.startswith("plugin_")),
        tuple(p for p in plugins.problems if "-plugin" in p.origin.distribution),
        plugins.manager,
    )


def found(*, disabled: tuple[str, ...] = ()) -> Registry:
    """What the fake plugins register."""
    return fill(only_fakes(discover(disabled)))


def problems(registry: Registry) -> list[str]:
    """The whole text of every problem."""
    return [str(problem.fault) for problem in registry.problems]


def the_fault(result: object) -> str:
    """The whole text of a look-up that failed."""
    assert isinstance(result, Fault)
    return str(result)


def test_a_plugin_is_found_by_its_entry_point(install: Install) -> None:
    """Its stages are in the registry, with where they come from."""
    install("acme", GOOD, version="2.0")
    registry = found()
    assert problems(registry) == []
    assert list(registry.stages) == ["acme.inc"]
    assert str(registry.origins["acme.inc"]) == "acme (acme-plugin 2.0)"
    assert [str(origin) for origin in registry.plugins] == ["acme (acme-plugin 2.0)"]


def test_every_hook_fills_its_table(install: Install) -> None:
    """Types, stages, components, manifests, commands and checks; hooks may be generators."""
    install(
        "acme",
        """
        from stagegraph import Check, component, hookimpl, part, stage

        class Thing:
            pass

        @component("acme.model", version=1)
        class Model:
            @part
            def thing(self) -> Thing:
                return Thing()

        @stage("acme.use", version=1)
        def use(x: int, *, thing: Thing) -> int:
            return x

        @hookimpl
        def stagegraph_types():
            return {{"acme.thing": Thing}}

        @hookimpl
        def stagegraph_stages():
            yield use

        @hookimpl
        def stagegraph_components():
            return (Model,)

        @hookimpl
        def stagegraph_manifests():
            return {{"acme/hello": "hello.yaml"}}

        @hookimpl
        def stagegraph_commands():
            return {{"acme": "app"}}

        @hookimpl
        def stagegraph_doctor():
            yield Check("torch", True, "2.0")
        """,
    )
    plugins = only_fakes(discover())
    registry = fill(plugins)
    assert problems(registry) == []
    assert list(registry.stages) == ["acme.use"]
    assert list(registry.components) == ["acme.model"]
    assert list(registry.types) == ["str", "int", "float", "bool", "acme.thing"]
    assert registry.manifests == {"acme/hello": Path("hello.yaml")}
    assert commands(plugins) == {"acme": "app"}
    assert [(str(origin), check.name, check.ok) for origin, check in checks(plugins)] == [
        ("acme (acme-plugin 1.2)", "torch", True)
    ]


IMPORT_ERRORS = {
    "raise ImportError('no module named acme_core')": "ImportError: no module named acme_core",
    "import a_module_that_is_not_there": "ModuleNotFoundError: No module named 'a_module_that_is_not_there'",
    "raise SystemExit(3)": "SystemExit: 3",
    "def f(): return f()\nf()": "RecursionError: maximum recursion depth exceeded",
    "raise ValueError": "ValueError",
    "raise ValueError('two\\n  lines')": "ValueError: two lines",
}


@pytest.mark.parametrize("source", IMPORT_ERRORS)
def test_a_plugin_that_fails_to_import_is_told(install: Install, source: str) -> None:
    """With what it raised, its distribution and version, and what to do; the others work."""
    install("broken", source, version="0.3")
    install("good", GOOD)
    registry = found()
    (problem,) = problems(registry)
    assert problem.replace(" while calling a Python object", "") == (
        "plugin broken (broken-plugin 0.3): error[plugin_import]: importing plugin_broken_plugin failed: "
        f"{IMPORT_ERRORS[source]}\n"
        "  fix: update or uninstall broken-plugin, or run with --no-plugin broken"
    )
    assert list(registry.stages) == ["good.inc"]


def test_an_unknown_name_of_a_broken_plugin_says_so(install: Install) -> None:
    """A stage whose prefix is that plugin's is not just unknown; other names are."""
    install("broken", "raise ImportError('no torch')", version="0.3")
    install("good", GOOD)
    registry = found()
    why = (
        "  why: plugin broken (broken-plugin 0.3) registers it, but: "
        "importing plugin_broken_plugin failed: ImportError: no torch\n"
        "  fix: update or uninstall broken-plugin, or run with --no-plugin broken"
    )
    assert the_fault(registry.stage("broken.tint")) == (
        f'error[unknown_stage]: stage "broken.tint" is not available\n{why}'
    )
    assert the_fault(registry.manifest("broken/hello")) == (
        f'error[unknown_manifest]: manifest "broken/hello" is not available\n{why}'
    )
    assert the_fault(registry.component("broken.model")).startswith("error[unknown_component]")
    assert the_fault(registry.type("broken.thing")).startswith('error[unknown_type]: type "broken.thing" is not')
    assert the_fault(registry.stage("good.ink")) == (
        'error[unknown_stage]: there is no stage "good.ink"\n  fix: did you mean "good.inc"?'
    )


def test_a_disabled_plugin_is_not_imported(install: Install) -> None:
    """Neither its errors nor its stages are seen."""
    install("broken", "raise SystemExit(3)")
    install("good", GOOD)
    registry = found(disabled=("broken",))
    assert problems(registry) == []
    assert "plugin_broken_plugin" not in sys.modules
    assert list(found(disabled=("good", "broken")).stages) == []


def test_what_a_plugin_prints_stays_out_of_the_output(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output belongs to the command; what a module prints while it is imported goes to standard error."""
    install("loud", "print('hello from loud')" + textwrap.dedent(GOOD))
    assert list(found().stages) == ["loud.inc"]
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "hello from loud\n")


def test_a_misspelt_hook_is_told(install: Install) -> None:
    """Instead of being ignored; the plugin is not used."""
    install("typo", GOOD.replace("def stagegraph_stages", "def stagegraph_stage"))
    registry = found()
    assert problems(registry) == [
        (
            "plugin typo (typo-plugin 1.2): error[plugin_invalid]: it implements a hook stagegraph_stage "
            "that does not exist\n"
            "  fix: its author should rename it to stagegraph_stages"
        )
    ]
    assert list(registry.stages) == []


def test_a_hook_without_its_mark_is_told(install: Install) -> None:
    """It would never be called, and nobody would know why."""
    install("plain", GOOD.replace("    @hookimpl\n", ""))
    registry = found()
    assert problems(registry) == [
        (
            "plugin plain (plain-plugin 1.2): error[plugin_invalid]: it defines stagegraph_stages without @hookimpl, "
            "so that it would never be called\n"
            "  fix: its author should mark stagegraph_stages"
        )
    ]


def test_a_hook_with_a_wrong_argument_is_told(install: Install) -> None:
    """And none of its other hooks is used, not even in the name of another plugin."""
    install(
        "args",
        GOOD
        + """
    @hookimpl
    def stagegraph_types(registry):
        return {{}}
    """,
    )
    install("good", GOOD)
    registry = found()
    (problem,) = problems(registry)
    first, fix = problem.splitlines()[0], problem.splitlines()[-1]
    assert first.startswith(
        "plugin args (args-plugin 1.2): error[plugin_invalid]: PluginValidationError: "
        "Plugin 'args' for hook 'stagegraph_types'"
    )
    assert "Argument(s) {'registry'} are declared in the hookimpl but can not be found in the hookspec" in problem
    assert fix == "  fix: update args-plugin, or run with --no-plugin args"
    assert list(registry.stages) == ["good.inc"]


def hook(body: str, name: str = "stagegraph_stages") -> str:
    """A module with one hook."""
    return f"from stagegraph import Check, hookimpl\n\n@hookimpl\ndef {name}():\n    {body}\n"


NO_JOINER = '''
import stagegraph as sg

@sg.stage("bad.one", version=1)
def one(part: str) -> str:
    """One alone."""
    return part

@sg.hookimpl
def stagegraph_joiners():
    return [sg.Joiner((".x",), one, lambda file, parts: False)]
'''


@pytest.mark.parametrize(
    ("source", "what"),
    [
        (hook("raise KeyError('x')"), "its hook stagegraph_stages failed: KeyError: 'x'"),
        (hook("raise SystemExit(3)"), "its hook stagegraph_stages failed: SystemExit: 3"),
        (hook("import gone"), "its hook stagegraph_stages failed: ModuleNotFoundError: No module named 'gone'"),
        (hook("yield 1 / 0"), "its hook stagegraph_stages failed: ZeroDivisionError: division by zero"),
        (hook("pass"), "its hook stagegraph_stages returned nothing"),
        (
            hook("return 3"),
            "a hook returned something else than its specification says: TypeError: 'int' object is not iterable",
        ),
        (
            hook("return ['acme.tint']", "stagegraph_types"),
            (
                "a hook returned something else than its specification says: "
                "AttributeError: 'list' object has no attribute 'items'"
            ),
        ),
        (
            hook("return {{'acme/x': 3}}", "stagegraph_manifests"),
            (
                "a hook returned something else than its specification says: TypeError: "
                "expected str, bytes or os.PathLike object, not int"
            ),
        ),
        (hook("return {{'A B': int}}", "stagegraph_types"), 'it registers a type as "A B", which is no usable name'),
        (hook("return {{'str': bytes}}", "stagegraph_types"), 'it registers a type as "str", which is no usable name'),
        (hook("return {{'bad.x': 3}}", "stagegraph_types"), 'it registers as the type "bad.x" what is no class: 3'),
        (
            hook("return [3]", "stagegraph_record_readers"),
            "it registers as a reader of run records what is none, or has no usable ending: 3",
        ),
        (
            hook("return [3]", "stagegraph_joiners"),
            "it registers as what joins files what does not, or has no usable ending: 3",
        ),
        (
            NO_JOINER,
            "it registers as what joins files bad.one, which takes no number of paths, or has no param path",
        ),
    ],
)
def test_a_hook_that_fails_is_told(install: Install, source: str, what: str) -> None:
    """Whatever it raises or returns, with the plugin's name; the others work."""
    install("bad", source)
    install("good", GOOD)
    registry = found()
    (problem,) = problems(registry)
    assert problem.splitlines()[0] == f"plugin bad (bad-plugin 1.2): error[plugin_invalid]: {what}"
    assert list(registry.stages) == ["good.inc"]


def test_what_is_no_stage_is_told(install: Install) -> None:
    """A hook that returns an undecorated function loses all its stages, and says which was wrong."""
    install("bad", hook("return ['tint']"))
    assert problems(found()) == [
        (
            "plugin bad (bad-plugin 1.2): error[invalid_stage]: 'tint' is not a stage\n"
            '  fix: decorate its class or function with @stage("...", version=1)'
        )
    ]


def test_an_entry_point_must_name_a_module(install: Install) -> None:
    """An attribute that is missing or no module is told like a failed import."""
    install("attribute", "thing = 3", value="plugin_attribute_plugin:thing")
    install("missing", "", value="plugin_missing_plugin:thing")
    assert problems(found()) == [
        (
            "plugin attribute (attribute-plugin 1.2): error[plugin_import]: importing plugin_attribute_plugin:thing "
            "failed: TypeError: it is a int, not a module\n"
            "  fix: update or uninstall attribute-plugin, or run with --no-plugin attribute"
        ),
        (
            "plugin missing (missing-plugin 1.2): error[plugin_import]: importing plugin_missing_plugin:thing "
            "failed: AttributeError: module 'plugin_missing_plugin' has no attribute 'thing'\n"
            "  fix: update or uninstall missing-plugin, or run with --no-plugin missing"
        ),
    ]


def test_objects_that_have_every_attribute_are_no_hooks(install: Install) -> None:
    """A module may hold such an object without being taken for misspelt."""
    install("mock", "from unittest.mock import MagicMock\nanything = MagicMock()\n" + textwrap.dedent(GOOD))
    registry = found()
    assert problems(registry) == []
    assert list(registry.stages) == ["mock.inc"]


def test_a_stage_of_two_plugins_belongs_to_neither(install: Install) -> None:
    """Using it names both, with versions; what else they register works."""
    other = (
        GOOD.replace('"{plugin}.inc"', '"acme.inc"').replace("return [inc]", "return [inc, mine]")
        + """
    @stage("other.mine", version=1)
    def mine(x: int) -> int:
        '''Add nothing.'''
        return x
    """
    )
    install("acme", GOOD, version="1.0")
    install("other", other, version="2.0")
    registry = found()
    assert list(registry.stages) == ["other.mine"]
    text = 'it registers "acme.inc", which acme (acme-plugin 1.0) registers too, so neither can be used'
    fix = "  fix: uninstall acme-plugin or other-plugin, or run with --no-plugin other"
    assert problems(registry) == [f"plugin other (other-plugin 2.0): error[plugin_conflict]: {text}\n{fix}"]
    assert the_fault(registry.stage("acme.inc")) == (
        'error[unknown_stage]: stage "acme.inc" is not available\n'
        f"  why: plugin other (other-plugin 2.0) registers it, but: {text}\n{fix}"
    )
    assert "acme.inc" not in registry.origins


def test_a_plugin_that_registers_a_name_twice_is_told(install: Install) -> None:
    """That is a fault of one plugin, not a conflict of two distributions."""
    install("twice", GOOD.replace("return [inc]", "return [inc, inc]"))
    assert problems(found()) == [
        (
            'plugin twice (twice-plugin 1.2): error[plugin_conflict]: it registers "twice.inc" twice, '
            "so neither can be used\n"
            "  fix: update twice-plugin, or run with --no-plugin twice"
        )
    ]


def test_two_distributions_with_one_plugin_name_are_told(install: Install) -> None:
    """The second is not loaded, and both are named."""
    install("acme", GOOD, distribution="first-plugin", version="1.0")
    install("acme", GOOD, distribution="second-plugin", version="2.0")
    registry = found()
    assert [str(origin) for origin in registry.plugins] == ["acme (first-plugin 1.0)"]
    assert problems(registry) == [
        (
            "plugin acme (second-plugin 2.0): error[plugin_conflict]: another distribution, first-plugin 1.0, "
            "has a plugin of the same name\n"
            "  fix: uninstall second-plugin or first-plugin"
        )
    ]


def test_one_distribution_twice_on_the_path_is_one(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an editable installation beside an ordinary one."""
    folder = install("acme", GOOD)
    copy = tmp_path / "copy"
    copy.symlink_to(folder)
    monkeypatch.setattr(sys, "path", [*sys.path, str(copy)])
    registry = found()
    assert problems(registry) == []
    assert list(registry.stages) == ["acme.inc"]


def test_plugins_load_in_the_order_of_their_names(install: Install) -> None:
    """Not in that of the file system, so that every machine reports the same."""
    for name in ("zeta", "alpha", "mid"):
        install(name, GOOD)
    assert [origin.plugin for origin in found().plugins] == ["alpha", "mid", "zeta"]


def test_a_broken_command_or_check_does_not_stop_the_others(install: Install) -> None:
    """`doctor` shows what a plugin's check raised; commands that are no mapping are left out."""
    install("bad", hook("return ['app']", "stagegraph_commands"))
    install("checks", hook("yield Check('a', True, '')\n    raise OSError('disk')", "stagegraph_doctor"))
    install("nochecks", hook("return ['fine']", "stagegraph_doctor"))
    install("good", hook("return {{'good': 'app'}}", "stagegraph_commands"))
    install("broken", "raise ImportError('no torch')")
    plugins = only_fakes(discover())
    assert commands(plugins) == {"good": "app"}
    assert [(origin.plugin, check.name, check.ok, check.detail) for origin, check in checks(plugins)] == [
        ("broken", "plugin", False, "importing plugin_broken_plugin failed: ImportError: no torch"),
        ("checks", "doctor", False, "its hook stagegraph_doctor failed: OSError: disk"),
        ("nochecks", "doctor", False, "its hook stagegraph_doctor returned no list of checks"),
    ]
