"""The stages `media.read_audio` and `media.write_audio`.

PyAV and numpy are imported when a stage runs, so that a program that only lists or checks graphs starts quickly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from stagegraph import StageContext, param, stage
from stagegraph.errors import Fault
from stagegraph.facts import FactError, Facts
from stagegraph_media import soundforms
from stagegraph_media.errors import MediaError
from stagegraph_media.sources import Limits
from stagegraph_media.stages import Written
from stagegraph_media.targets import target
from stagegraph_media.values import MAX_CHANNELS, Waveform

_DEFAULT_SUFFIX = ".wav"
# Seconds; beyond any sound: a limit that keeps infinity out
_LONGEST = 1e9


@stage("media.read_audio", version=1, cache=False, lane="io")
class ReadAudio:
    """Read the sound of a WAV, FLAC, MP3, Ogg, M4A or video file, or a part of it.

    At the rate and with the channels that it has. The file is taken for untrusted: it is refused, before it is decoded,
    if it exceeds the limits, and whenever it ends early.
    """

    start: float = param(default=0.0, ge=0, le=_LONGEST, help="Seconds that are left out at the beginning")
    duration: float | None = param(
        default=None, gt=0, le=_LONGEST, help="Seconds that are read, and no less; to the end if not set"
    )
    max_seconds: float = param(
        default=4 * 3600.0, gt=0, le=_LONGEST, help="The longest sound that is decoded, in seconds"
    )
    max_channels: int = param(default=MAX_CHANNELS, ge=1, le=MAX_CHANNELS, help="The most channels that are accepted")
    max_gib: float = param(default=8.0, gt=0, help="The most memory for samples, in GiB")

    def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
        """The file must have sound, if it is known."""
        from stagegraph_media import looking

        if (path := looking.known_path(inputs)) is not None:
            looking.sound(path, self._limits)
        return {}

    def run(self, path: str, *, context: StageContext) -> Waveform:
        """The file at a path, relative to the current directory."""
        from stagegraph_media.reading import read_audio

        limits = self._limits
        return read_audio(path, limits=limits, start=self.start, duration=self.duration, progress=context.progress)

    @property
    def _limits(self) -> Limits:
        return Limits(seconds=self.max_seconds, channels=self.max_channels, decoded_bytes=int(self.max_gib * 2**30))


@stage("media.write_audio", version=1, cache=False, lane="io")
class WriteAudio:
    """Write sound to a WAV, FLAC or M4A (AAC) file, by its ending, and the run record beside it.

    Without `path` the file is NODE.wav in the run's directory, and the record is run.json there. With `path`, say
    folder/fox.flac, the folder is made if need be, and the record is folder/fox.run.json.
    """

    path: str | None = param(
        default=None, help=f"Where to write, ending in {soundforms.ENDINGS}; by default NODE.wav in the run's directory"
    )
    bits: int | None = param(
        default=None,
        choices=soundforms.BITS,
        help="Of a sample: 16, 24, or 32 for floating point, which is lossless and the default of .wav; .flac has 16 "
        "and 24, the default; .m4a none",
    )
    clip: bool = param(
        default=False, help="Cut off what is beyond full scale, where 16 and 24 bits cannot hold it; else it is refused"
    )

    def __attrs_post_init__(self) -> None:
        # Found when the graph is built, not after the sound has been made
        wrong = soundforms.wrong_form(self._path, self.bits)
        if wrong:
            raise ValueError(wrong)

    @property
    def _path(self) -> Path:
        return Path(self.path if self.path is not None else f"sound{_DEFAULT_SUFFIX}")

    def check(self) -> Iterable[Fault]:
        """Whether the encoder is there."""
        from stagegraph_media.writing import missing_encoders

        return missing_encoders(soundforms.form_of(self._path, self.bits).encoder)

    def writes(self) -> Iterable[str]:
        """The path, if it is set; the run's directory is the run's own."""
        return [self.path] if self.path is not None else []

    def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
        """Not every kind of file has every rate and number of channels."""
        known = inputs.get("waveform", {})
        if {"num_channels", "sample_rate"} <= known.keys():
            form = soundforms.form_of(self._path, self.bits)
            for fault in soundforms.rate_faults(form, known["num_channels"], known["sample_rate"]):
                raise FactError(fault.what, port="waveform", why=fault.why, fix=fault.fix)
        return {}

    def run(self, waveform: Waveform | None, *, context: StageContext) -> Written:
        """Write the file, then the record; a failure leaves no part of either."""
        from stagegraph_media.audio import write_audio

        if waveform is None:
            why = "the file that it comes from has none"
            raise MediaError(Fault("media.no_sound", "there is no sound to write", where=context.node, why=why))
        context.check_cancelled()
        files = target(self.path, _DEFAULT_SUFFIX, context)
        write_audio(files.file, waveform, bits=self.bits, clip=self.clip, progress=context.progress)
        files.write_record(dict(context.record()))
        return Written(str(files.file))
