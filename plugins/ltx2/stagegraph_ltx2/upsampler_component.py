"""`ltx2.latent_upsampler`: a latent upsampler as a component of its own. Needs no torch until it is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from stagegraph import component, param, part
from stagegraph.errors import ComponentError, Fault
from stagegraph_ltx2 import parts
from stagegraph_ltx2.checkpoint.contents import ComponentFiles
from stagegraph_ltx2.checkpoint.fingerprint import fingerprint
from stagegraph_ltx2.checkpoint.resolve import present, resolve
from stagegraph_ltx2.checkpoint.stored import faults_in_files
from stagegraph_ltx2.checkpoint.upsampler import open_upsampler
from stagegraph_ltx2.lending import DEVICE, DTYPE, load, network_facts, place, upsampler_facts
from stagegraph_ltx2.model.config import LatentUpsamplerConfig


@component("ltx2.latent_upsampler", version=1)
class LTX2LatentUpsampler:
    """A latent upsampler of its own: one more than the checkpoint has, such as one in time."""

    path: str = param(
        help="An official file, a folder with config.json, a checkpoint's folder with latent_upsampler/, or the name "
        'of one on Hugging Face, "org/name/file.safetensors".',
    )
    revision: str | None = param(default=None, help="Branch, tag or commit of a Hugging Face repository.")
    device: str = param(default="auto", help=DEVICE)
    dtype: str = param(default="auto", help=DTYPE)

    @cached_property
    def files(self) -> ComponentFiles:
        """Its files, found (or downloaded); no weights are read."""
        return open_upsampler(resolve(self.path, revision=self.revision))

    def check(self, parts: frozenset[str]) -> Iterable[Fault]:
        """Whether it is there and can be read; what is to be downloaded is fine."""
        try:
            found = present(self.path, revision=self.revision)
            if found is not None:
                return list(faults_in_files([open_upsampler(found)]))
        except ComponentError as error:
            return error.faults
        return ()

    def fingerprint(self) -> str:
        """The identity of its weights, in hex."""
        return fingerprint(self.files)

    def placement(self) -> Mapping[str, str]:
        """The device and the number format, exactly."""
        device, dtype = place(self.device, self.dtype)
        return {"device": str(device), "dtype": str(dtype).removeprefix("torch.")}

    def cache_facts(self) -> Mapping[str, str]:
        """What changes results beside the weights: where they run, and in which number format."""
        device, dtype = place(self.device, self.dtype)
        return {"device": device.type, "dtype": str(dtype).removeprefix("torch.")}

    def part_facts(self, part: str) -> Mapping[str, Any]:
        """What it takes and is made of, and by how much it enlarges; nothing if it is not on this machine."""
        found = present(self.path, revision=self.revision)
        if found is None:
            return {}
        files = open_upsampler(found)
        return {**network_facts(part, [files], self.dtype, self.device), **upsampler_facts(files)}

    def free_memory(self) -> int | None:
        """Free bytes of the device."""
        from stagegraph_ltx2.checkpoint.device import free_memory

        return free_memory(place(self.device, self.dtype)[0])

    @part
    def latent_upsampler(self) -> parts.LatentUpsampler:
        """Video latents to those of a larger video."""
        from stagegraph_ltx2.model.latent_upsampler import LatentUpsampler

        device, dtype = place(self.device, self.dtype)
        module = load(self.files, LatentUpsamplerConfig.from_dict, LatentUpsampler, device, dtype)
        return parts.LatentUpsampler(module)
