"""What stagegraph finds through the entry point; the only hook implementations. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stagegraph import Check, hookimpl
from stagegraph_ltx2 import codecs, continuation, stages, values
from stagegraph_ltx2.component import LTX2Checkpoint
from stagegraph_ltx2.lora_component import LTX2Lora
from stagegraph_ltx2.t2v_component import LTX2T2V
from stagegraph_ltx2.upsampler_component import LTX2LatentUpsampler

if TYPE_CHECKING:
    import typer

    from stagegraph.artifacts import Codec
    from stagegraph.continuation import ContinuationCodec

GRAPHS = Path(__file__).parent / "graphs"


@hookimpl
def stagegraph_types() -> Mapping[str, type]:
    """The port types, by the names that manifests use."""
    return {
        "ltx2.text_context": values.TextContext,
        "ltx2.latent_state": values.LatentState,
        "ltx2.video_latent": values.VideoLatent,
        "ltx2.audio_latent": values.AudioLatent,
        "ltx2.continuation": continuation.LTX2ContinuationState,
    }


@hookimpl
def stagegraph_codecs() -> Iterable[Codec]:
    """How they are stored."""
    return codecs.CODECS


@hookimpl
def stagegraph_continuations() -> Iterable[ContinuationCodec]:
    """What crosses from one segment to the next."""
    return [continuation.CODEC]


@hookimpl
def stagegraph_stages() -> Iterable[Any]:
    """The stages."""
    return [getattr(stages, name) for name in stages.__all__]


@hookimpl
def stagegraph_components() -> Iterable[type]:
    """The checkpoint, also by the configuration of a pipeline; LoRAs over it, and an upsampler of its own."""
    return [LTX2Checkpoint, LTX2T2V, LTX2Lora, LTX2LatentUpsampler]


@hookimpl
def stagegraph_manifests() -> Mapping[str, Path]:
    """The shipped graphs, one a pipeline."""
    return {f"ltx2/{path.stem}": path for path in sorted(GRAPHS.glob("*.yaml"))}


@hookimpl
def stagegraph_commands() -> Mapping[str, typer.Typer]:
    """`stagegraph ltx2 ...`."""
    from stagegraph_ltx2.cli import app

    return {"ltx2": app}


@hookimpl
def stagegraph_doctor() -> Iterable[Check]:
    """Libraries and devices."""
    import torch
    import transformers

    from stagegraph_ltx2.checkpoint.device import present_devices

    yield Check("torch", True, torch.__version__)
    yield Check("transformers", True, transformers.__version__)
    devices = present_devices()
    note = "" if len(devices) > 1 else "; real checkpoints want a GPU with 80 GB"
    yield Check("devices", True, ", ".join(devices) + note)
