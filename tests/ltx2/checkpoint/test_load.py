"""Modules get every weight of a component, once, or nothing is loaded."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from stagegraph_ltx2.checkpoint.convert import convert
from stagegraph_ltx2.checkpoint.device import resolve_device, resolve_dtype
from stagegraph_ltx2.checkpoint.header import Header, read_header
from stagegraph_ltx2.checkpoint.load import load_module
from stagegraph_ltx2.checkpoint.names import AS_STORED, Names
from stagegraph_ltx2.checkpoint.opening import open_checkpoint
from stagegraph_ltx2.checkpoint.resolve import resolve
from stagegraph_ltx2.checkpoint.tiny import NETWORKS
from stagegraph_ltx2.model.config import ConnectorsConfig, TransformerConfig
from stagegraph_ltx2.model.connectors import TextConnectors

Refusal = Callable[[Callable[[], object]], str]
Shard = Callable[[dict[str, dict[str, Tensor]]], Path]
CPU = torch.device("cpu")
FIX = "  fix: download the component again, or the one that its configuration describes"


def load(
    root: Path, build: Callable[[], nn.Module], dtype: torch.dtype = torch.float32, names: Names = AS_STORED
) -> nn.Module:
    files = open_checkpoint(root).component("connectors")
    files = attrs.evolve(files, weights=tuple(attrs.evolve(file, names=names) for file in files.weights))
    return load_module(build, files, device=CPU, dtype=dtype)


def test_a_module_gets_the_stored_weights(root: Path, state: dict[str, Tensor], small: type[nn.Module]) -> None:
    module = load(root, small)
    assert module.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in module.state_dict().items())
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())


@pytest.mark.parametrize("stored", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_are_converted(
    root: Path, weights: Path, state: dict[str, Tensor], small: type[nn.Module], stored: torch.dtype, dtype: torch.dtype
) -> None:
    save_file({name: tensor.to(stored) for name, tensor in state.items()}, weights)
    loaded = load(root, small, dtype).state_dict()
    assert all(torch.equal(loaded[name], tensor.to(stored).to(dtype)) for name, tensor in state.items())


def test_shards_and_a_single_file_give_equal_modules(
    root: Path, state: dict[str, Tensor], small: type[nn.Module], shard: Shard
) -> None:
    whole = load(root, small).state_dict()
    names = sorted(state)
    shard({f"m-{number}.safetensors": {name: state[name]} for number, name in enumerate(names)})
    parts = load(root, small).state_dict()
    assert all(torch.equal(parts[name], whole[name]) for name in names)


def test_weights_are_the_modules_own(
    root: Path, weights: Path, state: dict[str, Tensor], small: type[nn.Module]
) -> None:
    module = load(root, small)
    weights.write_bytes(bytes(weights.stat().st_size))
    assert torch.equal(module.state_dict()["mean"], state["mean"])


def test_names_are_mapped_and_left_out_as_told(
    root: Path, weights: Path, state: dict[str, Tensor], small: type[nn.Module]
) -> None:
    save_file({f"model.{name}": tensor for name, tensor in state.items()} | {"head.weight": torch.ones(1)}, weights)
    module = load(root, small, names=Names((("model.", ""),), ignore=("head.",)))
    assert torch.equal(module.state_dict()["mean"], state["mean"])


def test_all_mismatches_are_told_at_once(
    root: Path, weights: Path, state: dict[str, Tensor], small: type[nn.Module], refusal: Refusal
) -> None:
    changed = {name: tensor for name, tensor in state.items() if name != "mean"}
    changed["old.a"] = changed["old.b"] = torch.zeros(2)
    changed["old.b"] = torch.zeros(3)
    changed["inner.weight"] = torch.zeros(3, 4)
    changed["outer.weight"] = torch.zeros(2, 4, dtype=torch.int8)
    save_file(changed, weights)
    assert refusal(lambda: load(root, small)) == (
        "<tmp>/model/connectors: error[ltx2.missing_tensor]: 1 tensor absent: mean\n"
        "  why: a model runs with every weight or not at all\n"
        f"{FIX}\n"
        "<tmp>/model/connectors: error[ltx2.unexpected_tensor]: 2 tensors unknown: "
        "old.a in diffusion_pytorch_model.safetensors; old.b in diffusion_pytorch_model.safetensors\n"
        "  why: weights without a place belong to another model, whose results this one would not give\n"
        f"{FIX}\n"
        "<tmp>/model/connectors: error[ltx2.tensor_shape]: 1 tensor misshapen: inner.weight is [3, 4], not [4, 3]\n"
        "  why: the configuration and the weights describe different models\n"
        f"{FIX}\n"
        "<tmp>/model/connectors: error[ltx2.tensor_dtype]: 1 tensor quantised: outer.weight is I8\n"
        "  why: this release loads F64, F32, F16, BF16\n"
        "  fix: use the files in bf16"
    )


def test_a_long_list_is_cut(
    root: Path, weights: Path, state: dict[str, Tensor], small: type[nn.Module], refusal: Refusal
) -> None:
    extra = {f"old.{number:02}": torch.zeros(1) for number in range(25)}
    save_file(state | extra, weights)
    text = refusal(lambda: load(root, small))
    assert "25 tensors unknown: old.00 in " in text
    assert "; old.19 in diffusion_pytorch_model.safetensors; … and 5 more\n" in text


def test_a_tensor_in_two_shards_is_an_error(
    root: Path, state: dict[str, Tensor], small: type[nn.Module], shard: Shard, refusal: Refusal
) -> None:
    shard({"m-1.safetensors": state, "m-2.safetensors": {"mean": state["mean"]}})
    assert refusal(lambda: load(root, small)) == (
        "<tmp>/model/connectors: error[ltx2.duplicate_tensor]: 1 tensor stored twice: "
        "mean in m-2.safetensors and mean in m-1.safetensors\n"
        "  why: which of the two is meant cannot be told\n"
        "  fix: ls <tmp>/model/connectors, and remove the weights that another save left there"
    )


def test_a_configuration_that_cannot_be_built_names_its_file(root: Path, refusal: Refusal) -> None:
    config = {"_class_name": "LTX2TextConnectors", "rope_type": "split", "causal_temporal_positioning": True, "old": 1}
    (root / "connectors" / "config.json").write_text(json.dumps(config))
    files = open_checkpoint(root).component("connectors")
    build = lambda: TextConnectors(ConnectorsConfig.from_dict(files.config))  # noqa: E731
    assert refusal(lambda: load_module(build, files, device=CPU, dtype=torch.float32)) == (
        "<tmp>/model/connectors/config.json: error[ltx2.bad_config]: old is not a key of ConnectorsConfig; "
        "causal_temporal_positioning=True is in no released LTX-2 model; supported: False\n"
        "  why: connectors cannot be built from this configuration\n"
        "  fix: use a checkpoint of LTX-2, e.g. Lightricks/LTX-2"
    )


def test_a_network_of_impossible_size_is_an_error(root: Path, refusal: Refusal) -> None:
    files = open_checkpoint(root).component("connectors")

    def build() -> nn.Module:
        return nn.ModuleList([nn.Linear(10**6 * 10**6, 10**9)])

    text = refusal(lambda: load_module(build, files, device=CPU, dtype=torch.float32))
    assert text.startswith("<tmp>/model/connectors/config.json: error[ltx2.bad_config]: ")
    assert "connectors cannot be built from this configuration" in text


def test_a_file_that_shrinks_while_it_is_read_is_an_error(
    root: Path, weights: Path, small: type[nn.Module], refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = weights.stat().st_size

    def read_then_cut(path: Path) -> Header:
        header = read_header(path)
        with weights.open("r+b") as file:
            file.truncate(size - 8)
        return header

    monkeypatch.setattr("stagegraph_ltx2.checkpoint.load.read_header", read_then_cut)
    assert refusal(lambda: load(root, small)) == (
        "<tmp>/model/connectors/diffusion_pytorch_model.safetensors: error[ltx2.truncated]: "
        f"diffusion_pytorch_model.safetensors ended at byte {size - 8} and had {size} bytes before\n"
        "  why: the file was replaced or cut while it was read\n"
        "  fix: run again once nothing writes there"
    )


def test_state_that_no_file_fills_is_a_bug_of_the_module(root: Path, small: type[nn.Module]) -> None:
    class Hollow(small):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("cache", torch.zeros(1), persistent=False)

    with pytest.raises(TypeError, match=r"^Hollow has state that is not in its state dict: cache$"):
        load(root, Hollow)


PEAK = """
import json, sys
from pathlib import Path
import torch
from torch import nn
from stagegraph_ltx2.checkpoint.opening import open_checkpoint
from stagegraph_ltx2.checkpoint.load import load_module

def peak():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))

def build():
    return nn.ModuleList(nn.Linear(1448, 1448, bias=False) for _ in range(24))

files = open_checkpoint(Path(sys.argv[1])).component("connectors")
load_module(lambda: nn.Linear(4, 4, bias=False), open_checkpoint(Path(sys.argv[2])).component("connectors"),
            device=torch.device("cpu"), dtype=torch.float32)
before = peak()
dtype = getattr(torch, sys.argv[3])
module = load_module(build, files, device=torch.device("cpu"), dtype=dtype)
size = sum(p.numel() * p.element_size() for p in module.parameters())
print((peak() - before) / size)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of memory from /proc")
@pytest.mark.parametrize(
    ("stored", "dtype"), [("float32", "float32"), ("bfloat16", "float32"), ("float32", "bfloat16")]
)
def test_memory_holds_the_weights_once(root: Path, shard: Shard, tmp_path: Path, stored: str, dtype: str) -> None:
    """200 MB in three shards: the peak is the module in its dtype and little more."""
    generator = torch.Generator().manual_seed(0)
    names = [f"{number}.weight" for number in range(24)]
    parts: dict[str, dict[str, Tensor]] = {}
    for place, name in enumerate(names):
        tensor = torch.randn(1448, 1448, generator=generator).to(getattr(torch, stored))
        parts.setdefault(f"m-{place % 3}.safetensors", {})[name] = tensor
    shard(parts)
    warm = tmp_path / "warm" / "connectors"
    warm.mkdir(parents=True)
    (warm.parent / "model_index.json").write_text('{"_class_name": "LTX2Pipeline"}')
    (warm / "config.json").write_text("{}")
    save_file({"weight": torch.zeros(4, 4)}, warm / "diffusion_pytorch_model.safetensors")
    command = [sys.executable, "-c", PEAK, str(root), str(warm.parent), dtype]
    ratio = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert 0.9 < ratio < 1.2


SINGLE = """
import json, sys
from pathlib import Path
import torch
from stagegraph_ltx2.component import LTX2Checkpoint

def peak():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))

warm, path = (LTX2Checkpoint(path=word, device="cpu", dtype="fp32") for word in sys.argv[1:])
warm.transformer(), warm.video_vae()
before = peak()
loaded = [path.transformer().module, path.video_vae().module]
size = sum(p.numel() * p.element_size() for module in loaded for p in module.parameters())
print((peak() - before) / size, size)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of memory from /proc")
def test_memory_holds_the_parts_of_a_single_file_once(tmp_path: Path) -> None:
    """100 MB of its transformer and its video VAE: no part is held twice, and the file is never held whole."""
    folder = shutil.copytree(resolve("tiny"), tmp_path / "folder")
    path = folder / "transformer" / "config.json"
    wide = {"num_attention_heads": 8, "attention_head_dim": 64, "cross_attention_dim": 512}
    wide |= {"audio_num_attention_heads": 8, "audio_attention_head_dim": 32, "audio_cross_attention_dim": 256}
    config = json.loads(path.read_text()) | wide | {"num_layers": 3}
    path.write_text(json.dumps(config))
    with torch.device("meta"):
        shapes = NETWORKS["transformer"](TransformerConfig.from_dict(config)).state_dict()
    state = {name: torch.zeros(tensor.shape) for name, tensor in shapes.items()}
    save_file(state, folder / "transformer" / "diffusion_pytorch_model.safetensors")
    made = convert(open_checkpoint(folder), tmp_path / "single", "single")
    warm = convert(open_checkpoint(resolve("tiny")), tmp_path / "warm", "single")
    command = [sys.executable, "-c", SINGLE, str(warm), str(made)]
    ratio, size = map(float, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    assert size > 90_000_000
    assert 0.9 < ratio < 1.15


def test_auto_is_full_precision_on_a_cpu_and_bf16_elsewhere() -> None:
    assert resolve_dtype("auto", CPU) is torch.float32
    assert resolve_dtype("auto", torch.device("cuda:0")) is torch.bfloat16
    assert resolve_dtype("fp16", CPU) is torch.float16


def test_an_unknown_dtype_is_an_error(refusal: Refusal) -> None:
    assert refusal(lambda: resolve_dtype("bf61", CPU)) == (
        'error[ltx2.no_such_dtype]: no number format "bf61"\n'
        "  why: models run in bf16, fp16, fp32\n"
        '  fix: did you mean "bf16"?'
    )


def test_an_absent_device_is_an_error(refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stagegraph_ltx2.checkpoint.device.present_devices", lambda: ("cuda:0", "cpu"))
    assert resolve_device("auto") == torch.device("cuda:0")
    assert resolve_device("cuda") == torch.device("cuda:0")
    assert resolve_device("cpu") == CPU
    assert refusal(lambda: resolve_device("cuda:1")) == (
        'error[ltx2.no_such_device]: no device "cuda:1"\n'
        f"  why: this machine has cuda:0, cpu; torch {torch.__version__}\n"
        '  fix: did you mean "cuda:0"?'
    )
