"""How components load what they lend: where to, in which number format, from which files. Needs no torch until then."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from stagegraph_ltx2 import parts
from stagegraph_ltx2.checkpoint.contents import ComponentFiles
from stagegraph_ltx2.checkpoint.sizes import on_cpu, weight_bytes, weight_count
from stagegraph_ltx2.errors import failure
from stagegraph_ltx2.model.config import ConfigError, LatentUpsamplerConfig, WidebandVocoderConfig

if TYPE_CHECKING:
    import torch

C = TypeVar("C")
M = TypeVar("M", bound="torch.nn.Module")

#: The words for number formats that models run in.
FORMATS = ("bf16", "fp16", "fp32")

DEVICE = '"auto" (the first GPU, or the CPU), "cpu", "cuda", "cuda:1", "mps".'
DTYPE = '"auto" (bf16 on a GPU, fp32 on the CPU), "bf16", "fp16", "fp32".'


def place(device: str, dtype: str, *, count: int = 1) -> tuple[torch.device, torch.dtype]:
    """A device, the first of so many, and a number format, from the words for them."""
    from stagegraph_ltx2.checkpoint.device import resolve_device, resolve_dtype

    found = resolve_device(device, count=count)
    return found, resolve_dtype(dtype, found)


def load(
    files: ComponentFiles,
    read: Callable[[Mapping[str, Any]], C],
    module: Callable[[C], M],
    device: torch.device,
    dtype: torch.dtype,
) -> M:
    """A network with its weights.

    Raises:
        ComponentError: a configuration that cannot be built, or weights that do not fit it.
    """
    from stagegraph_ltx2.checkpoint.load import load_module

    try:
        config = read(files.config)
    except ConfigError as error:
        raise failure("bad_config", str(error), where=files.config_path) from error
    loaded: M = load_module(lambda: module(config), files, device=device, dtype=dtype)
    return loaded


def network_facts(part: str, components: Sequence[ComponentFiles], dtype: str, device: str) -> dict[str, Any]:
    """What a part takes and is made of, from headers.

    "bytes" once it is loaded and "device" ("cpu" or "gpu"); for the estimates of `stagegraph_ltx2.memory`, "config" of
    its network and "itemsize", the bytes of a number.
    """
    config = dict(components[0].config)
    if part == "video_statistics":
        return {"bytes": 2 * 4 * config["latent_channels"], "device": "cpu"}
    itemsize = weight_bytes(dtype, device)
    size = weight_count(components) * itemsize
    return {"bytes": size, "device": "cpu" if on_cpu(device) else "gpu", "config": config, "itemsize": itemsize}


def upsampler_facts(files: ComponentFiles) -> Mapping[str, Any]:
    """By how much an upsampler enlarges."""
    config = LatentUpsamplerConfig.from_dict(files.config)
    return {"spatial_scale": str(config.scale), "temporal_scale": 2 if config.temporal_upsample else 1}


def part_dtype(part: str, files: ComponentFiles, dtype: str) -> str:
    """The number format of a part: the wideband vocoder was trained in fp32, and sounds worse in any other."""
    wideband = part == "vocoder" and files.config.get("_class_name") == WidebandVocoderConfig.diffusers_class
    return "fp32" if wideband else dtype


def module_of(part: Any) -> torch.nn.Module:
    """The module inside a part."""
    module: torch.nn.Module = part.gemma.model if isinstance(part, parts.TextEncoder) else part.module
    return module
