"""What tests of several areas share."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

# Threads of torch that wait for each other burn the cores that the other test processes need.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder of the process's own; the embedded checkpoint in it is made once for all processes."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base  # xdist gives every worker a folder inside
    checkpoints = shared / "checkpoints"
    checkpoints.mkdir(exist_ok=True)
    folder = base / "cache"
    (folder / "stagegraph").mkdir(parents=True)
    (folder / "stagegraph" / "ltx2").symlink_to(checkpoints)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield folder


@pytest.fixture(autouse=True)
def _empty_store(cache: Path) -> Iterator[None]:
    """No test finds what another has kept."""
    yield
    shutil.rmtree(cache / "stagegraph" / "store", ignore_errors=True)


@pytest.fixture(scope="session")
def tiny(cache: Path) -> Path:
    """The folder of the embedded LTX-2 checkpoint; not to be written to."""
    from stagegraph_ltx2.checkpoint.resolve import resolve

    return resolve("tiny")


@pytest.fixture(scope="session")
def tiny_base(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same checkpoint, as one that is not distilled; not to be written to."""
    folder = tmp_path_factory.mktemp("base") / "checkpoint"
    shutil.copytree(tiny, folder)
    path = folder / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "use_dynamic_shifting": True, "shift_terminal": 0.1}))
    return folder
