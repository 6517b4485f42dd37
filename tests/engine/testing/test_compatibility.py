"""A plugin made for another engine is not imported, and `plugins doctor` tells what must be mended."""

from __future__ import annotations

import json
import sys

import pytest

from stagegraph.plugins import discover, fill

from .conftest import Cli, Install

TINT = '''
import stagegraph as sg
@sg.stage("{plugin}.tint", version=1)
def tint(x: int) -> int:
    """Add nothing."""
    return x
@sg.hookimpl
def stagegraph_stages():
    return [tint]
'''


@pytest.mark.parametrize(
    "requires",
    [
        ["stagegraph>=0.2,<0.3"],
        ["numpy>=1", "StageGraph >=0.2,<0.3 ; python_version >= '3.11'"],
        ["stagegraph>=0.1 ; extra == 'test'", "stagegraph>=0.2,<0.3"],
    ],
    ids=" | ".join,
)
def test_a_plugin_that_requires_another_engine_is_not_imported(install: Install, requires: list[str]) -> None:
    """Both versions are named, and what to type; the other plugins are used."""
    install("future", "raise SystemExit(3)", requires)
    plugins = discover()
    assert "future_plugin" not in sys.modules
    assert [str(problem.fault) for problem in plugins.problems] == [
        (
            "plugin future (future-plugin 1.2): error[plugin_incompatible]: it requires stagegraph<0.3,>=0.2, "
            "but stagegraph 0.1.0 is installed\n"
            '  fix: pip install --upgrade future-plugin, or pip install "stagegraph<0.3,>=0.2"'
        )
    ]
    assert "media" in [plugin.origin.plugin for plugin in plugins.loaded]


@pytest.mark.parametrize(
    "requires",
    [
        [],
        ["stagegraph"],
        ["stagegraph>=0.1,<0.2"],
        ["stagegraph>=9 ; python_version < '3'"],
        ["stagegraph-media>=9"],
        ["stagegraph >< nonsense"],
    ],
    ids=lambda requires: " | ".join(requires) or "nothing",
)
def test_a_plugin_that_does_not_rule_the_engine_out_is_used(install: Install, requires: list[str]) -> None:
    """No requirement, one that holds, one for another Python, one of another distribution, one that is no range."""
    install("tint", TINT.format(plugin="tint"), requires)
    assert "tint.tint" in fill(discover()).stages


def test_the_graph_that_needs_it_says_why_it_is_not_there(install: Install, cli: Cli) -> None:
    """Where the stage is used."""
    install("future", TINT.format(plugin="future"), ["stagegraph>=7"])
    told = cli("stages", "future.tint")
    assert told.code == 2
    assert told.err == (
        'error[unknown_stage]: stage "future.tint" is not available\n'
        "  why: plugin future (future-plugin 1.2) registers it, but: it requires stagegraph>=7, "
        "but stagegraph 0.1.0 is installed\n"
        '  fix: pip install --upgrade future-plugin, or pip install "stagegraph>=7"\n'
    )


def test_the_doctor_tells_everything_that_must_be_mended(install: Install, cli: Cli) -> None:
    """A line each; exit code 3. Healthy plugins are told too, and count."""
    install("future", TINT.format(plugin="future"), ["stagegraph>=7"])
    install("heavy", "import numpy\n" + TINT.format(plugin="heavy").replace('"""Add nothing."""', ""), [])
    install("broken", "import a_library_that_is_not_there")
    install("tint", TINT.format(plugin="tint"))
    looked = {name: cli("plugins", "doctor", name) for name in ("future", "heavy", "broken")}
    assert {name: done.code for name, done in looked.items()} == dict.fromkeys(looked, 3)
    assert looked["future"].out == (
        "future  future-plugin 1.2\n"
        "  !!  plugin_incompatible  it requires stagegraph>=7, but stagegraph 0.1.0 is installed; "
        'pip install --upgrade future-plugin, or pip install "stagegraph>=7"\n'
        "  ok  requires             stagegraph>=7 (0.1.0 is installed)\n"
        "  ok  hooks                none\n"
        "  ok  registers            nothing\n"
        "  ok  docs                 complete\n"
    )
    heavy = looked["heavy"].out.splitlines()
    assert heavy[1] == (
        "  !!  requires   its distribution does not require stagegraph, so any version counts as compatible"
    )
    assert heavy[2].startswith("  !!  import     ")
    assert heavy[2].endswith(" ms, brings numpy: import them where they are used")
    assert heavy[3:] == [
        "  ok  hooks      stagegraph_stages",
        "  ok  registers  1 stage",
        "  !!  docs       heavy.tint: its function has no docstring",
    ]
    assert "!!  import         failed in a fresh interpreter: ModuleNotFoundError" in looked["broken"].out
    everything = cli("plugins", "doctor", "--json")
    plugins = {plugin["plugin"]: plugin for plugin in json.loads(everything.out)["data"]["plugins"]}
    assert everything.code == 3
    assert {name: plugin["healthy"] for name, plugin in plugins.items() if plugin["version"] == "1.2"} == {
        "broken": False,
        "future": False,
        "heavy": False,
        "tint": True,
    }
    assert plugins["future"]["cost"] is None
    assert plugins["heavy"]["cost"]["heavy"] == ["numpy"]


def test_the_doctor_knows_only_plugins_that_are_there(install: Install, cli: Cli) -> None:
    """A name that none has is told, and one that was left out counts as absent."""
    install("tint", TINT.format(plugin="tint"))
    told = cli("plugins", "doctor", "tnit")
    assert (told.code, told.err) == (
        3,
        'error[unknown_plugin]: there is no plugin "tnit"\n  fix: did you mean "tint"?\n',
    )
    out = cli("--no-plugin", "tint", "plugins", "doctor", "tint")
    assert (out.code, out.out) == (3, "")


def test_json_goes_behind_the_command(cli: Cli) -> None:
    """Before it, it would be ignored."""
    told = cli("plugins", "--json", "doctor")
    fault = json.loads(told.out)["faults"][0]
    assert (told.code, fault["fix"]) == (2, "write stagegraph plugins doctor ... --json")
