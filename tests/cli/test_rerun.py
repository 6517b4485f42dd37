"""`rerun`: what a record tells of is made again, what has changed is told, and nothing in a record is believed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import stagegraph as sg
from stagegraph import plugins, record
from stagegraph.artifacts import Codecs
from stagegraph.caching import Caching
from stagegraph.record import LONGEST
from stagegraph.store import Store

from .conftest import Cli

Notes = Callable[..., Path]


def record_in(path: str | Path) -> dict[str, Any]:
    """The record that a note carries."""
    return json.loads(Path(path).read_bytes().partition(b"\n--record--\n")[2])


def said(path: str | Path) -> str:
    """What a note says."""
    return Path(path).read_bytes().partition(b"\n--record--\n")[0].decode()


@pytest.fixture
def note(cli: Cli) -> Path:
    """A note with a record, where the user wanted it."""
    assert cli("run", "m.yaml", "-i", "text=a fox", "--set", "say.times=2", "-o", "fox.note", "-q").code == 0
    return Path("fox.note")


def changed(note: Path, name: str, **parts: Any) -> str:
    """A record file like that of a note, with some of its parts changed."""
    Path(name).write_text(json.dumps({**record_in(note), **parts}))
    return name


def test_a_file_is_made_again_in_the_folder_of_a_new_run(cli: Cli, note: Path) -> None:
    """The same params and inputs, also those that were defaults; the old file stays as it is."""
    before = note.read_bytes()
    result = cli("rerun", "fox.note", "-q")
    again = Path(result.out.strip())
    assert (result.code, result.err) == (0, "")
    assert again.parent.parent == Path("runs")
    assert again.parent.name.endswith(f"-notes-say-{record_in(again)['id']}")
    assert said(again) == said(note) == "a fox a fox"
    old, new = record_in(note), record_in(again)
    assert note.read_bytes() == before
    assert old["manifest"]["nodes"]["write"]["params"]["path"] == "fox.note"
    assert new["manifest"]["nodes"]["write"]["params"]["path"] is None
    same = ("inputs", "outputs", "versions", "components", "node", "given", "described")
    assert [new[part] for part in same] == [old[part] for part in same]
    assert (old["node"], old["outputs"], old["components"]) == ("write", ["note"], {"model": "f00d"})


def test_a_record_file_its_folder_and_a_run_of_the_store_do_as_well(cli: Cli, note: Path) -> None:
    """A run by its id, or "last"."""
    folder = Path(cli("rerun", "fox.note", "-q").out.strip()).parent
    id = cli("runs", "--json").lines[0]["data"]["runs"][0]["id"]
    for source in (str(folder / "run.json"), str(folder), id, id[:6], "last"):
        assert said(cli("rerun", source, "-q").out.strip()) == "a fox a fox"


def test_settings_inputs_and_the_path_are_laid_over_the_record(cli: Cli, note: Path) -> None:
    """As in `run`; -o names the file of the node that wrote it."""
    words = ["--set", "say.times=3", "-i", "text=a dog", "-o", "dog.note", "-q"]
    assert cli("rerun", "fox.note", *words).out == "dog.note\n"
    assert said("dog.note") == "a dog a dog a dog"
    swept = cli("rerun", "fox.note", "-i", "text=@texts.txt", "-q")
    assert "the file cannot be read" in swept.err
    Path("texts.txt").write_text("one\ntwo\n")
    swept = cli("rerun", "fox.note", "-i", "text=@texts.txt", "-q")
    paths = [line.partition(": ")[2] for line in swept.out.splitlines()]
    assert [said(path) for path in paths] == ["one one", "two two"]


def test_a_file_of_a_sweep_is_made_again_alone(cli: Cli) -> None:
    """Its record tells of what made it, and of none of the others."""
    Path("texts.txt").write_text("one\ntwo\n")
    out = cli("run", "m.yaml", "-i", "text=@texts.txt", "-q").out
    second = out.splitlines()[1].partition(": ")[2]
    found = record_in(second)
    assert (found["node"], list(found["manifest"]["nodes"])) == ("write/text-two", ["say/text-two", "write/text-two"])
    again = cli("rerun", second, "-q")
    assert said(again.out.strip()) == "two"
    assert again.out.endswith("/write-text-two.note\n")


def test_a_rerun_uses_what_is_kept_unless_it_is_told_not_to(cli: Cli, note: Path) -> None:
    """The lines of progress say which."""
    assert cli("rerun", "fox.note").err == "reused   say\ndone     write  0.0 s\n"
    lines = cli("rerun", "fox.note", "--no-cache").err.splitlines()
    assert lines[1:] == ["done     say  0.0 s", "done     write  0.0 s"]


def test_other_weights_are_an_error_that_says_what_accepts_them(cli: Cli, note: Path) -> None:
    """An option, or a setting of the component; both are told."""
    Path("weights").write_text("beef")
    differs = (
        "since fox.note was made, on DAY:\n"
        "    components.model.fingerprint: f00d -> beef\n"
    )  # fmt: skip
    day = record_in(note)["created"][:10]
    result = cli("rerun", "fox.note", "-q")
    assert (result.code, result.out) == (2, "")
    assert result.err.replace(day, "DAY") == differs + (
        "fox.note: error[weights_changed]: the weights of model (notes.voice) are others: f00d then, beef now\n"
        "  fix: --accept weights runs it with the weights that are here\n"
    )
    accepted = cli("rerun", "fox.note", "-q", "--accept", "weights")
    assert (accepted.code, accepted.err.replace(day, "DAY")) == (0, differs)
    Path("other").write_text("c0de")
    chosen = cli("rerun", "fox.note", "-q", "--set", "model.file=other")
    assert (chosen.code, chosen.err.count("f00d -> c0de")) == (0, 1)


def test_changed_versions_and_devices_are_told(cli: Cli, note: Path) -> None:
    """On stderr for people, in the envelope for programs; the run goes on."""
    Path("device").write_text("cpu")
    versions = {**record_in(note)["versions"], "stagegraph-notes": "1.4", "python": "3.10.0"}
    source = changed(note, "old.json", versions=versions, facts={"model": {"device": "cuda"}})
    result = cli("rerun", source, "-q")
    assert result.code == 0
    python = record_in(note)["versions"]["python"]
    assert result.err.splitlines()[1:] == [
        f"    versions.python: 3.10.0 -> {python}",
        "    versions.stagegraph-notes: 1.4 -> 1.5",
        "    components.model.device: cuda -> cpu",
    ]
    data = cli("rerun", source, "--json").lines[-1]["data"]
    assert data["of"] == "old.json"
    assert data["changes"][1] == {"name": "versions.stagegraph-notes", "old": "1.4", "new": "1.5"}


def test_a_stage_that_migrates_params_is_told(cli: Cli, note: Path, notes: Notes) -> None:
    """The params are brought to the new version."""
    notes(2, "{1: lambda params: {'times': params['times'] + 1}}")
    result = cli("rerun", "fox.note", "-q")
    assert result.err.splitlines()[1:] == ["    say.stage: notes.say@1 -> notes.say@2"]
    assert said(result.out.strip()) == "a fox a fox a fox"


def test_a_stage_of_a_version_that_is_not_read_is_an_error_that_says_what_accepts_it(
    cli: Cli, note: Path, notes: Notes
) -> None:
    """With the option, the params are taken for those of the installed version."""
    notes(2)
    result = cli("rerun", "fox.note", "-q")
    assert result.code == 2
    assert result.err == (
        'fox.note: error[stage_changed]: say is notes.say of version "1", but installed is version 2\n'
        "  why: nothing brings its params from one to the other\n"
        "  fix: --accept stages reads the params as those of the installed version\n"
    )
    accepted = cli("rerun", "fox.note", "-q", "--accept", "stages")
    assert accepted.err.splitlines()[1:] == ["    say.stage: notes.say@1 -> notes.say@2"]
    assert said(accepted.out.strip()) == "a fox a fox"


def test_missing_plugins_are_named_all_at_once(cli: Cli, note: Path) -> None:
    """With what the record says of where they came from; something has to be installed, so the exit code is 3."""
    found = record_in(note)
    manifest = found["manifest"]
    manifest["nodes"]["say"]["stage"] = "sepia.say@1"
    manifest["components"]["model"]["kind"] = "sepia.colours"
    versions = {**found["versions"], "stagegraph-sepia": "0.3", "": "x"}
    result = cli("rerun", changed(note, "other.json", manifest=manifest, versions=versions), "-q")
    assert result.code == 3
    why = '  why: no installed plugin is called "sepia"; the run had stagegraph-sepia 0.3,  x, which is not installed\n'
    fix = "  fix: install the plugin that registers it\n"
    assert result.err == (
        f'other.json: error[unknown_stage]: there is no stage "sepia.say"\n{why}{fix}'
        f'other.json: error[unknown_component]: there is no component kind "sepia.colours"\n{why}{fix}'
        "2 errors\n"
    )


def test_an_input_that_the_record_only_describes_must_be_given(cli: Cli, note: Path) -> None:
    """Its type, and what is known of it; -i gives what can be typed."""
    result = cli(
        "rerun", changed(note, "long.json", described=["text"], inputs={"text": "'a fox...' (9 MB)", "seed": 7})
    )
    assert result.code == 2
    assert result.err == (
        "long.json: error[missing_input]: the record does not hold the input text (str)\n"
        "  why: it is only described: \"'a fox...' (9 MB)\"\n"
        "  fix: give text, as in -i text=...\n"
    )
    assert said(cli("rerun", "long.json", "-q", "-i", "text=a cat").out.strip()) == "a cat a cat"


def test_inputs_are_kept_as_far_as_json_holds_them(cli: Cli, notes: Notes) -> None:
    """Lists and mappings of plain values whole; others are described, and so is what is very long."""
    registry = plugins.fill(plugins.discover())
    handle = registry.types["notes.handle"]()
    g = sg.Graph("kept", registry=registry)
    g.output("told", g.add("notes.hold", handle=g.input("handle", registry.types["notes.handle"])))
    for name, type_ in (("texts", list[str]), ("long", str), ("number", int)):
        g.input(name, type_)
    run = g.run(handle=handle, texts=["a", "b"], long="x" * 2**21, number=2**5000)
    assert run.record.inputs == {
        "handle": "<a handle>",
        "texts": ["a", "b"],
        "long": f"'{'x' * 57}'... (2097152 characters)",
        "number": "an integer of more than 75 digits",
    }
    assert run.record.described == ("handle", "long", "number")
    Path("run.json").write_text(json.dumps(run.record.as_dict()))
    result = cli("rerun", "./run.json", "-q")
    assert result.err.splitlines()[0] == (
        "run.json: error[missing_input]: the record does not hold the input handle (Handle)"
    )


def test_values_that_were_given_are_given_again(cli: Cli) -> None:
    """For an output and for an input of a node; the nodes before them do not run."""
    words = ["run", "m.yaml", "-i", "text=x", "-q"]
    assert cli(*words, "--given", "say.output=a word", "-o", "given.note").code == 0
    assert record_in("given.note")["given"] == {"say.outputs.output": "a word"}
    assert cli("rerun", "given.note", "--no-cache").err == "done     write  0.0 s\n"
    assert cli(*words, "--given", "say.text=a cat", "-o", "cat.note").code == 0
    assert said(cli("rerun", "cat.note", "-q").out.strip()) == "a cat"


def test_given_values_that_the_record_does_not_hold_are_an_error_unless_accepted(cli: Cli, note: Path) -> None:
    """Then the nodes run."""
    source = changed(note, "given.json", given={"say.outputs.output": "Frames(...)"}, described=["say.outputs.output"])
    result = cli("rerun", source, "-q")
    assert result.code == 2
    assert result.err == (
        "given.json: error[values_given]: the run was given the values of say.outputs.output, which the record does "
        "not hold\n"
        "  fix: --accept given makes them anew\n"
    )
    assert said(cli("rerun", source, "-q", "--accept", "given").out.strip()) == "a fox a fox"


def test_a_stored_run_has_the_inputs_that_its_record_only_describes(cli: Cli, notes: Notes) -> None:
    """What a codec wrote to the store comes back."""
    g = sg.Graph("long", registry=plugins.fill(plugins.discover()))
    g.component("model", g.registry.components["notes.voice"].factory())
    g.output("text", g.add("notes.say", text=g.input("text", str)))
    with Store() as store:
        run = g.run(text="x" * (2**20 + 1), caching=Caching(store, Codecs()))
    assert run.record.described == ("text",)
    assert len(cli("rerun", "last", "-q").out.strip()) == 2**20 + 1


@pytest.mark.parametrize(
    "path", ["../escaped.note", "/tmp/../{folder}/escaped.note", "{folder}/escaped.note", "m.note"]
)
def test_a_path_of_the_record_is_not_written_to(cli: Cli, note: Path, path: str, tmp_path: Path) -> None:
    """Whatever it is; the file goes to the folder of the run."""
    manifest = record_in(note)["manifest"]
    manifest["nodes"]["write"]["params"]["path"] = path.format(folder=tmp_path)
    manifest["name"] = "../../evil/" + "x" * 300
    before = {file for folder in (tmp_path, tmp_path.parent) for file in folder.glob("*.note")}
    out = cli("rerun", changed(note, "evil.json", manifest=manifest), "-q").out.strip()
    assert Path(out).resolve().is_relative_to(tmp_path / "runs")
    assert {file for folder in (tmp_path, tmp_path.parent) for file in folder.glob("*.note")} == before


def test_a_stage_whose_path_must_be_set_wants_it_named(cli: Cli, note: Path, tmp_path: Path) -> None:
    """Nothing runs before."""
    manifest = record_in(note)["manifest"]
    (tmp_path / "precious").write_text("old")
    manifest["nodes"]["write"] = {"stage": "notes.save@1", "params": {"path": "precious"}, "inputs": {"text": "say"}}
    source = changed(note, "save.json", manifest=manifest)
    result = cli("rerun", source)
    assert result.code == 2
    assert result.err == (
        "save.json: error[untrusted_path]: write (notes.save) would write precious, which you have not named\n"
        "  fix: name one: --set write.path=...\n"
    )
    assert cli("rerun", source, "--set", "write.path=new", "-q").out == "new\n"
    assert cli("rerun", source, "-o", "newer", "-q").out == "newer\n"
    assert (tmp_path / "precious").read_text() == "old"


NESTED: Any = 0
for _ in range(100):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (
            {"schema": "stagegraph.run/2"},
            (
                'evil.json: error[unsupported_version]: the run record is of the form "stagegraph.run/2"\n'
                "  why: this release reads stagegraph.run/1\n"
                "  fix: upgrade stagegraph\n"
            ),
        ),
        (
            {"schema": ["stagegraph.run/1"]},
            (
                "evil.json: error[bad_record]: it holds no run record\n"
                '  why: its "schema" would be "stagegraph.run/1"\n'
            ),
        ),
        (
            {"outputs": "note", "seconds": {"say": "fast"}, "extra": 1},
            (
                "evil.json: error[unknown_key]: extra: there is no key \"extra\" here\n"
                "  why: known keys: id, graph, created, outputs, inputs, manifest, versions, components, status, "
                "seconds, peak_bytes, device_peak_bytes, facts, given, described, node\n"
                'evil.json: error[invalid_type]: outputs: "note" is not a list\n'
                "  why: must be a list\n"
                'evil.json: error[invalid_type]: seconds.say: "fast" is not a number\n'
                "  why: must be a number\n"
                "3 errors\n"
            ),
        ),
        (
            {"inputs": {"text": NESTED}},
            "evil.json: error[bad_record]: the run record cannot be read: it is nested more than 80 deep\n",
        ),
        (
            {"manifest": None},
            (
                "evil.json: error[no_record]: the graph is not in the record, since it has inputs of types without "
                "names\n"
                "  fix: run it again from Python\n"
            ),
        ),
        (
            {"manifest": {"stagegraph": 9, "name": "x", "nodes": {}}},
            (
                "evil.json: error[unsupported_version]: the manifest has format version 9\n"
                "  why: this release reads version 1\n"
                "  fix: upgrade stagegraph\n"
            ),
        ),
        (
            {"manifest": {"stagegraph": 1, "name": "x", "nodes": {"a": {"graph": "/etc/passwd.yaml"}}}},
            'evil.json: error[bad_record]: the node "a" is a graph of its own, which records write out\n',
        ),
        (
            {"manifest": {"stagegraph": 1, "name": "x", "nodes": {"../a": {"stage": "notes.hold@1"}}}},
            (
                "evil.json: nodes.../a: error[invalid_name]: \"../a\" cannot be used as a name\n"
                '  why: ASCII letters, digits, "_" and "-", not starting with a digit; no node is called "inputs"\n'
                "evil.json: nodes.../a: error[missing_input]: ../a (notes.hold): nothing feeds the input handle "
                "Handle\n"
                "  why: it has no default\n"
                "  fix: add a stage or an input that gives Handle\n"
                "2 errors\n"
            ),
        ),
        (
            {"outputs": ["note", "os.system"]},
            'evil.json: error[unknown_output]: notes/say has no output "os.system"\n  fix: use one of: note\n',
        ),
        (
            {"inputs": {"text": 3}},
            "evil.json: error[invalid_type]: input text: 3 is not a string\n  why: must be a string\n",
        ),
        (
            {"given": {"say.outputs.putout": 1}},
            (
                'evil.json: error[unknown_port]: say (notes.say) has no port "outputs.putout" to be given a value\n'
                "  fix: use one of: output, text\n"
            ),
        ),
        (
            {"given": {"say.outputs.output": 1}},
            (
                "evil.json: error[invalid_type]: say.outputs.output: 1 is not a string\n"
                "  why: must be a string\n"
            ),
        ),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)  # fmt: skip
def test_hostile_records_are_refused_with_what_is_wrong(
    cli: Cli, note: Path, parts: dict[str, Any], text: str, tmp_path: Path
) -> None:
    """Before anything runs: the whole text, and nothing is written."""
    result = cli("rerun", changed(note, "evil.json", **parts))
    assert (result.code, result.out, result.err) == (2, "", text)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "the run record cannot be read: Expecting value: line 1 column 1 (char 0)"),
        (b"[" * 100_000, "the run record cannot be read: it is nested too deeply"),
        (b'{"schema": 1, "schema": 2}', "the run record cannot be read: a key appears twice"),
        (b'{"schema": NaN}', "the run record cannot be read: NaN is no JSON number"),
        (b'{"schema": 1e999}', "the run record cannot be read: a number is not finite"),
        (b'{"a": [' + b"0," * 2000 + b"0]}", "the run record cannot be read: it holds more than 1000 values"),
        (b"[]", "it holds no run record"),
    ],
    ids=["empty", "deep", "twice", "nan", "infinite", "many", "list"],
)
def test_what_is_no_record_is_told(cli: Cli, content: bytes, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a record file, and the same of a record in a file."""
    monkeypatch.setattr(record, "_MOST_VALUES", 1000)
    Path("evil.json").write_bytes(content)
    assert cli("rerun", "evil.json").err.startswith(f"evil.json: error[bad_record]: {what}\n")
    Path("evil.note").write_bytes(b"hello\n--record--\n" + content)
    assert cli("rerun", "evil.note").err.startswith(f"evil.note: error[bad_record]: {what}\n")


def test_a_huge_record_is_not_read(cli: Cli) -> None:
    """Only as much of it as shows that it is too large."""
    with Path("huge.json").open("wb") as file:
        file.truncate(2**33)
    assert cli("rerun", "huge.json").err == (
        f"huge.json: error[too_large]: the run record has {LONGEST + 1} bytes\n  why: the limit is {LONGEST} bytes\n"
    )


def test_wrong_in_thousands_of_places_is_told_in_twenty(cli: Cli, note: Path) -> None:
    """And how many more there are."""
    result = cli("rerun", changed(note, "evil.json", seconds={f"n{i}": "x" for i in range(5000)}))
    lines = result.err.splitlines()
    assert len(lines) == 42
    assert lines[-2:] == ["evil.json: error[bad_record]: 4980 more values are wrong", "21 errors"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("absent.note", "error[no_record]: absent.note cannot be read: there is no such file\n"),
        ("absent", 'error[unknown_run]: there is no run "absent"\n  fix: run a graph first\n'),
        ("folder.note", "error[no_record]: folder.note/run.json cannot be read: there is no such file\n"),
        (
            "m.yaml",
            (
                "m.yaml: error[no_record]: files that end in .yaml carry no run record\n"
                "  fix: name a file that ends in .m4v, .mov, .mp4, .note\n"
            ),
        ),
        (
            "plain.note",
            (
                "plain.note: error[no_record]: the file carries no run record\n"
                "  why: it was written without one, it was stripped, or another program wrote it\n"
            ),
        ),
    ],
)
def test_what_cannot_be_rerun_is_told(cli: Cli, name: str, text: str) -> None:
    """The whole text."""
    Path("folder.note").mkdir()
    Path("plain.note").write_text("hello")
    result = cli("rerun", name)
    assert (result.code, result.out, result.err) == (2, "", text)


def test_what_a_record_says_does_not_steer_the_terminal(cli: Cli, note: Path) -> None:
    """Controls are shown as text."""
    versions = {**record_in(note)["versions"], "evil\x1b[2J": "\x9b31m\r"}
    result = cli("rerun", changed(note, "evil.json", versions=versions, created="\x1b]0;owned\x07"), "-q")
    assert result.err == (
        "since evil.json was made, on \\x1b]0;owned\\x07:\n    versions.evil\\x1b[2J: \\x9b31m\\x0d -> none\n"
    )
