"""What `write_audio` can put into a sound file, as plain rules: nothing here needs PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from stagegraph.errors import Fault
from stagegraph_media.mp4 import aac_faults
from stagegraph_media.values import Waveform

#: What `bits` may be: of whole numbers, and of a floating-point number.
BITS = (16, 24, 32)
#: The endings of the files that are written, in words.
ENDINGS = ".wav, .flac or .m4a"


@attrs.frozen
class Form:
    """How a file holds samples: FFmpeg's muxer, encoder and sample format; `bits` is None for AAC."""

    muxer: str
    encoder: str
    sample_format: str
    bits: int | None


AAC: Final = Form("ipod", "aac", "fltp", None)
#: By bits of a sample.
FLAC: Final = {24: Form("flac", "flac", "s32", 24), 16: Form("flac", "flac", "s16", 16)}
# The first of each ending is its default
_FORMS = {
    ".wav": (
        Form("wav", "pcm_f32le", "flt", 32),
        Form("wav", "pcm_s24le", "s32", 24),
        Form("wav", "pcm_s16le", "s16", 16),
    ),
    ".flac": tuple(FLAC.values()),
    ".m4a": (AAC,),
}
# The header of a WAV file has 32 bits for the bytes of a second
_MOST_BYTES_PER_SECOND = 2**32 - 1


def form_of(path: Path, bits: int | None) -> Form:
    """How a file of this name holds samples; `bits` None stands for the default.

    Raises:
        ValueError: there is no such file; the text is `wrong_form`.
    """
    wrong = wrong_form(path, bits)
    if wrong:
        raise ValueError(wrong)
    forms = _FORMS[path.suffix.lower()]
    return next(form for form in forms if bits in (None, form.bits))


def wrong_form(path: Path, bits: int | None) -> str:
    """Why no file of this name and depth can be written; empty if one can."""
    forms = _FORMS.get(path.suffix.lower())
    if forms is None:
        return f'path is "{path}": must end in {ENDINGS}'
    known = [str(form.bits) for form in forms if form.bits is not None]
    if bits is not None and str(bits) not in known:
        rule = f"must be {' or '.join(known)}" if known else "must be left out, AAC has none"
        return f"bits is {bits}: for {path.suffix.lower()} it {rule}"
    return ""


def faults(path: Path, waveform: Waveform, bits: int | None, clip: bool) -> list[Fault]:
    """Every reason why this sound cannot be written as it is."""
    wrong = wrong_form(path, bits)
    found = [Fault("media.unwritable", wrong)] if wrong else []
    if path.is_dir():
        found.append(Fault("media.unwritable", "the path is a directory"))
    if not wrong:
        form = form_of(path, bits)
        found += rate_faults(form, waveform.num_channels, waveform.sample_rate)
        found += peak_faults(form, waveform, clip)
    return [attrs.evolve(fault, where=str(path)) for fault in found]


def rate_faults(form: Form, num_channels: int, sample_rate: int) -> Iterator[Fault]:
    """Why a file cannot hold that many channels, or that rate in Hz."""
    if form.encoder == "aac":
        yield from aac_faults(num_channels, sample_rate)
    elif form.encoder == "flac":
        steps = {1: 65_535, 10: 655_350, 1000: 255_000}
        if not any(sample_rate % step == 0 and sample_rate <= most for step, most in steps.items()):
            why = "FLAC has rates up to 65535 Hz, and multiples of 10 Hz up to 655350 Hz"
            yield Fault("media.invalid_output", f"the sample rate is {sample_rate} Hz", why=why, fix="write a .wav")
    elif sample_rate * num_channels * (form.bits or 0) // 8 > _MOST_BYTES_PER_SECOND:
        why = "the header of a WAV file has 32 bits for the bytes of a second"
        yield Fault("media.invalid_output", f"the sample rate is {sample_rate} Hz", why=why)


def peak_faults(form: Form, waveform: Waveform, clip: bool) -> Iterator[Fault]:
    """Why whole numbers cannot hold a sound, unless what is beyond full scale is cut off."""
    if form.bits not in (16, 24) or clip:
        return
    peak = max(float(waveform.samples.max()), -float(waveform.samples.min()))
    if peak > 1:
        yield Fault(
            "media.invalid_output",
            f"the sound goes up to {peak:g}",
            why=f"{form.bits} bits hold what is in [-1, 1]",
            fix="write a .wav with 32 bits, make the sound quieter, or set clip to cut off what is beyond",
        )
