"""A plugin whose stages write notes: text files that carry the run record behind a mark."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from stagegraph.cli.app import call

PLUGIN = '''
from __future__ import annotations
import json
from pathlib import Path
import stagegraph as sg

MARK = b"\\n--record--\\n"

class Voice:
    """What speakers are lent."""

class Handle:
    """What no codec writes and no JSON holds."""
    def __repr__(self):
        return "<a handle>"

@sg.component("notes.voice", version=1)
class Voices:
    """Weights in a file beside the manifest."""
    file: str = sg.param(default="weights")
    def fingerprint(self) -> str:
        if Path("patience").exists():
            left = int(Path("patience").read_text()) - 1
            Path("patience").write_text(str(left))
            if not left:
                raise KeyboardInterrupt
        return Path(self.file).read_text()
    def cache_facts(self):
        return {"device": Path("device").read_text()} if Path("device").exists() else {}
    @sg.part
    def voice(self) -> Voice:
        """The voice."""
        return Voice()

@sg.stage("notes.say", version=STAGE_VERSION, migrations=STEPS)
class Say:
    """Say a text."""
    times: int = sg.param(default=1, ge=1, le=9)
    def run(self, text: str, *, voice: Voice) -> str:
        return " ".join([text] * self.times)

@sg.stage("notes.hold", version=1)
def hold(handle: Handle) -> str:
    """Look at a handle."""
    return repr(handle)

@sg.stage("notes.write", version=1, cache=False)
class Write:
    """Write a note."""
    path: str | None = sg.param(default=None)
    embed_record: bool = sg.param(default=True)
    def __attrs_post_init__(self):
        if self.path is not None and not self.path.endswith(".note"):
            raise ValueError(f"path is {self.path}: must end in .note")
    def writes(self):
        return [self.path] if self.path else []
    def run(self, text: str, *, context: sg.StageContext) -> str:
        if Path("broken").exists():
            raise OSError("the disk is broken")
        path = Path(self.path) if self.path else context.directory / f"{context.node.replace('/', '-')}.note"
        path.parent.mkdir(parents=True, exist_ok=True)
        record = MARK + json.dumps(dict(context.record())).encode() if self.embed_record else b""
        path.write_bytes(text.encode() + record)
        return str(path)

@sg.stage("notes.save", version=1, cache=False)
class Save:
    """Write to a path that has to be set."""
    path: str = sg.param()
    def writes(self):
        return [self.path]
    def run(self, text: str) -> str:
        Path(self.path).write_text(text)
        return self.path

def read(path, most):
    text, mark, record = path.read_bytes().partition(MARK)
    return record[:most + 1] if mark else None

def strip(path, copy):
    copy.write_bytes(path.read_bytes().partition(MARK)[0])

@sg.hookimpl
def stagegraph_types():
    return {"notes.handle": Handle}

@sg.hookimpl
def stagegraph_components():
    return [Voices]

@sg.hookimpl
def stagegraph_stages():
    return [Say, hold, Write, Save]

@sg.hookimpl
def stagegraph_record_readers():
    return [sg.RecordReader((".note",), read, strip)]
'''

MANIFEST = """\
stagegraph: 1
name: notes/say
inputs:
  text: {type: str}
  seed: {type: int, default: 7}
components:
  model: {kind: notes.voice}
nodes:
  say: {stage: notes.say, inputs: {text: inputs.text}}
  write: {stage: notes.write, inputs: {text: say}}
outputs:
  note: write
"""


@attrs.frozen
class Result:
    """What a call left."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        """The NDJSON lines of stdout."""
        return [json.loads(line) for line in self.out.splitlines()]


Cli = Callable[..., Result]


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Install the plugin, of some version of its stage; gives the folder in which commands run."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # another version has the same size, at the same second

    def install(version: int = 1, steps: str = "{}") -> Path:
        info = tmp_path / "stagegraph_notes-1.5.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stagegraph-notes\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text("[stagegraph.plugins]\nnotes = stagegraph_notes\n")
        source = PLUGIN.replace("STAGE_VERSION", str(version)).replace("STEPS", steps)
        (tmp_path / "stagegraph_notes.py").write_text(source)
        (tmp_path / "m.yaml").write_text(MANIFEST)
        (tmp_path / "weights").write_text("f00d")
        monkeypatch.delitem(sys.modules, "stagegraph_notes", raising=False)
        return tmp_path

    install()
    return install


@pytest.fixture
def cli(notes: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> Cli:
    """Call the command line where the plugin is installed."""

    def run(*args: str) -> Result:
        code = call(args)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run
