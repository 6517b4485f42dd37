"""What the shipped graphs promise of pictures, keyframes, sounds and retakes, from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import stagegraph as sg
from stagegraph import manifest
from stagegraph.builder import find
from stagegraph.cli.app import call
from stagegraph.plugins import default_registry
from stagegraph_media.png import write_image
from stagegraph_media.reading import probe, read_audio
from stagegraph_media.values import Frames, Image, Waveform
from stagegraph_media.writing import write_video

PROMPT = "a red circle moves right"
SIZE = {"height": 64, "width": 96, "num_frames": 17}
TINY = ("--set", "model.path=tiny")
SMALL = [*TINY, *(word for name, value in SIZE.items() for word in ("--set", f"latents.{name}={value}"))]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pictures(_own_folder: None) -> tuple[str, str]:
    """Two stills, one brighter to the right, one brighter to the bottom."""
    ramp = np.linspace(0, 255, 96, dtype=np.uint8)
    across = np.broadcast_to(ramp[None, :, None], (64, 96, 3))
    down = np.broadcast_to(ramp[:64, None, None], (64, 96, 3))
    for name, pixels in (("across.png", across), ("down.png", down)):
        write_image(name, Image(np.ascontiguousarray(pixels)))
    return "across.png", "down.png"


@pytest.fixture
def clip(_own_folder: None) -> str:
    """A video of 20 frames that grows brighter, with a tone of 440 Hz."""
    time = np.arange(int(20 / 24 * 24_000)) / 24_000
    tone = np.tile(0.5 * np.sin(2 * np.pi * 440 * time, dtype=np.float32), (2, 1)).astype(np.float32)
    pixels = np.broadcast_to(np.linspace(20, 220, 20, dtype=np.uint8)[:, None, None, None], (20, 64, 96, 3))
    frames = Frames(np.ascontiguousarray(pixels), Fraction(24))
    write_video("clip.mp4", frames, Waveform(tone, 24_000))
    write_video("silent.mp4", frames)
    return "clip.mp4"


def outputs_of(name: str, wanted: Sequence[str], settings: dict[str, Any] | None = None, **inputs: Any) -> list[Any]:
    """Outputs of nodes of a shipped graph, as "node.port"."""
    drafts = manifest.override(find(name, default_registry()), {"model.path": "tiny", **(settings or {})})
    run = sg.Graph.from_manifest(drafts).run(outputs=list(wanted), prompt=PROMPT, **inputs)
    return [run[one] for one in wanted]


def latents(name: str = "latents") -> dict[str, Any]:
    """The small size, as settings of a node."""
    return {f"{name}.{setting}": value for setting, value in SIZE.items()}


def test_an_image_is_the_first_frame_of_its_video(pictures: tuple[str, str]) -> None:
    """Its latents come out of denoising as they went in; all others are made, and the file is as asked."""
    assert call(["run", "ltx2/image-to-video", "-i", f"prompt={PROMPT}", "-i", f"image={pictures[0]}", *SMALL]) == 0
    (video,) = Path("runs").glob("*/write.mp4")
    assert (probe(video).num_frames, probe(video).width) == (17, 96)

    for picture in pictures:
        state, made = outputs_of("ltx2/image-to-video", ["first.output", "denoise.video"], latents(), image=picture)
        kept = state.video.clean[:, : 2 * 3]
        assert not state.video.mask[:, :6].any()
        assert state.video.mask[:, 6:].all()
        assert torch.equal(made.latent[:, :, 0].flatten(2).mT, kept)
        assert kept.std() > 0.01


def test_keyframes_lead_to_the_last_picture(pictures: tuple[str, str]) -> None:
    """The first picture is kept as it is, the last one guides: another one makes another video, of the same length."""
    made = []
    for last in pictures:
        state, video = outputs_of(
            "ltx2/keyframes", ["last.output", "denoise.video"], latents(), first=pictures[0], last=last
        )
        assert state.video.tokens == 3 * 6 + 6  # the last picture has tokens of its own, dropped in the end
        assert video.latent.shape == (1, 128, 3, 2, 3)
        made.append(video.latent)
    assert torch.equal(made[0][:, :, 0], made[1][:, :, 0])
    assert not torch.equal(made[0][:, :, 2], made[1][:, :, 2])


def test_a_sound_is_kept_and_gets_a_video(clip: str) -> None:
    """The file has the sound that was given, not one that was decoded; its latents steer the video."""
    args = ["run", "ltx2/audio-to-video", "-i", f"prompt={PROMPT}", "-i", f"audio={clip}", *SMALL, "-o", "out.mp4"]
    assert call(args) == 0
    heard, given = read_audio("out.mp4"), read_audio(clip)
    length = min(heard.samples.shape[1], given.samples.shape[1], 17_000) - 1000
    assert np.abs(heard.samples[:, 1000:length] - given.samples[:, 1000:length]).max() < 0.05

    heard, kept, made = outputs_of(
        "ltx2/audio-to-video", ["heard.output", "kept.output", "denoise.audio"], latents(), audio=clip
    )
    assert torch.equal(made.latent, heard.latent[:, : made.latent.shape[1]])
    assert kept.audio.frozen


def test_a_retake_keeps_what_is_outside_its_stretch(clip: str) -> None:
    """Of 20 frames 17 are used: the first latent frame and its sound are kept, what the stretch touches is made."""
    settings = {"kept.start": 0.2, "kept.end": 0.3}
    args = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    assert (
        call(["run", "ltx2/retake", "-i", f"prompt={PROMPT}", "-i", f"video={clip}", *args, *TINY, "-o", "out.mp4"])
        == 0
    )
    assert probe("out.mp4").num_frames == 17

    seen, heard, video, audio = outputs_of(
        "ltx2/retake", ["seen.output", "heard.output", "denoise.video", "denoise.audio"], settings, video=clip
    )
    same = [torch.equal(video.latent[:, :, i], seen.latent[:, :, i]) for i in range(3)]
    assert same == [True, False, True]
    kept = [torch.equal(audio.latent[:, i], heard.latent[:, i]) for i in range(audio.latent.shape[1])]
    # a latent hears 0.07 s, 0.04 s of which are its own
    assert kept == [True] * 5 + [False] * 4 + [True] * 9


def test_a_retake_of_a_video_without_sound_makes_one(clip: str) -> None:
    """Nothing of the sound is kept, because there is none."""
    kept, audio = outputs_of(
        "ltx2/retake", ["kept.output", "denoise.audio"], {"kept.start": 0.2, "kept.end": 0.3}, video="silent.mp4"
    )
    assert kept.audio.mask.all()
    assert audio.latent.shape[1] == kept.audio.tokens


WRONG = {
    "image-to-video": (
        "image=gone.png",
        "error[media.not_found]: gone.png: cannot open the file: No such file or directory",
    ),
    "retake": ("video=across.png", "error[media.no_video]: across.png: the file is a png image, not a video"),
    "audio-to-video": ("audio=silent.mp4", "error[media.no_sound]: silent.mp4: the file has no sound"),
}


@pytest.mark.usefixtures("clip", "pictures")
@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_cannot_be_read_is_refused_before_anything_runs(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No prompt is encoded for it; the node says which file, and why."""
    given, told = WRONG[name]
    assert call(["run", f"ltx2/{name}", "-i", f"prompt={PROMPT}", "-i", given]) == 2
    seen = capsys.readouterr().err
    assert told in seen
    assert "load " not in seen
