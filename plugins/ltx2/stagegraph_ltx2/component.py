"""`ltx2.checkpoint`: an LTX-2 checkpoint as a component. Needs no torch until a part is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import attrs

from stagegraph import component, param, part
from stagegraph.errors import ComponentError, Fault
from stagegraph_ltx2 import parts
from stagegraph_ltx2.checkpoint.contents import Checkpoint
from stagegraph_ltx2.checkpoint.fingerprint import fingerprint
from stagegraph_ltx2.checkpoint.hub import TEXT_ENCODER_FILES
from stagegraph_ltx2.checkpoint.opening import Elsewhere, open_checkpoint
from stagegraph_ltx2.checkpoint.resolve import present, resolve
from stagegraph_ltx2.checkpoint.sizes import weight_bytes, weight_count
from stagegraph_ltx2.checkpoint.stored import faults_in_files
from stagegraph_ltx2.lending import DEVICE, DTYPE, load, module_of, part_dtype, place, upsampler_facts
from stagegraph_ltx2.model.config import (
    AudioVAEConfig,
    ConnectorsConfig,
    LatentUpsamplerConfig,
    TransformerConfig,
    VideoVAEConfig,
    read_vocoder,
)

if TYPE_CHECKING:
    import torch

C = TypeVar("C")
M = TypeVar("M", bound="torch.nn.Module")

#: Part -> the components of a checkpoint that it is made of.
COMPONENTS = {
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
    """An LTX-2 checkpoint: a folder as diffusers or FastVideo has it, one official file, or a pack of one file a part.

    Which of them it is, and whether it is LTX-2.0 or LTX-2.3, is found out from its files.
    """

    path: str = param(
        default="tiny",
        help='A folder or a file; a Hugging Face id such as "Lightricks/LTX-2", or a file in one, '
        '"Lightricks/LTX-2.3/<file>.safetensors"; or "tiny", "tiny-base", "tiny-2.3", "tiny-2.3-base" (small, random).',
    )
    revision: str | None = param(default=None, help="Branch, tag or commit of a Hugging Face repository.")
    text_encoder_path: str | None = param(
        default=None,
        help="Gemma 3 with its tokenizer, where it is not part of the checkpoint or beside its file: a folder, a file "
        "of a pack, or a Hugging Face id.",
    )
    video_vae_path: str | None = param(default=None, help="A file with a video VAE, in place of the checkpoint's own.")
    audio_vae_path: str | None = param(
        default=None, help="A file with an audio VAE and a vocoder, in place of the checkpoint's own."
    )
    upsampler_path: str | None = param(
        default=None, help="A file or folder with a latent upsampler, for a second pass over single files."
    )
    device: str = param(default="auto", help=DEVICE)
    dtype: str = param(default="auto", help=DTYPE)
    identity: Literal["samples", "contents"] = param(
        default="samples",
        help="What tells checkpoints apart where outputs are kept: samples of their files, or every byte (minutes).",
    )

    _opened: list[Checkpoint] = attrs.field(init=False, factory=list, eq=False, repr=False)
    """The checkpoint, once it was opened; every check opens it again, for its files may have been mended meanwhile."""

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint, found (or downloaded) and opened; no weights are read."""
        if not self._opened:
            self._opened.append(open_checkpoint(*self._places))
        return self._opened[0]

    @cached_property
    def _places(self) -> tuple[Path, Elsewhere]:
        """Where everything is, downloaded as far as it is not there."""
        encoder, *others = self._paths
        return resolve(self.path, revision=self.revision), Elsewhere(
            resolve(encoder, wanted=TEXT_ENCODER_FILES) if encoder is not None else None,
            *(resolve(path) if path is not None else None for path in others),
        )

    @property
    def _paths(self) -> tuple[str | None, ...]:
        """What lies elsewhere, in the order of `Elsewhere`."""
        return self.text_encoder_path, self.video_vae_path, self.audio_vae_path, self.upsampler_path

    def _present(self) -> Checkpoint | None:
        """The checkpoint as far as it is on this machine; None if something of it would have to be downloaded."""
        if not self._opened:
            found = present(self.path, revision=self.revision)
            others = [present(path) if path is not None else None for path in self._paths]
            if found is None or any(p is not None and o is None for p, o in zip(self._paths, others, strict=True)):
                return None
            self._opened.append(open_checkpoint(found, Elsewhere(*others)))
        return self._opened[0]

    def check(self, parts: frozenset[str]) -> Iterable[Fault]:
        """Whether all that the parts are made of is there and can be read; what is to be downloaded is fine."""
        self._opened.clear()
        try:
            checkpoint = self._present()
            if checkpoint is not None:
                names = dict.fromkeys(name for part in sorted(parts) for name in COMPONENTS[part])
                return list(faults_in_files(checkpoint.components(names)))
        except ComponentError as error:
            return error.faults
        return ()

    def fingerprint(self) -> str:
        """The identity of the weights of all parts that the checkpoint has, in hex; the same in every layout."""
        checkpoint = self.checkpoint
        names = dict.fromkeys(name for group in COMPONENTS.values() for name in group if name in checkpoint.found)
        whole = self.identity == "contents"
        digests = (
            f"{name}={fingerprint(files, whole=whole)}\n"
            for name, files in zip(names, checkpoint.components(names), strict=True)
        )
        return hashlib.sha256("".join(digests).encode()).hexdigest()

    def placement(self) -> Mapping[str, str]:
        """The device and the number format, exactly, and what a loaded transformer tells of itself."""
        device, dtype = self._placement()
        return {"device": str(device), "dtype": str(dtype).removeprefix("torch."), **self._said()}

    def _said(self) -> Mapping[str, str]:
        """What the checkpoint says of itself and the weights do not: on it depends how it is denoised with."""
        return {"distilled": str(self.checkpoint.distilled).lower()}

    def part_facts(self, part: str) -> Mapping[str, Any]:
        """The bytes that a part takes once loaded, from headers; nothing if the checkpoint is not on this machine."""
        checkpoint = self._present()
        if checkpoint is None:
            return {}
        components = checkpoint.components(COMPONENTS[part])
        facts: dict[str, Any] = {
            "bytes": weight_count(components) * weight_bytes(part_dtype(part, components[0], self.dtype), self.device)
        }
        if part == "transformer":
            facts |= self._traits(checkpoint)
        elif part == "latent_upsampler":
            facts |= upsampler_facts(components[0])
        return facts

    def _traits(self, checkpoint: Checkpoint) -> Mapping[str, Any]:
        """What the checkpoint says of its transformer."""
        layers = checkpoint.component("transformer").config.get("num_layers")
        return {"family": checkpoint.family, "distilled": checkpoint.distilled, "layers": layers}

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
        module_of(value).to("cpu")
        return value

    def restore(self, part: str, kept: Any) -> Any:
        """It moved back."""
        module_of(kept).to(self._placement()[0])
        return kept

    def cache_facts(self) -> Mapping[str, str]:
        """What changes results beside the weights: where they run, in which number format, and what is said of them."""
        device, dtype = self._placement()
        return {"device": device.type, "dtype": str(dtype).removeprefix("torch."), **self._said()}

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

        module = self._load("transformer", TransformerConfig.from_dict, AudioVideoTransformer)
        return parts.Transformer(module, self._traits(self.checkpoint))

    @part
    def video_vae(self) -> parts.VideoVAE:
        """Video latents to pixels."""
        from stagegraph_ltx2.model.video_vae import VideoVAE

        return parts.VideoVAE(self._load("vae", VideoVAEConfig.from_dict, VideoVAE))

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

        files = self.checkpoint.component("vocoder")
        device, _ = self._placement()
        _, dtype = place(self.device, part_dtype("vocoder", files, self.dtype))
        return parts.Vocoder(load(files, read_vocoder, build_vocoder, device, dtype))

    def _placement(self) -> tuple[torch.device, torch.dtype]:
        return place(self.device, self.dtype)

    def _load(self, name: str, read: Callable[[Mapping[str, Any]], C], module: Callable[[C], M]) -> M:
        device, dtype = self._placement()
        return load(self.checkpoint.component(name), read, module, device, dtype)
