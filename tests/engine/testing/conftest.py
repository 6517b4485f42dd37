"""Distributions as pip leaves them, and programs that find them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs
import pytest

from stagegraph.cli.app import call

#: Installs a distribution: (plugin, source of its module, requires) -> the folder it is in.
Install = Callable[..., Path]
#: Runs Python with what is installed.
Python = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """A dist-info folder with METADATA and an entry point, and a module; this program finds them too."""
    folder = tmp_path / "site"
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)

    def write(plugin: str, source: str, requires: Sequence[str] = ("stagegraph>=0.1",)) -> Path:
        info = folder / f"{plugin}_plugin-1.2.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        lines = ["Metadata-Version: 2.1", f"Name: {plugin}-plugin", "Version: 1.2"]
        lines += [f"Requires-Dist: {requirement}" for requirement in requires]
        (info / "METADATA").write_text("\n".join(lines) + "\n")
        (info / "entry_points.txt").write_text(f"[stagegraph.plugins]\n{plugin} = {plugin}_plugin\n")
        (folder / f"{plugin}_plugin.py").write_text(textwrap.dedent(source))
        return folder

    yield write
    for name in set(sys.modules) - before:
        if name.endswith("_plugin"):
            del sys.modules[name]


@attrs.frozen
class Result:
    """What a call of the command line left."""

    code: int
    out: str
    err: str


Cli = Callable[..., Result]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command line, in this program."""

    def run(*args: str) -> Result:
        code = call(args)
        printed = capsys.readouterr()
        return Result(code, printed.out, printed.err)

    return run


@pytest.fixture
def python(tmp_path: Path) -> Python:
    """A program of its own, in an empty folder."""
    work = tmp_path / "work"
    work.mkdir()

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "NO_COLOR": "1"}
        return subprocess.run(
            [sys.executable, *args], capture_output=True, text=True, cwd=work, env=environment, check=False
        )

    return run
