"""Texts and latents as artifacts."""

from __future__ import annotations

from fractions import Fraction
from operator import attrgetter
from typing import Any

import attrs
import pytest
import torch
from safetensors.torch import load

from stagegraph.errors import ArtifactError
from stagegraph_ltx2.codecs import CODECS, MEDIA_TYPE
from stagegraph_ltx2.component import LTX2Checkpoint
from stagegraph_ltx2.shapes import PixelShape
from stagegraph_ltx2.values import (
    AudioLatent,
    DenoisingProgress,
    LatentState,
    TextContext,
    TokenState,
    VideoLatent,
)

NOISE = torch.Generator().manual_seed(0)
RATE = Fraction(24000, 1001)


def noise(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=NOISE).to(dtype)


def tokens(count: int, channels: int, axes: int) -> TokenState:
    initial, drawn, clean = (noise(1, count, channels) for _ in range(3))
    return TokenState(initial, drawn, clean, noise(1, count, 1), noise(1, axes, count, 2))


VALUES = {
    "ltx2.text_context": TextContext(noise(1, 5, 3, dtype=torch.bfloat16), noise(1, 5, 7, dtype=torch.bfloat16)),
    "ltx2.latent_state": LatentState(
        tokens(12, 4, 3), tokens(9, 4, 1), PixelShape(9, 64, 96, float(RATE)), RATE, 0.725, -(2**63)
    ),
    "ltx2.denoising_progress": DenoisingProgress(3, noise(1, 12, 4), noise(1, 9, 4), noise(1, 12, 4), noise(1, 9, 4)),
    "ltx2.video_latent": VideoLatent(noise(1, 4, 2, 2, 3), RATE),
    "ltx2.audio_latent": AudioLatent(noise(1, 9, 4, dtype=torch.float16)),
}


@pytest.fixture(params=[codec for codec in CODECS if codec.media_type == MEDIA_TYPE], ids=lambda codec: codec.name)
def codec(request: pytest.FixtureRequest) -> Any:
    return request.param


def written(codec: Any) -> bytes:
    return b"".join(codec.encode(VALUES[codec.name]))


CODEC = {codec.name: codec for codec in CODECS}


def same(one: Any, other: Any) -> bool:
    if isinstance(one, TokenState):
        return all(same(getattr(one, f.name), getattr(other, f.name)) for f in attrs.fields(TokenState))
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one.view(torch.uint8), other.view(torch.uint8))
    return bool(one == other)


def changed(codec: Any, old: str, new: str) -> bytearray:
    data = written(codec)
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length].rstrip().decode()
    assert old in header
    edited = header.replace(old, new, 1).encode()
    return bytearray(len(edited).to_bytes(8, "little") + edited + data[8 + length :])


def test_a_value_comes_back_bit_for_bit(codec: Any) -> None:
    """In its number format, with what else there is to know."""
    value = VALUES[codec.name]
    back = codec.decode(bytearray(written(codec)))
    assert type(back) is type(value)
    for field in attrs.fields(type(value)):
        assert same(getattr(value, field.name), getattr(back, field.name)), field.name


def test_nan_and_strides_survive() -> None:
    """Numbers are not looked at, and what is not contiguous is written in its own order."""
    latent = torch.tensor([[[float("nan"), -0.0], [float("inf"), 1.0]]]).transpose(1, 2)
    codec = CODEC["ltx2.audio_latent"]
    back = codec.decode(bytearray(b"".join(codec.encode(AudioLatent(latent)))))
    assert same(back.latent, latent.contiguous())


def test_safetensors_reads_it_too(codec: Any) -> None:
    """The layout is theirs, with the arrays in place."""
    tensors = load(written(codec))
    value = VALUES[codec.name]
    assert tensors
    for name, tensor in tensors.items():
        known = attrgetter(name)(value)
        assert any(same(part, known) for part in (tensor, tensor[0]))


def test_every_truncation_is_refused(codec: Any) -> None:
    """At every byte, and what follows the end too."""
    data = written(codec)
    for length in range(len(data)):
        with pytest.raises(ArtifactError):
            codec.decode(bytearray(data[:length]))
    with pytest.raises(ArtifactError):
        codec.decode(bytearray(data + b"\0"))


def test_another_version_is_refused(codec: Any) -> None:
    """The bytes say it themselves, beside the store."""
    with pytest.raises(ArtifactError, match=f'cannot be read as {codec.form}: it is of the form "{codec.name}/9"'):
        codec.decode(changed(codec, codec.form, f"{codec.name}/9"))


def test_an_additional_key_is_refused(codec: Any) -> None:
    """Of texts and of arrays."""
    for old, new in (('"stagegraph":', '"x":"","stagegraph":'), ('"dtype":', '"x":0,"dtype":')):
        with pytest.raises(ArtifactError):
            codec.decode(changed(codec, old, new))


@pytest.mark.parametrize("size", ["[9,64,96]", "[10,64,96,24]", "[9,64,96,24,1]", "9", "[9,65,96,24]", "x"])
def test_a_size_that_cannot_be_is_refused(size: str) -> None:
    """Not four numbers, or none that the model can make."""
    codec = CODEC["ltx2.latent_state"]
    with pytest.raises(ArtifactError, match="the size"):
        codec.decode(changed(codec, f'"[9, 64, 96, {float(RATE)}]"', f'"{size}"'))


@pytest.mark.parametrize("start", ["[2, 0]", "[0.5]", "[0.5, 1.5]", "[true, 1]", "x"])
def test_a_start_that_cannot_be_is_refused(start: str) -> None:
    """A noise scale from 0 to 1 and an integer."""
    codec = CODEC["ltx2.latent_state"]
    with pytest.raises(ArtifactError, match="the size"):
        codec.decode(changed(codec, f'"[0.725, {-(2**63)}]"', f'"{start}"'))


def test_progress_without_a_memory_has_none() -> None:
    """Of samplers that do not look back."""
    codec = CODEC["ltx2.denoising_progress"]
    value = DenoisingProgress(3, noise(1, 12, 4), noise(1, 9, 4))
    back = codec.decode(bytearray(b"".join(codec.encode(value))))
    assert same(back.video, value.video)
    assert back.video_velocity is back.audio_velocity is None


@pytest.mark.parametrize("rate", ["0", "-24", "48000/2002", "1/0", "nan", "", "24.0"])
def test_a_frame_rate_that_cannot_be_is_refused(rate: str) -> None:
    """No fraction above zero in lowest terms."""
    codec = CODEC["ltx2.video_latent"]
    with pytest.raises(ArtifactError, match="the frame rate"):
        codec.decode(changed(codec, '"24000/1001"', f'"{rate}"'))


def test_an_empty_tensor_is_refused() -> None:
    """No text has no tokens."""
    codec = CODEC["ltx2.audio_latent"]
    with pytest.raises(ArtifactError, match="it is empty"):
        codec.decode(bytearray(b"".join(codec.encode(AudioLatent(torch.zeros(1, 0, 4))))))


@pytest.mark.parametrize(("dtype", "told"), [("auto", "float32"), ("bf16", "bfloat16")])
def test_a_checkpoint_says_what_changes_results_beside_the_weights(dtype: str, told: str) -> None:
    """Its number format, its kind of device and whether it is distilled; outputs of another are not reused."""
    facts = {"device": "cpu", "dtype": told, "distilled": "true"}
    assert LTX2Checkpoint(device="cpu", dtype=dtype).cache_facts() == facts
