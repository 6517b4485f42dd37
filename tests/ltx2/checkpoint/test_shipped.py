"""The trained checkpoint that is part of the package: what it consists of, and that what is built has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from ltx2_training.assembly import LARGEST, LARGEST_FILE
from ltx2_training.reporting import MEASURES
from stagegraph_ltx2.checkpoint.components import COMPONENTS
from stagegraph_ltx2.checkpoint.opening import open_checkpoint
from stagegraph_ltx2.checkpoint.resolve import SHIPPED, resolve
from stagegraph_ltx2.checkpoint.stored import faults_in_files

PLUGIN = Path(__file__).parents[3] / "plugins" / "ltx2"
NETWORKS = ("audio_vae", "connectors", "latent_upsampler", "transformer", "vae", "vocoder")
WEIGHTS = {
    "text_encoder/model.safetensors",
    *(f"{name}/diffusion_pytorch_model.safetensors" for name in NETWORKS),
}
FILES = {
    "README.md",
    "metrics.json",
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json",
    *(f"{name}/config.json" for name in NETWORKS),
    *WEIGHTS,
}


def sizes(folder: Path) -> dict[str, int]:
    """File -> bytes."""
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def test_it_has_these_files_and_is_small() -> None:
    """At most 24 MiB of them, none above 16 MiB."""
    found = sizes(resolve("micro"))
    assert set(found) == FILES
    assert sum(found.values()) <= LARGEST
    assert max(found.values()) <= LARGEST_FILE


def test_it_is_whole() -> None:
    """A distilled LTX-2.0 with every component, as its headers and configurations say."""
    checkpoint = open_checkpoint(resolve("micro"))
    assert (checkpoint.family, checkpoint.distilled) == ("2.0", True)
    assert set(checkpoint.found) == set(COMPONENTS)
    assert not checkpoint.broken
    assert not list(faults_in_files([checkpoint.component(name) for name in COMPONENTS]))


@pytest.mark.parametrize("name", sorted(WEIGHTS))
def test_its_weights_are_finite_numbers_in_bf16(name: str) -> None:
    """Every tensor of every file."""
    with safe_open(SHIPPED / name, "pt") as file:
        tensors = [file.get_tensor(key) for key in file.keys()]  # noqa: SIM118  it is no mapping
    assert {tensor.dtype for tensor in tensors} == {torch.bfloat16}
    assert all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


def test_its_card_names_the_licence_and_what_was_measured() -> None:
    """Each figure of `metrics.json`, as measured of these files."""
    card = (SHIPPED / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlicense: apache-2.0\n")
    measured = json.loads((SHIPPED / "metrics.json").read_text(encoding="utf-8"))
    assert measured["checkpoint"] == "micro"
    assert f"{measured['count']} prompts that training has never seen" in card
    for name, found in measured["agreement"].items():
        assert f"| {MEASURES[name][0]} | {f'{found:.3f}' if name == 'panning_error' else f'{found:.1%}'} |" in card


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist of the plugin."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(folder)], cwd=PLUGIN, check=True)
    return folder


@pytest.mark.slow
def test_wheel_and_sdist_have_all_of_it(built: Path) -> None:
    """With the bytes that lie here."""
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as file:
        inside = {info.filename: info.file_size for info in file.infolist()}
    with tarfile.open(sdist) as file:
        source = {member.name.partition("/")[2]: member.size for member in file.getmembers()}
    for packed in (inside, source):
        prefix = "stagegraph_ltx2/micro/"
        assert {n.removeprefix(prefix): size for n, size in packed.items() if n.startswith(prefix)} == sizes(SHIPPED)


@pytest.mark.slow
def test_an_installed_wheel_finds_its_own(built: Path, tmp_path: Path) -> None:
    """Away from the sources, it opens the checkpoint beside itself."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(tmp_path / "site"), *map(str, built.glob("*.whl"))], check=True)
    code = (
        "from stagegraph_ltx2.checkpoint.opening import open_checkpoint as o; "
        "from stagegraph_ltx2.checkpoint.resolve import resolve as r; print(o(r('micro')).root)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{tmp_path / 'site' / 'stagegraph_ltx2' / 'micro'}\n"
