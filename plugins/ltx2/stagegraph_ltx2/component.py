"""`ltx2.checkpoint`: an LTX-2 checkpoint as a component. Needs no torch until a part is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import attrs

from stagegraph import component, param, part
from stagegraph.errors import ComponentError, Fault, suggest
from stagegraph_ltx2 import parts
from stagegraph_ltx2.checkpoint.contents import Checkpoint, ComponentFiles
from stagegraph_ltx2.checkpoint.fingerprint import fingerprint
from stagegraph_ltx2.checkpoint.opening import open_checkpoint
from stagegraph_ltx2.checkpoint.sizes import weight_bytes
from stagegraph_ltx2.checkpoint.sought import Sought
from stagegraph_ltx2.checkpoint.stored import faults_in_files
from stagegraph_ltx2.errors import raise_all
from stagegraph_ltx2.lending import (
    DEVICE,
    DTYPE,
    FORMATS,
    load,
    module_of,
    network_facts,
    part_dtype,
    place,
    upsampler_facts,
)
from stagegraph_ltx2.model.config import (
    AudioVAEConfig,
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

#: The parts that are loaded in a number format of their own; statistics are always fp32.
FORMATTED = tuple(part for part in COMPONENTS if part != "video_statistics")


@component("ltx2.checkpoint", version=1)
class LTX2Checkpoint:
    """An LTX-2 checkpoint: a folder as diffusers or FastVideo has it, one official file, or a pack of one file a part.

    Which of them it is, and whether it is LTX-2.0 or LTX-2.3, is found out from its files.
    """

    path: str = param(
        default="micro",
        help='A folder or a file; a Hugging Face id such as "Lightricks/LTX-2", or a file in one, '
        '"Lightricks/LTX-2.3/<file>.safetensors"; "micro" (part of the package; small, trained on shapes that move, at '
        '192x128 pixels and 25 to 49 frames); or "tiny", "tiny-base", "tiny-2.3", "tiny-2.3-base" (smaller, random).',
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
    dtypes: Mapping[str, str] = param(
        factory=dict, help="Number formats of single parts, in place of dtype: {video_vae: fp32}."
    )
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

    _opened: list[Checkpoint] = attrs.field(init=False, factory=list, eq=False, repr=False)
    """The checkpoint, once it was opened; every check opens it again, for its files may have been mended meanwhile."""

    def __attrs_post_init__(self) -> None:
        words = ("auto", *FORMATS)
        faults = []
        for name, dtype in self.dtypes.items():
            if name not in FORMATTED:
                faults.append(f'there is no part "{name}" with a number format, {suggest(name, FORMATTED)}')
            elif dtype not in words:
                faults.append(f"{name} is {dtype!r}, {suggest(dtype, words)}")
        if faults:
            raise ValueError(f"dtypes: {'; '.join(faults)}")

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint, found (or downloaded) and opened; no weights are read."""
        if not self._opened:
            self._opened.append(open_checkpoint(*self._sought.places()))
        return self._opened[0]

    @property
    def _sought(self) -> Sought:
        others = self.text_encoder_path, self.video_vae_path, self.audio_vae_path, self.upsampler_path
        return Sought(self.path, self.revision, *others)

    def present(self) -> Checkpoint | None:
        """The checkpoint as far as it is on this machine; None if something of it would have to be downloaded."""
        if not self._opened:
            places = self._sought.present()
            if places is None:
                return None
            self._opened.append(open_checkpoint(*places))
        return self._opened[0]

    def check(self, parts: frozenset[str]) -> Iterable[Fault]:
        """Whether all that the parts are made of is there and can be read; what is to be downloaded is fine."""
        self._opened.clear()
        faults = list(device_faults(self.nproc, self.device))
        try:
            checkpoint = self.present()
            if checkpoint is not None:
                names = dict.fromkeys(name for part in sorted(parts) for name in COMPONENTS[part])
                faults += faults_in_files(checkpoint.components(names))
                if "transformer" in parts:
                    faults += head_faults(self.nproc, checkpoint.component("transformer").config)
        except ComponentError as error:
            faults += error.faults
        return faults

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
        """The devices and the number format, exactly, and what a loaded transformer tells of itself."""
        device, dtype = self._placement()
        where = {"device": str(device), "dtype": str(dtype).removeprefix("torch."), "nproc": str(self.nproc)}
        return {**where, **self._formats(), **self._said()}

    def _formats(self) -> Mapping[str, str]:
        """The number formats of the parts that have one of their own."""
        formats = {name: place(self.device, dtype, count=self.nproc)[1] for name, dtype in self.dtypes.items()}
        return {f"dtype.{name}": str(dtype).removeprefix("torch.") for name, dtype in sorted(formats.items())}

    def _said(self) -> Mapping[str, str]:
        """What the checkpoint says of itself and the weights do not: on it depends how it is denoised with."""
        return {"distilled": str(self.checkpoint.distilled).lower()}

    def part_facts(self, part: str) -> Mapping[str, Any]:
        """What a part takes and is made of, from headers; nothing if the checkpoint is not on this machine."""
        checkpoint = self.present()
        if checkpoint is None:
            return {}
        components = checkpoint.components(COMPONENTS[part])
        facts = network_facts(part, components, self._dtype(part, components[0]), self.device)
        if part == "transformer":
            facts |= {**self._traits(checkpoint), "nproc": self.nproc}
        elif part == "latent_upsampler":
            facts |= upsampler_facts(components[0])
        return facts

    def _traits(self, checkpoint: Checkpoint) -> Mapping[str, Any]:
        """What the checkpoint says of its transformer."""
        layers = checkpoint.component("transformer").config.get("num_layers")
        return {"family": checkpoint.family, "distilled": checkpoint.distilled, "layers": layers}

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
        module_of(value).to("cpu")
        return value

    def restore(self, part: str, kept: Any) -> Any:
        """It moved back."""
        module_of(kept).to(self._placement()[0])
        return kept

    def cache_facts(self) -> Mapping[str, str]:
        """What changes results beside the weights: where they run, in which number format, and what is said of them.

        Not on how many devices: as another size of a batch, that changes no more than the rounding.
        """
        device, dtype = self._placement()
        return {"device": device.type, "dtype": str(dtype).removeprefix("torch."), **self._formats(), **self._said()}

    @part
    def text_encoder(self) -> parts.TextEncoder:
        """Prompts to hidden states."""
        from stagegraph_ltx2.text_encoder import load_text_encoder

        device, dtype = self._placement_of("text_encoder")
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

        module = self._load("video_vae", VideoVAEConfig.from_dict, VideoVAE)
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
        return place(self.device, self.dtype, count=self.nproc)

    def _dtype(self, part: str, files: ComponentFiles) -> str:
        return self.dtypes.get(part) or part_dtype(part, files, self.dtype)

    def _placement_of(self, part: str) -> tuple[torch.device, torch.dtype]:
        dtype = self._dtype(part, self.checkpoint.component(COMPONENTS[part][0]))
        return place(self.device, dtype, count=self.nproc)

    def _load(self, part: str, read: Callable[[Mapping[str, Any]], C], module: Callable[[C], M]) -> M:
        device, dtype = self._placement_of(part)
        return load(self.checkpoint.component(COMPONENTS[part][0]), read, module, device, dtype)
