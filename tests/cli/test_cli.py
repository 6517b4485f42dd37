"""The command line: results on stdout, messages on stderr, JSON for programs, exit codes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from stagegraph.cli.app import call

from .conftest import Cli, Result

PLUGIN = '''
from __future__ import annotations
from pathlib import Path
import stagegraph as sg

@sg.stage("words.join", version=2)
class Join:
    """Join two texts."""
    between: str = sg.param(" ", help="What stands between them.")
    times: int = sg.param(1, ge=1, le=5, help="How often.")
    def run(self, first: str, second: str = "world", *, context: sg.StageContext) -> str:
        for i in range(self.times):
            context.progress(i + 1, self.times)
        if first == "fail":
            raise ValueError("first is fail")
        if first == "stop":
            raise KeyboardInterrupt
        return self.between.join([first, second] * self.times)

@sg.stage("words.save", version=1)
def save(text: str, *, context: sg.StageContext) -> str:
    """Save a text in the run's folder."""
    path = context.directory / "text.txt"
    path.write_text(text)
    return str(path)

@sg.hookimpl
def stagegraph_stages():
    return [Join, save]

@sg.hookimpl
def stagegraph_manifests():
    return {"words/hello": Path(__file__).with_name("hello.yaml")}

@sg.hookimpl
def stagegraph_doctor():
    return [sg.Check("dictionary", HEALTHY, "found" if HEALTHY else "missing: install words")]

HEALTHY = True
'''

MANIFEST = """\
stagegraph: 1
name: words/hello
description: Greets.
inputs:
  first: {type: str, help: Whom.}
nodes:
  join: {stage: words.join, inputs: {first: inputs.first}}
  save: {stage: words.save, inputs: {text: join}}
outputs:
  text: join
  file: save
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an installed plugin `words`, in which the commands run."""
    info = tmp_path / "stagegraph_words-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stagegraph-words\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text("[stagegraph.plugins]\nwords = stagegraph_words\n")
    (tmp_path / "stagegraph_words.py").write_text(PLUGIN)
    (tmp_path / "hello.yaml").write_text(MANIFEST)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "stagegraph_words", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(plugin: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Call the command line."""

    def run(*args: str) -> Result:
        code = call(args)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


def test_run_prints_outputs_to_stdout_and_progress_to_stderr(cli: Cli) -> None:
    """Several outputs are named; a line a node tells of progress where there is no terminal."""
    result = cli("run", "words/hello", "-i", "first=hello", "--target", "text")
    assert (result.code, result.out) == (0, "hello world\n")
    assert result.err == "done     join  0.0 s\n"
    both = cli("run", "words/hello", "-i", "first=hello", "-q")
    assert (both.code, both.err) == (0, "")
    assert both.out.splitlines()[0] == "text: hello world"


def test_run_finds_files_by_path_and_shipped_manifests_by_name(cli: Cli) -> None:
    """A path wins where both exist."""
    for name in ("words/hello", "hello.yaml", "./hello.yaml"):
        assert cli("run", name, "-i", "first=a", "--target", "text", "-q").out == "a world\n"


def test_run_writes_its_record_where_a_stage_wrote_files(cli: Cli, plugin: Path) -> None:
    """The run's folder is named by day, graph and run; its record is finished."""
    path = Path(cli("run", "words/hello", "-i", "first=a", "--target", "file", "-q", "--runs-dir", "r").out.strip())
    assert path.read_text() == "a world"
    record = json.loads((path.parent / "run.json").read_text())
    assert path.parent.name.endswith(f"-words-hello-{record['id']}")
    assert (record["status"], record["outputs"], record["inputs"]) == ("finished", ["file"], {"first": "a"})
    assert record["versions"]["stagegraph-words"] == "1.5"


def test_run_with_json_prints_events_and_then_one_envelope(cli: Cli) -> None:
    """Every line is JSON; the last holds the outputs."""
    result = cli("run", "words/hello", "-i", "first=a", "--target", "text", "--json")
    assert [line["event"] for line in result.lines[:-1]] == [
        "run_started",
        "node_started",
        "node_progress",
        "node_finished",
        "run_finished",
    ]
    envelope = result.lines[-1]
    run = envelope["data"].pop("run")
    assert all(line["run"] == run for line in result.lines[:-1])
    assert envelope == {
        "schema": "stagegraph.envelope/1",
        "ok": True,
        "command": "run",
        "data": {"outputs": {"text": "a world"}, "directory": None},
    }


def test_settings_are_read_by_the_type_of_their_param(cli: Cli) -> None:
    """A number stays text where text is wanted, and becomes a number where one is."""
    sets = ["--set", "join.between=12", "--set", "join.times=2"]
    result = cli("run", "words/hello", "-i", "first=7", *sets, "--target", "text", "-q")
    assert result.out == "712world12712world\n"


def test_failed_stage_ends_with_1_and_tells_node_inputs_and_cause(cli: Cli) -> None:
    """The whole text, with how to go on, and the same as JSON."""
    result = cli("run", "words/hello", "-i", "first=fail", "-q")
    assert result.code == 1
    run = cli("runs", "--json").lines[0]["data"]["runs"][0]["id"]
    assert result.err == (
        "join: error[stage_failed]: join (words.join) failed: ValueError: first is fail\n"
        "  inputs: first 'fail'\n"
        f"to go on: stagegraph resume {run}\n"
    )
    failed = cli("run", "words/hello", "-i", "first=fail", "--json").lines[-1]
    assert failed["ok"] is False
    assert failed["notes"][0].startswith("to go on: stagegraph resume ")
    assert failed["error"] == {
        "code": "stage_failed",
        "message": "join (words.join) failed: ValueError: first is fail",
        "path": "join",
        "hint": "",
        "retryable": False,
    }


def test_interrupted_run_ends_with_130(cli: Cli) -> None:
    """Ctrl-C is no failure; the last line says how to go on, if there is a record to go on from."""
    result = cli("run", "words/hello", "-i", "first=stop", "-q")
    run = cli("runs", "--json").lines[0]["data"]["runs"][0]["id"]
    told = f"error[cancelled]: the run was interrupted\nto go on: stagegraph resume {run}\n"
    assert (result.code, result.err) == (130, told)
    result = cli("run", "words/hello", "-i", "first=stop", "-q", "--no-cache")
    assert (result.code, result.err) == (130, "error[cancelled]: the run was interrupted\n")


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (
            ["run", "words/hello", "-q"],
            (
                "error[missing_input]: words/hello needs a value for its input first (str)\n"
                "  why: Whom.\n"
                "  fix: give first, as in -i first=...\n"
            ),
        ),
        (
            ["run", "words/hello", "-q", "-i", "first=a", "-i", "frist=b"],
            'error[unknown_input]: words/hello has no input "frist"\n  fix: did you mean "first"?\n',
        ),
        (
            ["run", "words/hello", "-q", "-i", "first"],
            "error[usage]: -i first has no value\n  fix: write -i NAME=VALUE\n",
        ),
        (
            ["run", "words/hello", "-q", "-i", "first=a", "-i", "first=b"],
            "error[usage]: -i first is given twice\n  fix: keep one of them\n",
        ),
        (
            ["run", "words/hello", "-q", "--target", "txt"],
            'error[unknown_output]: words/hello has no output "txt"\n  fix: did you mean "text"?\n',
        ),
        (
            ["validate", "words/hello", "--set", "joyn.times=1"],
            (
                'error[unknown_node]: --set joyn.times: there is no node or component "joyn"\n'
                '  fix: did you mean "join"?\n'
            ),
        ),
        (
            ["validate", "words/hello", "--set", "join.times=9", "--set", "join.tmes=1"],
            (
                '--set join.tmes: error[unknown_param]: join (words.join) has no param "tmes"\n'
                '  fix: did you mean "times"?\n'
                "--set join.times: error[invalid_value]: join (words.join): times is 9\n"
                "  why: must be >= 1, <= 5\n"
                "  fix: use 5\n"
                "2 errors\n"
            ),
        ),
        (
            ["validate", "words/helo"],
            (
                'error[unknown_manifest]: there is no manifest "words/helo"\n'
                "  why: nor is there a file of this name\n"
                '  fix: did you mean "words/hello"?\n'
            ),
        ),
        (
            ["validate", "absent.yaml"],
            "error[unknown_manifest]: absent.yaml cannot be read: No such file or directory\n",
        ),
        (
            ["stages", "words.jion"],
            'error[unknown_stage]: there is no stage "words.jion"\n  fix: did you mean "words.join"?\n',
        ),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, list) else "",
)
def test_mistakes_end_with_2_and_say_what_to_type(cli: Cli, args: list[str], text: str) -> None:
    """The whole text on stderr, nothing on stdout; with --json the same faults in one envelope."""
    result = cli(*args)
    assert (result.code, result.out, result.err) == (2, "", text)
    as_json = cli(*args, "--json")
    assert (as_json.code, as_json.err, len(as_json.lines)) == (2, "", 1)
    assert as_json.lines[0]["error"]["code"] == as_json.lines[0]["faults"][0]["code"]


def test_unknown_command_and_option_are_usage_errors(cli: Cli) -> None:
    """Also as JSON."""
    assert cli("rnu").code == 2
    envelope = cli("validate", "--jsn", "--json", "x").lines[0]
    assert (envelope["error"]["code"], envelope["error"]["hint"]) == ("usage", "see stagegraph validate --help")


def test_validate_says_what_it_checked(cli: Cli) -> None:
    """One line for people, counts for programs."""
    assert cli("validate", "words/hello").out == "ok: words/hello, 2 nodes, 4 wires checked, no weights read\n"
    assert cli("validate", "words/hello", "--json").lines[0]["data"] == {
        "graph": "words/hello",
        "nodes": 2,
        "wires": 4,
        "components": 0,
        "warnings": [],
    }


def test_graph_draws_the_formats(cli: Cli) -> None:
    """A tree, Mermaid, DOT, and the manifest as YAML and JSON, which read back as the same graph."""
    assert cli("graph", "words/hello").out == (
        "words/hello\n"
        "  Greets.\n"
        "  inputs.first  str  Whom.\n"
        "text\n"
        "└─ join.output  words.join@2\n"
        "   └─ first <- inputs.first\n"
        "file\n"
        "└─ save.output  words.save@1\n"
        "   └─ text <- join.output  (above)\n"
    )
    assert cli("graph", "words/hello", "-f", "mermaid").out == (
        "flowchart LR\n"
        '    i0(["first"])\n'
        '    n0["join<br/>words.join@2"]\n'
        '    n1["save<br/>words.save@1"]\n'
        '    o0(["text"])\n'
        '    o1(["file"])\n'
        '    i0 -->|"first: str"| n0\n'
        '    n0 -->|"text: str"| n1\n'
        '    n0 -->|"str"| o0\n'
        '    n1 -->|"str"| o1\n'
    )
    assert cli("graph", "words/hello", "-f", "dot").out == (
        'digraph "words/hello" {\n'
        "    rankdir=LR;\n"
        "    node [shape=box];\n"
        '    "inputs.first" [shape=oval];\n'
        '    "join" [label="join\\nwords.join@2"];\n'
        '    "save" [label="save\\nwords.save@1"];\n'
        '    ">text" [label="text" shape=oval];\n'
        '    ">file" [label="file" shape=oval];\n'
        '    "inputs.first" -> "join" [label="first: str"];\n'
        '    "join" -> "save" [label="text: str"];\n'
        '    "join" -> ">text" [label="str"];\n'
        '    "save" -> ">file" [label="str"];\n'
        "}\n"
    )
    plan = cli("plan", "words/hello").out
    for format in ("yaml", "json"):
        Path(f"again.{format}").write_text(cli("graph", "words/hello", "-f", format).out)
        assert cli("plan", f"again.{format}").out == plan


def test_plan_prints_steps_and_lifetimes(cli: Cli) -> None:
    """The whole text."""
    assert cli("plan", "words/hello", "--target", "file").out == (
        "words/hello: 2 steps for file\n"
        "  1. join  words.join@2  <- inputs.first\n"
        "           drops inputs.first\n"
        "  2. save  words.save@1  <- join.output\n"
        "           drops join.output\n"
    )


def test_plan_and_run_refuse_what_does_not_fit(cli: Cli, plugin: Path) -> None:
    """Before anything is loaded, with exit code 4; what is no size is a usage error."""
    code = """
from __future__ import annotations
import stagegraph as sg

class Weights:
    pass

@sg.component("big.model", version=1)
class Model:
    @sg.part
    def weights(self) -> Weights:
        raise AssertionError("loaded")
    def part_facts(self, part):
        return {"bytes": 3 * 2**30}

@sg.stage("big.use", version=1)
class Use:
    def run(self, x: int, *, weights: Weights) -> int:
        return x
    def memory(self, inputs):
        return inputs["weights"]["bytes"] // 3

@sg.hookimpl
def stagegraph_stages():
    return [Use]

@sg.hookimpl
def stagegraph_components():
    return [Model]
"""
    (plugin / "stagegraph_words.py").write_text(code)
    (plugin / "big.yaml").write_text(
        "stagegraph: 1\nname: big\ncomponents: {model: {kind: big.model}}\n"
        "nodes: {use: {stage: big.use, inputs: {x: {value: 1}}}}\noutputs: {y: use}\n"
    )
    assert cli("plan", "big.yaml").out.splitlines()[-2:] == [
        "memory: 4.0 GiB at most",
        "     use    4.0 GiB  parts 3.0 GiB, call 1.0 GiB",
    ]
    assert cli("plan", "big.yaml", "--memory", "4GiB").code == 0
    for command in ("plan", "run"):
        result = cli(command, "big.yaml", "--memory", "3.5GiB")
        assert (result.code, result.err) == (
            4,
            (
                "nodes.use: error[does_not_fit]: use takes 4.0 GiB, 512.0 MiB more than there is\n"
                "  why: parts 3.0 GiB, call 1.0 GiB, of 3.5 GiB\n"
                "  fix: the step alone takes 4.0 GiB: ask for less, or use a smaller number format or more memory\n"
            ),
        )
    assert cli("plan", "big.yaml", "--memory", "lots").err == (
        'error[usage]: memory is "lots"\n  why: it is no size\n  fix: write a number and a unit, as in 24GiB\n'
    )


def test_ports_are_given_values_and_nodes_run_again(cli: Cli) -> None:
    """`--given` stands in for what feeds a port; `--from` runs what is kept."""
    given = ("run", "words/hello", "-i", "first=a", "--target", "text", "-q", "--given", "join.second=you")
    assert cli(*given).out == "a you\n"
    assert cli("run", "words/hello", "-q", "--target", "save", "--given", "save.text=12").code == 0
    first = cli("run", "words/hello", "-i", "first=a", "--target", "text")
    assert first.err == "done     join  0.0 s\n"
    again = ("run", "words/hello", "-i", "first=a", "--target", "text")
    assert cli(*again).err == "reused   join\n"
    assert cli(*again, "--from", "join").err == "done     join  0.0 s\n"
    assert cli(*again, "--from", "jon").err == (
        'error[unknown_node]: there is no node "jon" to run again\n  fix: did you mean "join"?\n'
    )


def test_stages_lists_and_shows(cli: Cli) -> None:
    """Signatures in the list; ports, params, defaults, limits and help of one."""
    listed = cli("stages").out
    assert "words.join@2  (first str, second str?) -> str\n    Join two texts.\n" in listed
    assert cli("stages", "words.join").out == (
        "words.join@2  words (stagegraph-words 1.5)\n"
        "    Join two texts.\n"
        "  inputs\n"
        "    first   str\n"
        "    second  str  = 'world'\n"
        "  outputs\n"
        "    output  str\n"
        "  params\n"
        "    between  str  = ' '  What stands between them.\n"
        "    times    int  = 1    How often. (>= 1, <= 5)\n"
    )


def test_plugins_lists_what_each_registers_and_no_plugin_leaves_one_out(cli: Cli) -> None:
    """Name, distribution, version; stages and manifests."""
    told = "words  stagegraph-words 1.5\n    stages: words.join, words.save\n    manifests: words/hello\n"
    assert told in cli("plugins").out
    assert "words" not in cli("--no-plugin", "words", "plugins").out
    assert cli("--no-plugin", "words", "validate", "words/hello").code == 2


def test_doctor_ends_with_3_if_something_must_be_mended(cli: Cli, plugin: Path) -> None:
    """A failed check is marked and decides the exit code."""
    healthy = cli("doctor")
    assert healthy.code == 0
    assert "ok  words" in healthy.out
    (plugin / "stagegraph_words.py").write_text(PLUGIN.replace("HEALTHY = True", "HEALTHY = False"))
    del sys.modules["stagegraph_words"]
    ill = cli("doctor")
    assert ill.code == 3
    assert next(line for line in ill.out.splitlines() if line.startswith("!!")).split() == (
        ["!!", "words", "dictionary", "missing:", "install", "words"]
    )
    assert cli("doctor", "--json").lines[0]["data"]["healthy"] is False


def test_version_is_printed(cli: Cli) -> None:
    """One line."""
    assert cli("--version").out == "stagegraph 0.1.0\n"
