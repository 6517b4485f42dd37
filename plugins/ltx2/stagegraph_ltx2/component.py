"""`ltx2.checkpoint`: an LTX-2 checkpoint as a component. Needs no torch until a part is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from stagegraph import component, param, part
from stagegraph.errors import ComponentError, Fault
from stagegraph_ltx2 import parts
from stagegraph_ltx2.checkpoint.folder import Checkpoint
from stagegraph_ltx2.checkpoint.resolve import present, resolve
from stagegraph_ltx2.checkpoint.sizes import on_cpu, weight_bytes, weight_count
from stagegraph_ltx2.errors import failure, raise_all
from stagegraph_ltx2.model.config import (
    AudioVAEConfig,
    ConfigError,
    ConnectorsConfig,
    LatentUpsamplerConfig,
    TransformerConfig,
    VideoVAEConfig,
    read_vocoder,
)
from stagegraph_ltx2.parallel.fitting import MAX_RANKS, device_faults, head_faults

if TYPE_CHECKING:
    import torch

    from stagegraph_ltx2.parallel.team import Team

C = TypeVar("C")
M = TypeVar("M", bound="torch.nn.Module")

#: Part -> the folders of a checkpoint that it is made of.
FOLDERS = {
    "text_encoder": ("text_encoder", "tokenizer"),
    "connectors": ("connectors",),
    "transformer": ("transformer",),
    "video_vae": ("vae",),
    "audio_vae": ("audio_vae",),
    "vocoder": ("vocoder",),
    "video_statistics": ("vae",),
    "latent_upsampler": ("latent_upsampler",),
}


@component("ltx2.checkpoint", version=1)
class LTX2Checkpoint:
    """An LTX-2 checkpoint: a folder in the diffusers layout, or the name of one on Hugging Face."""

    path: str = param(
        default="tiny", help='A folder, a Hugging Face id such as "Lightricks/LTX-2", or "tiny" (small, random).'
    )
    revision: str | None = param(default=None, help="Branch, tag or commit of a Hugging Face repository.")
    device: str = param(default="auto", help='"auto" (the first GPU, or the CPU), "cpu", "cuda", "cuda:1", "mps".')
    dtype: str = param(default="auto", help='"auto" (bf16 on a GPU, fp32 on the CPU), "bf16", "fp16", "fp32".')
    nproc: int = param(
        default=1,
        ge=1,
        le=MAX_RANKS,
        help="Processes that share each step of denoising, each on a GPU of its own: the first nproc of the machine.",
    )
    identity: Literal["samples", "contents"] = param(
        default="samples",
        help="What tells checkpoints apart where outputs are kept: samples of their files, or every byte (minutes).",
    )

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint, found (or downloaded) and opened; no weights are read."""
        return Checkpoint.open(resolve(self.path, revision=self.revision))

    def check(self, parts: frozenset[str]) -> Iterable[Fault]:
        """Whether the folders of the parts are there, with files that can be read; what is to be downloaded is fine."""
        faults = list(device_faults(self.nproc, self.device))
        try:
            folder = present(self.path, revision=self.revision)
            if folder is not None:
                wanted = [name for part in sorted(parts) for name in FOLDERS[part]]
                checkpoint = Checkpoint.open(folder)
                checkpoint.components(wanted)
                if "transformer" in parts:
                    faults += head_faults(self.nproc, checkpoint.component("transformer").config)
        except ComponentError as error:
            faults += error.faults
        return faults

    def fingerprint(self) -> str:
        """The identity of all folders that the checkpoint has, in hex."""
        present = set(self.checkpoint.names)
        folders = [folder for group in FOLDERS.values() for folder in group if folder in present]
        whole = self.identity == "contents"
        digests = (f"{folder}={self.checkpoint.fingerprint(folder, whole=whole)}\n" for folder in folders)
        return hashlib.sha256("".join(digests).encode()).hexdigest()

    def placement(self) -> Mapping[str, str]:
        """The devices and the number format, exactly."""
        device, dtype = self._placement()
        return {"device": str(device), "dtype": str(dtype).removeprefix("torch."), "nproc": str(self.nproc)}

    def part_facts(self, part: str) -> Mapping[str, Any]:
        """What a part takes and is made of, from headers; nothing if the checkpoint is not on this machine.

        "bytes" once it is loaded and "device" ("cpu" or "gpu"); for the estimates of `stagegraph_ltx2.memory`, "config"
        of its network and "itemsize", the bytes of a number.
        """
        folder = present(self.path, revision=self.revision)
        if folder is None:
            return {}
        checkpoint = Checkpoint.open(folder)
        files = checkpoint.components(FOLDERS[part])
        itemsize, config = weight_bytes(self.dtype, self.device), dict(files[0].config)
        facts: dict[str, Any] = {
            "bytes": weight_count(files) * itemsize,
            "device": "cpu" if on_cpu(self.device) else "gpu",
            "config": config,
            "itemsize": itemsize,
        }
        if part == "video_statistics":
            return {"bytes": 2 * 4 * config["latent_channels"], "device": "cpu"}
        if part == "transformer":
            facts |= {**self._traits(checkpoint), "nproc": self.nproc}
        elif part == "latent_upsampler":
            upsampler = LatentUpsamplerConfig.from_dict(config)
            facts |= {"spatial_scale": str(upsampler.scale), "temporal_scale": 2 if upsampler.temporal_upsample else 1}
        return facts

    def _traits(self, checkpoint: Checkpoint) -> Mapping[str, Any]:
        """What the checkpoint says of its transformer."""
        layers = checkpoint.component("transformer").config.get("num_layers")
        return {"family": checkpoint.version, "distilled": checkpoint.distilled, "layers": layers}

    def lighter(self) -> Iterable[tuple[Mapping[str, Any], str]]:
        """Half the bytes a number."""
        if weight_bytes(self.dtype, self.device) == 4:
            yield {"dtype": "bf16"}, "another format: the result changes"

    def free_memory(self) -> int | None:
        """Free bytes of the device."""
        from stagegraph_ltx2.checkpoint.device import free_memory

        return free_memory(self._placement()[0])

    def peak_memory(self) -> int:
        """The most bytes of the device that torch had in use since the last call; 0 on the CPU."""
        from stagegraph_ltx2.checkpoint.device import peak_memory

        return peak_memory(self._placement()[0])

    def offload(self, part: str, value: Any) -> Any:
        """A part moved to the memory of the CPU."""
        _module_of(value).to("cpu")
        return value

    def restore(self, part: str, kept: Any) -> Any:
        """It moved back."""
        _module_of(kept).to(self._placement()[0])
        return kept

    def cache_facts(self) -> Mapping[str, str]:
        """What changes results beside the weights: where they run, and in which number format.

        Not on how many devices: as another size of a batch, that changes no more than the rounding.
        """
        device, dtype = self._placement()
        return {"device": device.type, "dtype": str(dtype).removeprefix("torch.")}

    @part
    def text_encoder(self) -> parts.TextEncoder:
        """Prompts to hidden states."""
        from stagegraph_ltx2.text_encoder import load_text_encoder

        device, dtype = self._placement()
        return parts.TextEncoder(load_text_encoder(self.checkpoint, device=device, dtype=dtype))

    @part
    def connectors(self) -> parts.Connectors:
        """Hidden states to what the transformer reads."""
        from stagegraph_ltx2.model.connectors import TextConnectors

        return parts.Connectors(self._load("connectors", ConnectorsConfig.from_dict, TextConnectors))

    @part
    def transformer(self) -> parts.Transformer:
        """The denoiser."""
        from stagegraph_ltx2.model.transformer import AudioVideoTransformer

        team = self._team()
        module = self._load("transformer", TransformerConfig.from_dict, AudioVideoTransformer)
        return parts.Transformer(module, self._traits(self.checkpoint), team)

    @part
    def video_vae(self) -> parts.VideoVAE:
        """Video latents to pixels."""
        from stagegraph_ltx2.model.video_vae import VideoVAE

        module = self._load("vae", VideoVAEConfig.from_dict, VideoVAE)
        if self._placement()[0].type == "cuda":
            import torch

            # Tensor cores want the channels of a position together; the convolutions then give what they are given.
            module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        return parts.VideoVAE(module)

    @part
    def video_statistics(self) -> parts.VideoStatistics:
        """What video latents are normalised by."""
        from stagegraph_ltx2.checkpoint.load import load_tensors

        mean, std = load_tensors(self.checkpoint.component("vae"), ("latents_mean", "latents_std"))
        return parts.VideoStatistics(mean, std)

    @part
    def latent_upsampler(self) -> parts.LatentUpsampler:
        """Video latents to those of a larger video."""
        from stagegraph_ltx2.model.latent_upsampler import LatentUpsampler

        return parts.LatentUpsampler(self._load("latent_upsampler", LatentUpsamplerConfig.from_dict, LatentUpsampler))

    @part
    def audio_vae(self) -> parts.AudioVAE:
        """Audio latents to mel spectrograms."""
        from stagegraph_ltx2.model.audio_vae import AudioVAE

        return parts.AudioVAE(self._load("audio_vae", AudioVAEConfig.from_dict, AudioVAE))

    @part
    def vocoder(self) -> parts.Vocoder:
        """Mel spectrograms to sound."""
        from stagegraph_ltx2.model.wideband_vocoder import build_vocoder

        return parts.Vocoder(self._load("vocoder", read_vocoder, build_vocoder))

    def serve(self) -> None:
        """Be another rank than 0 of processes that were started together."""
        from stagegraph_ltx2.parallel.launched import serve

        serve()

    def dismiss(self) -> None:
        """Let the other ranks end; for rank 0."""
        from stagegraph_ltx2.parallel.launched import dismiss

        dismiss()

    def _team(self) -> Team | None:
        """The processes that evaluate the transformer, if they are several."""
        if self.nproc == 1:
            return None
        config = self.checkpoint.component("transformer").config
        raise_all([*device_faults(self.nproc, self.device), *head_faults(self.nproc, config)])
        from stagegraph_ltx2.parallel.team import Team

        return Team(self.nproc, self._placement()[0])

    def _placement(self) -> tuple[torch.device, torch.dtype]:
        from stagegraph_ltx2.checkpoint.device import resolve_device, resolve_dtype

        device = resolve_device(self.device, count=self.nproc)
        return device, resolve_dtype(self.dtype, device)

    def _load(self, folder: str, read: Callable[[Mapping[str, Any]], C], module: Callable[[C], M]) -> M:
        from stagegraph_ltx2.checkpoint.load import load_module

        files = self.checkpoint.component(folder)
        try:
            config = read(files.config)
        except ConfigError as error:
            raise failure("bad_config", str(error), where=files.config_path) from error
        device, dtype = self._placement()
        loaded: M = load_module(lambda: module(config), files, device=device, dtype=dtype)
        return loaded


def _module_of(part: Any) -> torch.nn.Module:
    """The module inside a part."""
    module: torch.nn.Module = part.gemma.model if isinstance(part, parts.TextEncoder) else part.module
    return module
