"""How texts and latents are stored: their numbers as they are, in the safetensors layout. Lossless, bf16 kept.

What comes back lies on the CPU, wherever it was: stages move what they are given to where they need it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from stagegraph.artifacts import Codec
from stagegraph.errors import ArtifactError, ContinuationError, Fault
from stagegraph.tensorfile import Array, Chunk, Slot, pack, unpack
from stagegraph_ltx2 import continuation
from stagegraph_ltx2.continuation import LTX2ContinuationState
from stagegraph_ltx2.shapes import PixelShape
from stagegraph_ltx2.values import AudioLatent, DenoisingProgress, LatentState, TextContext, TokenState, VideoLatent

if TYPE_CHECKING:
    import torch

MEDIA_TYPE: Final = "application/vnd.safetensors"

_TEXT: Final = "ltx2.text_context/1"
_STATE: Final = "ltx2.latent_state/2"
_PROGRESS: Final = "ltx2.denoising_progress/1"
_VIDEO: Final = "ltx2.video_latent/1"
_AUDIO: Final = "ltx2.audio_latent/1"
_CONTINUATION: Final = "ltx2.continuation/1"

_DTYPES: Final[Mapping[str, str]] = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_TOKENS: Final = Slot.of("F32 F16 BF16", 3)
_POSITIONS: Final = Slot.of("F32", 4)
_VOLUME: Final = Slot.of("F32 F16 BF16", 5)
_PARTS: Final[Mapping[str, Slot]] = {
    "initial": _TOKENS,
    "noise": _TOKENS,
    "clean": _TOKENS,
    "mask": _TOKENS,
    "positions": _POSITIONS,
}
_STACK: Final = Slot.of("F32", 4)


def _encode_text(text: TextContext) -> Iterable[Chunk]:
    return pack(_TEXT, _arrays(video=text.video, audio=text.audio))


def _decode_text(data: bytearray) -> TextContext:
    arrays, _ = unpack(_TEXT, data, {"video": _TOKENS, "audio": _TOKENS})
    return TextContext(_tensor(arrays["video"]), _tensor(arrays["audio"]))


def _encode_state(state: LatentState) -> Iterable[Chunk]:
    size = state.size
    texts = {
        "size": json.dumps([size.frames, size.height, size.width, size.frame_rate]),
        "frame_rate": str(state.frame_rate),
        "start": json.dumps([state.noise_scale, state.seed]),
    }
    streams = {"video": state.video, "audio": state.audio}
    arrays = {f"{name}.{part}": getattr(tokens, part) for name, tokens in streams.items() for part in _PARTS}
    return pack(_STATE, _arrays(**arrays), texts)


def _decode_state(data: bytearray) -> LatentState:
    slots = {f"{name}.{part}": slot for name in ("video", "audio") for part, slot in _PARTS.items()}
    arrays, texts = unpack(_STATE, data, slots, ["size", "frame_rate", "start"])
    try:
        frames, height, width, rate = json.loads(texts["size"])
        size = PixelShape(frames, height, width, rate)
        scale, seed = json.loads(texts["start"])
        if type(scale) not in (int, float) or not 0 <= scale <= 1 or type(seed) is not int:
            raise ValueError("no noise scale and seed")
    except (ValueError, TypeError) as error:
        raise _bad(_STATE, f'the size "{texts["size"][:60]}" and the start "{texts["start"][:60]}": {error}') from None
    rate = _rate(_STATE, texts["frame_rate"])
    video, audio = (TokenState(*(_tensor(arrays[f"{name}.{part}"]) for part in _PARTS)) for name in ("video", "audio"))
    return LatentState(video, audio, size, rate, float(scale), seed)


def _encode_progress(progress: DenoisingProgress) -> Iterable[Chunk]:
    """Latents and, if there are any, velocities, one after the other."""
    import torch

    video, audio = (
        torch.stack([tensor for tensor in pair if tensor is not None])
        for pair in ((progress.video, progress.video_velocity), (progress.audio, progress.audio_velocity))
    )
    return pack(_PROGRESS, _arrays(video=video, audio=audio), {"step": str(progress.step)})


def _decode_progress(data: bytearray) -> DenoisingProgress:
    arrays, texts = unpack(_PROGRESS, data, {"video": _STACK, "audio": _STACK}, ["step"])
    step = texts["step"]
    if not (step.isascii() and step.isdecimal() and len(step) <= 6):
        raise _bad(_PROGRESS, f'the step "{step[:60]}" is none')
    video, audio = (_tensor(arrays[name]) for name in ("video", "audio"))
    if len(video) > 2 or len(video) != len(audio):
        raise _bad(_PROGRESS, f"it has {len(video)} and {len(audio)} tensors a stream")
    return DenoisingProgress(int(step), video[0], audio[0], *(x[1] for x in (video, audio) if len(x) == 2))


def _encode_video(latent: VideoLatent) -> Iterable[Chunk]:
    return pack(_VIDEO, _arrays(latent=latent.latent), {"frame_rate": str(latent.frame_rate)})


def _decode_video(data: bytearray) -> VideoLatent:
    arrays, texts = unpack(_VIDEO, data, {"latent": _VOLUME}, ["frame_rate"])
    return VideoLatent(_tensor(arrays["latent"]), _rate(_VIDEO, texts["frame_rate"]))


def _encode_audio(latent: AudioLatent) -> Iterable[Chunk]:
    return pack(_AUDIO, _arrays(latent=latent.latent))


def _decode_audio(data: bytearray) -> AudioLatent:
    arrays, _ = unpack(_AUDIO, data, {"latent": _TOKENS})
    return AudioLatent(_tensor(arrays["latent"]))


def _encode_continuation(state: LTX2ContinuationState) -> Iterable[Chunk]:
    return [continuation.encode(state)]


def _decode_continuation(data: bytearray) -> LTX2ContinuationState:
    try:
        return continuation.decode(bytes(data))
    except ContinuationError as error:
        raise _bad(_CONTINUATION, str(error.faults[0].what)) from None


CODECS: Final = (
    Codec("ltx2.text_context", TextContext, 1, MEDIA_TYPE, _encode_text, _decode_text),
    Codec("ltx2.latent_state", LatentState, 2, MEDIA_TYPE, _encode_state, _decode_state),
    Codec("ltx2.denoising_progress", DenoisingProgress, 1, MEDIA_TYPE, _encode_progress, _decode_progress),
    Codec("ltx2.video_latent", VideoLatent, 1, MEDIA_TYPE, _encode_video, _decode_video),
    Codec("ltx2.audio_latent", AudioLatent, 1, MEDIA_TYPE, _encode_audio, _decode_audio),
    Codec(
        "ltx2.continuation",
        LTX2ContinuationState,
        1,
        "application/json",
        _encode_continuation,
        _decode_continuation,
    ),
)


def _arrays(**tensors: torch.Tensor) -> dict[str, Array]:
    return {name: _array(tensor) for name, tensor in tensors.items()}


def _array(tensor: torch.Tensor) -> Array:
    import torch

    names = {f"torch.{long}": short for short, long in _DTYPES.items()}
    flat = tensor.detach().cpu().contiguous().flatten()  # numpy has no bf16: its bytes are taken
    return Array(names[str(tensor.dtype)], tuple(tensor.shape), flat.view(torch.uint8).numpy().data)


def _tensor(array: Array) -> torch.Tensor:
    import torch

    if not len(array.data):
        raise _bad("a tensor", "it is empty")
    return torch.frombuffer(array.data, dtype=getattr(torch, _DTYPES[array.dtype])).reshape(array.shape)


def _rate(form: str, text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0 or str(rate) != text:
        raise _bad(form, f'the frame rate "{text[:60]}" is none')
    return rate


def _bad(form: str, what: str) -> ArtifactError:
    return ArtifactError(Fault("bad_artifact", f"an artifact cannot be read as {form}: {what}"))
