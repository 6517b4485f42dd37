"""The stages, called as objects and run by the engine, and what the plugin registers."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL.Image
import pytest

import stagegraph
from stagegraph import Cancellation, Graph, StageContext
from stagegraph.cli.app import call
from stagegraph.errors import Cancelled, GraphError, StageError
from stagegraph.facts import FactError
from stagegraph.stages import spec_of
from stagegraph_media import errors, plugin
from stagegraph_media.audio import write_audio
from stagegraph_media.audio_stages import ReadAudio, WriteAudio
from stagegraph_media.errors import MediaError
from stagegraph_media.image_stages import WriteImage
from stagegraph_media.reading import probe, read_audio, read_image, read_video
from stagegraph_media.stages import ReadImage, ReadVideo, WriteVideo
from stagegraph_media.values import Frames, Image, Waveform
from stagegraph_media.writing import write_video

from .conftest import MakeFrames, MakeSound

RECORD = {"schema": "stagegraph.run/1", "id": "7f3a", "inputs": {"prompt": "ein Füchslein 🦊 \ud800 \0"}}


@stagegraph.stage("fake.echo", version=1)
def echo(path: str) -> str:
    """The path, made by a node."""
    return path


def context(directory: Path) -> StageContext:
    return StageContext("write", directory=directory, record=lambda: RECORD)


def test_a_video_without_a_path_lies_in_the_directory_of_the_run(
    tmp_path: Path, make_frames: MakeFrames, make_sound: MakeSound
) -> None:
    """NODE.mp4 with the record in its tag, and the record again in run.json."""
    written = WriteVideo().run(make_frames(), make_sound(), context=context(tmp_path))
    assert written.path == str(tmp_path / "write.mp4")
    assert json.loads(probe(written.path).metadata["stagegraph"]) == RECORD
    assert json.loads((tmp_path / "run.json").read_text("utf-8")) == RECORD
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json", "write.mp4"]


def test_a_video_with_a_path_has_the_record_beside_it(tmp_path: Path, make_frames: MakeFrames) -> None:
    """The folder is made, and two videos in one folder have a record each."""
    target = tmp_path / "new" / "fox.mp4"
    assert WriteVideo(path=str(target)).run(make_frames(), context=context(tmp_path)).path == str(target)
    assert sorted(path.name for path in target.parent.iterdir()) == ["fox.mp4", "fox.run.json"]
    assert json.loads((target.parent / "fox.run.json").read_text("utf-8")) == RECORD


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, make_frames: MakeFrames) -> None:
    """A file stands in its way."""
    (tmp_path / "taken").touch()
    with pytest.raises(MediaError) as caught:
        WriteVideo(path=str(tmp_path / "taken" / "fox.mp4")).run(make_frames(), context=context(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path / 'taken'}: error[media.unwritable]: cannot make the directory: File exists"
    )


def test_the_record_can_be_kept_out_of_the_video(tmp_path: Path, make_frames: MakeFrames) -> None:
    """A file that is shared tells no prompt; the record beside it stays."""
    written = WriteVideo(embed_record=False).run(make_frames(), context=context(tmp_path))
    assert "stagegraph" not in probe(written.path).metadata
    assert json.loads((tmp_path / "run.json").read_text("utf-8")) == RECORD


def test_crf_trades_size_for_quality(tmp_path: Path) -> None:
    """A higher one makes a smaller file."""
    noise = Frames(np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), np.uint8), 24)
    sizes = [
        Path(WriteVideo(path=str(tmp_path / f"{crf}.mp4"), crf=crf).run(noise, context=context(tmp_path)).path)
        .stat()
        .st_size
        for crf in (10, 40)
    ]
    assert sizes[0] > 2 * sizes[1]


def test_a_path_with_another_ending_is_refused_before_the_run() -> None:
    """When the stage is made: a wrong name costs no generation."""
    with pytest.raises(ValueError, match="must end in") as caught:
        WriteVideo(path="fox.webm")
    assert str(caught.value) == 'path is "fox.webm": must end in .mp4'


def test_a_cancelled_write_leaves_nothing(tmp_path: Path, make_frames: MakeFrames) -> None:
    """No part of the video and no record."""
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        WriteVideo().run(make_frames(), context=StageContext("write", directory=tmp_path, cancellation=cancellation))
    assert list(tmp_path.iterdir()) == []


def test_progress_is_told_frame_by_frame(tmp_path: Path, make_frames: MakeFrames) -> None:
    """While writing and while reading."""
    told: list[tuple[int, int]] = []
    lent = StageContext("node", directory=tmp_path, on_progress=lambda done, total, _: told.append((done, total)))
    written = WriteVideo().run(make_frames(3), context=lent)
    ReadVideo().run(written.path, context=lent)
    assert told == [(1, 3), (2, 3), (3, 3)] * 2


def test_reading_gives_frames_sound_and_tags(tmp_path: Path, make_frames: MakeFrames, make_sound: MakeSound) -> None:
    """What write_video wrote."""
    path = write_video(tmp_path / "a.mp4", make_frames(), make_sound(), metadata={"title": "x"})
    clip = ReadVideo().run(str(path), context=context(tmp_path))
    assert clip.frames == read_video(path).frames
    assert clip.waveform == read_video(path).waveform
    assert clip.metadata["title"] == "x"


@pytest.mark.parametrize("stage", [ReadVideo(max_frames=8), ReadVideo(max_gib=0.00001)])
def test_limits_are_params(tmp_path: Path, make_frames: MakeFrames, stage: ReadVideo) -> None:
    """So that a manifest can raise them."""
    path = write_video(tmp_path / "a.mp4", make_frames())
    with pytest.raises(MediaError) as caught:
        stage.run(str(path), context=context(tmp_path))
    assert caught.value.code == "media.too_large"


def test_an_image_is_read(tmp_path: Path) -> None:
    """To the limit that the param sets."""
    encoder = av.CodecContext.create("png", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.height, encoder.width, encoder.pix_fmt, encoder.time_base = 4, 6, "rgb24", 1  # type: ignore[assignment]
    pixels = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
    (tmp_path / "a.png").write_bytes(bytes(encoder.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24"))[0]))
    assert ReadImage().run(str(tmp_path / "a.png")) == Image(pixels)
    with pytest.raises(MediaError):
        ReadImage(max_megapixels=0.00001).run(str(tmp_path / "a.png"))


def test_the_engine_runs_reading_and_writing(tmp_path: Path, make_frames: MakeFrames, make_sound: MakeSound) -> None:
    """A graph that copies a video; the tag of the copy holds the record of this run."""
    source = write_video(tmp_path / "a.mp4", make_frames(), make_sound())
    graph = Graph("copy")
    clip = graph.add(ReadVideo(), name="read", path=graph.input("path", str))
    copy = graph.add(WriteVideo(crf=0), name="write", frames=clip.frames, waveform=clip.waveform)
    graph.output("video", copy.path)
    run = graph.run(path=str(source), directory=tmp_path / "run")
    assert run.outputs["video"] == str(tmp_path / "run" / "write.mp4")
    record = json.loads(probe(run.outputs["video"]).metadata["stagegraph"])
    assert (record["graph"], record["inputs"]) == ("copy", {"path": str(source)})
    assert (tmp_path / "run" / "run.json").is_file()


def test_a_file_is_looked_at_before_anything_runs(tmp_path: Path) -> None:
    """Its header tells whether it can be read; a path that a node makes is looked at when it is there."""
    graph = Graph("read")
    clip = graph.add(ReadVideo(), name="read", path=graph.input("path", str))
    graph.output("frames", clip.frames)
    with pytest.raises(GraphError) as refused:
        graph.run(path=str(tmp_path / "no.mp4"))
    told = f"{tmp_path / 'no.mp4'}: error[media.not_found]: cannot open the file: No such file or directory"
    assert str(refused.value) == told

    graph = Graph("read")
    said = graph.add(echo, path=graph.input("path", str))
    graph.output("frames", graph.add(ReadVideo(), name="read", path=said).frames)
    with pytest.raises(StageError) as caught:
        graph.run(path=str(tmp_path / "no.mp4"))
    assert (caught.value.node, caught.value.stage) == ("read", "media.read_video@1")
    assert str(caught.value) == told


def test_an_image_tells_its_size_before_it_is_read(tmp_path: Path) -> None:
    """Upright, as it will be."""
    path = tmp_path / "lying.jpg"
    turned = PIL.Image.Exif()
    turned[0x0112] = 6  # the orientation: a quarter turn
    PIL.Image.new("RGB", (8, 4)).save(path, exif=turned)
    assert ReadImage().facts({"path": {"value": str(path)}}) == {"output": {"height": 8, "width": 4}}
    assert read_image(path).facts == {"height": 8, "width": 4}
    assert ReadImage().facts({}) == {}


def test_the_plugin_registers_stages_and_types() -> None:
    """Under the names that manifests use."""
    assert [str(spec_of(stage)) for stage in plugin.stagegraph_stages()] == [
        "media.read_video@1",
        "media.read_image@1",
        "media.read_audio@1",
        "media.write_video@1",
        "media.write_segment@1",
        "media.write_image@1",
        "media.write_audio@1",
        "media.join_videos@1",
        "media.trim@1",
        "media.trim_waveform@1",
        "media.concat_frames@1",
        "media.concat_waveforms@1",
        "media.contact_sheet@1",
    ]
    assert plugin.stagegraph_types() == {"media.frames": Frames, "media.waveform": Waveform, "media.image": Image}


def test_every_param_is_explained() -> None:
    """In the stage's listing."""
    for stage in plugin.stagegraph_stages():
        spec = spec_of(stage)
        assert spec.summary
        assert all(field.metadata["help"] for field in spec.params.values())


def test_an_input_of_any_number_of_values_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    """With the star that it has in Python."""
    assert call(["stages", "media.concat_frames"]) == 0
    assert capsys.readouterr().out == (
        "media.concat_frames@1  media (stagegraph-media 0.1.0)\n"
        "    Join videos of one size and frame rate, one after the other.\n"
        "  inputs\n"
        "    frames  Frames*\n"
        "  outputs\n"
        "    output  Frames\n"
    )


def test_the_doctor_looks_at_the_encoders() -> None:
    """One line for PyAV."""
    assert plugin.stagegraph_doctor() == [stagegraph.Check("PyAV", True, f"{av.__version__} (h264 ok, aac ok)")]


def test_the_readme_runs(
    tmp_path: Path, make_frames: MakeFrames, make_sound: MakeSound, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its Python block, on a file of that name."""
    monkeypatch.chdir(tmp_path)
    write_video("fox.mp4", make_frames(), make_sound())
    readme = Path(errors.__file__).parents[1] / "README.md"
    exec(readme.read_text("utf-8").partition("```python\n")[2].partition("```")[0], {})
    assert probe("copy.mp4").metadata["title"] == "A fox"
    assert read_audio("bark.flac").num_samples == 4800
    assert read_image("sheet.png").width == 1280


def test_the_manifest_of_the_readme_joins_videos(
    tmp_path: Path, make_frames: MakeFrames, make_sound: MakeSound, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last two seconds of one and all of another; sound that was too short is filled up in between."""
    monkeypatch.chdir(tmp_path)
    frames, sound = make_frames(60), make_sound(58_000)
    write_video("a.mp4", frames, sound)
    write_video("b.mp4", frames, sound)
    readme = Path(errors.__file__).parents[1] / "README.md"
    Path("join.yaml").write_text(readme.read_text("utf-8").partition("```yaml\n")[2].partition("```")[0])
    clip = read_video(stagegraph.load("join.yaml").run(first="a.mp4", second="b.mp4")["video"])
    assert (clip.frames.num_frames, clip.waveform and clip.waveform.num_samples) == (48 + 60, 48_000 + 58_000)


def test_an_audio_file_is_written_with_its_record(tmp_path: Path, make_sound: MakeSound) -> None:
    """NODE.wav in the directory of the run, or a path; None is no sound."""
    sound = make_sound()
    written = WriteAudio().run(sound, context=context(tmp_path))
    assert written.path == str(tmp_path / "write.wav")
    assert read_audio(written.path) == sound
    assert json.loads((tmp_path / "run.json").read_text("utf-8")) == RECORD
    target = tmp_path / "new" / "fox.flac"
    assert WriteAudio(path=str(target), bits=16).run(sound, context=context(tmp_path)).path == str(target)
    assert sorted(path.name for path in target.parent.iterdir()) == ["fox.flac", "fox.run.json"]
    with pytest.raises(MediaError) as caught:
        WriteAudio().run(None, context=context(tmp_path))
    assert str(caught.value) == (
        "write: error[media.no_sound]: there is no sound to write\n  why: the file that it comes from has none"
    )


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"path": "fox.mp3"}, 'path is "fox.mp3": must end in .wav, .flac or .m4a'),
        ({"path": "fox.m4a", "bits": 16}, "bits is 16: for .m4a it must be left out, AAC has none"),
        ({"path": "fox.flac", "bits": 32}, "bits is 32: for .flac it must be 24 or 16"),
        ({"bits": 20}, "bits is 20, it must be one of 16, 24, 32"),
    ],
)
def test_an_audio_file_that_cannot_be_is_refused_before_the_run(params: dict[str, Any], text: str) -> None:
    """When the stage is made."""
    with pytest.raises(ValueError, match="must") as caught:
        WriteAudio(**params)
    assert str(caught.value) == text


def test_rates_that_a_file_does_not_have_are_found_before_the_run() -> None:
    """By what is known of the sound."""
    known = {"num_channels": 1, "num_samples": 9, "sample_rate": 23_999}
    assert WriteAudio().facts({"waveform": known}) == WriteAudio(path="a.m4a").facts({}) == {}
    with pytest.raises(FactError) as caught:
        WriteAudio(path="a.m4a").facts({"waveform": known})
    assert (caught.value.what, caught.value.port, caught.value.fix) == (
        "the sample rate is 23999 Hz",
        "waveform",
        "resample to 24000 Hz",
    )


def test_an_image_is_refused_by_its_name_before_the_run() -> None:
    """When the stage is made."""
    with pytest.raises(ValueError, match="must end in") as caught:
        WriteImage(path="fox.jpg")
    assert str(caught.value) == 'path is "fox.jpg": must end in .png'


def test_audio_is_read_within_the_limits_of_the_params(tmp_path: Path, make_sound: MakeSound) -> None:
    """A part if asked for."""
    path, sound = str(write_audio(tmp_path / "a.wav", make_sound(24000))), make_sound(24000)
    assert ReadAudio().run(path, context=context(tmp_path)) == sound
    part = ReadAudio(start=0.25, duration=0.5).run(path, context=context(tmp_path))
    assert part == Waveform(sound.samples[:, 6000:18000], 24000)
    for stage in (ReadAudio(max_seconds=0.9), ReadAudio(max_channels=1), ReadAudio(max_gib=0.0001)):
        with pytest.raises(MediaError) as caught:
            stage.run(path, context=context(tmp_path))
        assert caught.value.code == "media.too_large"


def test_codes_that_are_raised_are_the_codes_that_are_registered() -> None:
    """No code without an entry, no entry without use."""
    folder = Path(errors.__file__).parent
    used = {
        node.value
        for path in folder.glob("*.py")
        if path.name not in ("errors.py", "plugin.py", "codecs.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("media.")
    }
    stages = {spec_of(stage).id for stage in plugin.stagegraph_stages()}
    assert used - stages == set(errors.CODES)
