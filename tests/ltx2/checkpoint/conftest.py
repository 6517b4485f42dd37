"""A checkpoint of one small component, the tiny checkpoint, and errors as text."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from stagegraph.errors import ComponentError
from stagegraph_ltx2.checkpoint.contents import Checkpoint, Layout
from stagegraph_ltx2.checkpoint.convert import convert
from stagegraph_ltx2.checkpoint.opening import open_checkpoint
from stagegraph_ltx2.checkpoint.resolve import resolve
from stagegraph_ltx2.checkpoint.tiny import make_tiny


class Small(nn.Module):
    """Stands in for a network: parameters, a buffer of the state dict, two levels."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 4)
        self.outer = nn.Linear(4, 2, bias=False)
        self.register_buffer("mean", torch.zeros(4))


@pytest.fixture
def small() -> type[Small]:
    return Small


@pytest.fixture
def state() -> dict[str, Tensor]:
    """Weights for `Small`."""
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(tensor.shape, generator=generator, dtype=torch.float32)
        for name, tensor in sorted(Small().state_dict().items())
    }


@pytest.fixture
def root(tmp_path: Path, state: dict[str, Tensor]) -> Path:
    """An LTX-2 folder with one component: the connectors, which hold a `Small`."""
    root = tmp_path / "model"
    folder = root / "connectors"
    folder.mkdir(parents=True)
    index = {"_class_name": "LTX2Pipeline", "connectors": ["ltx2", "LTX2TextConnectors"]}
    (root / "model_index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps({"_class_name": "LTX2TextConnectors"}))
    save_file(state, folder / "diffusion_pytorch_model.safetensors")
    return root


@pytest.fixture
def weights(root: Path) -> Path:
    """The one file of weights of `root`."""
    return root / "connectors" / "diffusion_pytorch_model.safetensors"


@pytest.fixture
def shard(root: Path, weights: Path) -> Callable[[dict[str, dict[str, Tensor]]], Path]:
    """Replaces the weights of `root` by shards: file name -> tensors. Returns the index."""

    def write(files: dict[str, dict[str, Tensor]]) -> Path:
        weights.unlink()
        for name, tensors in files.items():
            save_file(tensors, weights.parent / name)
        index = weights.parent / "diffusion_pytorch_model.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": {key: name for name, held in files.items() for key in held}}))
        return index

    return write


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[[Callable[[], object]], str]:
    """The whole text of the error that a call raises, with <tmp> for this test's folder."""

    def text(call: Callable[[], object]) -> str:
        with pytest.raises(ComponentError) as caught:
            call()
        return str(caught.value).replace(str(tmp_path), "<tmp>")

    return text


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """The tiny checkpoint of seed 0. Tests that change files copy it."""
    return open_checkpoint(make_tiny(tmp_path_factory.mktemp("tiny") / "ltx2"))


@pytest.fixture(scope="session")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Layout], Path]:
    """The embedded checkpoint of a name in a layout, made once; not to be written to."""
    made: dict[tuple[str, str], Path] = {}

    def get(name: str, layout: Layout) -> Path:
        if layout == "diffusers":
            return resolve(name)
        if (name, layout) not in made:
            folder = tmp_path_factory.mktemp("layouts") / f"{name}-{layout}"
            made[name, layout] = convert(open_checkpoint(resolve(name)), folder, layout)
        return made[name, layout]

    return get


@pytest.fixture
def copied(laid_out: Callable[[str, Layout], Path], tmp_path: Path) -> Callable[[str, Layout], Path]:
    """A copy of it as <tmp>/model, to be changed."""

    def copy(name: str, layout: Layout) -> Path:
        return Path(shutil.copytree(laid_out(name, layout), tmp_path / "model"))

    return copy


def rewrite(
    path: Path,
    metadata: Mapping[str, str | None] = MappingProxyType({}),
    rename: Callable[[str], str | None] = lambda name: name,
) -> Path:
    """A safetensors file with other metadata (None removes), and tensors renamed (None removes)."""
    with safe_open(path, framework="pt") as file:
        told = {**(file.metadata() or {}), **metadata}
        tensors = {new: file.get_tensor(name) for name in file.keys() if (new := rename(name)) is not None}  # noqa: SIM118
    save_file(tensors, path, metadata={key: value for key, value in told.items() if value is not None})
    return path
