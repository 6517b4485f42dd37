"""A video grows by segments: `ltx2/continue` on the embedded checkpoint."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch

from stagegraph import Graph, Session, manifest
from stagegraph.builder import find
from stagegraph.errors import ContinuationError, InputError, StageError
from stagegraph.plugins import default_registry
from stagegraph_ltx2.continuation import LTX2ContinuationState
from stagegraph_ltx2.model.audio_vae import pack
from stagegraph_media.values import Frames

SIZE = {"model.path": "tiny", "noise.height": 64, "noise.width": 64, "noise.num_frames": 17}
PARTS = ["new.frames", "new.waveform", "new.start_frame"]

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def graph(**settings: Any) -> Graph:
    """The shipped manifest, small."""
    registry = default_registry()
    changed = {name.replace("__", "."): value for name, value in settings.items()}
    return Graph.from_manifest(manifest.override(find("ltx2/continue", registry), {**SIZE, **changed}), registry)


def session(outputs: list[str] | None = None, **settings: Any) -> Session:
    """A session that writes no file."""
    return Session(graph(**settings), outputs=outputs or PARTS, seed=7)


def test_twenty_segments_join_without_a_missing_or_repeated_frame_or_sample() -> None:
    """Counted in what comes out; each segment's sound is exactly as long as its frames, to the sample."""
    video, sound = 0, 0
    for segment in session().stream(f"scene {i}" for i in range(20)):
        frames, waveform = segment["new.frames"], segment["new.waveform"]
        assert segment["new.start_frame"] == video
        assert frames.num_frames == (17 if segment.index == 0 else 8)
        video, sound = video + frames.num_frames, sound + waveform.num_samples
        assert sound == round(Fraction(video * waveform.sample_rate, 24))
        state = segment["continuation"]
        assert state.segment_index == segment.index
        assert state.metadata["timeline"] == {"frames": video, "frame_rate": "24", "samples": sound}
    assert (video, sound) == (17 + 19 * 8, 169_000)


def test_the_next_segment_begins_with_what_the_one_before_left() -> None:
    """The video with its frames, encoded; the sound with its latents, bit by bit; at the same time for both."""
    made = session([*PARTS, "frames.output", "latents.output", "denoise.video", "denoise.audio"])
    first, second = made.extend(prompt="one"), made.extend(prompt="two")
    left, latents = first["continuation"], second["latents.output"]
    assert np.array_equal(np.stack(left.video_frames), first["frames.output"].pixels[-9:])
    tokens, kept = latents.video, 2 * latents.size.latent().tokens_per_frame
    assert not tokens.mask[:, :kept].any()
    assert bool((tokens.mask[:, kept:] == 1).all())
    denoised = second["denoise.video"].latent
    assert torch.equal(denoised[:, :, :2].flatten(2).transpose(1, 2), tokens.clean[:, :kept])

    count = left.audio_latents.shape[2]
    assert torch.equal(second["denoise.audio"].latent[:, :count], pack(left.audio_latents))
    assert torch.equal(first["denoise.audio"].latent[:, -count:], pack(left.audio_latents))
    assert float(tokens.positions[0, 0, 0, 0]) == pytest.approx(left.video_position_offset_sec, abs=1e-6)
    # noise of its own
    assert not torch.equal(first_noise("one"), latents.video.noise)


def first_noise(prompt: str) -> torch.Tensor:
    """The noise of the first segment."""
    noise: torch.Tensor = (
        Session(graph(), outputs=["latents.output"], seed=7).extend(prompt=prompt)["latents.output"].video.noise
    )
    return noise


def test_a_state_that_crossed_json_gives_the_same_segment() -> None:
    """Bit by bit: frames as PNG lose nothing, nor do latents as safetensors."""
    here = session()
    here.extend(prompt="one")
    there = Session.hydrate(graph(), json.dumps(here.snapshot()).encode(), outputs=PARTS)
    mine, theirs = here.extend(prompt="two"), there.extend(prompt="two")
    assert mine["new.frames"] == theirs["new.frames"]
    assert mine["new.waveform"] == theirs["new.waveform"]
    assert mine["continuation"] == theirs["continuation"]


ELSEWHERE = """
import hashlib, sys
from pathlib import Path
from tests.e2e.test_continuation import PARTS, graph
from stagegraph import Session
session = Session.hydrate(graph(), Path(sys.argv[1]).read_bytes(), outputs=PARTS)
segment = session.extend(prompt="two")
print(hashlib.sha256(segment["new.frames"].pixels.tobytes() + segment["new.waveform"].samples.tobytes()).hexdigest())
"""


def test_another_process_in_another_folder_goes_on(tmp_path: Path) -> None:
    """With the same frames and samples."""
    import hashlib

    here = session()
    here.extend(prompt="one")
    (tmp_path / "state.json").write_text(json.dumps(here.snapshot()))
    other = tmp_path / "other"
    other.mkdir()
    root = str(Path(__file__).parents[2])
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {root!r})\n{ELSEWHERE}",
        str(tmp_path / "state.json"),
    ]
    done = subprocess.run(command, cwd=other, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    mine = here.extend(prompt="two")
    digest = hashlib.sha256(mine["new.frames"].pixels.tobytes() + mine["new.waveform"].samples.tobytes()).hexdigest()
    assert done.stdout.strip() == digest


def test_latents_can_be_handed_over_in_place_of_frames() -> None:
    """In bf16; the next segment begins with exactly them."""
    made = session([*PARTS, "latents.output", "denoise.video"], continuation__hand_off="latents")
    first, second = made.extend(prompt="one"), made.extend(prompt="two")
    state = first["continuation"]
    assert state.video_frames is None
    assert state.video_latents.dtype == torch.bfloat16
    assert torch.equal(state.video_latents, first["denoise.video"].latent[:, :, -2:].to(torch.bfloat16))
    assert torch.equal(second["denoise.video"].latent[:, :, :2], state.video_latents.float())
    assert second["new.frames"].num_frames == 8
    assert made.snapshot()["carried"]["continuation"]["state"]["payload"]["schema_version"] == 2


def test_the_first_segment_is_the_graph_without_a_state() -> None:
    """Its video begins at zero, and its sound reaches beyond the video's end."""
    made = session(["latents.output"])
    latents = made.extend(prompt="one")["latents.output"]
    assert float(latents.video.positions[0, 0, 0, 0]) == 0.0
    assert latents.audio.tokens == 20
    assert bool((latents.audio.mask == 1).all())


def state_of(made: Session) -> LTX2ContinuationState:
    """What the session carries."""
    state: LTX2ContinuationState = made.carried["continuation"]
    return state


@pytest.fixture(scope="module")
def state(tiny: Path) -> LTX2ContinuationState:
    """What a first segment left."""
    made = session(["continuation"])
    made.extend(prompt="one")
    return state_of(made)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"video_frames": None, "video_frames_blob_id": "0" * 32}, ContinuationError, "only the id of a blob"),
        ({"audio_latents": None, "audio_latents_blob_id": "0" * 32}, ContinuationError, "only the id of a blob"),
        ({"metadata": {"timeline": {"frames": 17, "frame_rate": "25"}}}, InputError, "24 frames a second"),
        ({"metadata": {"timeline": 1}}, ContinuationError, "no count of frames"),
        ({"video_conditioning_frame_idx": -1}, ContinuationError, "counted from the end"),
        ({"video_conditioning_frame_idx": 8}, InputError, "17 repeat"),
        ({"audio_latents": torch.zeros(1, 8, 26, 4)}, InputError, r"\[1, 8, 26, 4\]"),
        ({"video_frames": None, "video_latents": torch.zeros(1, 128, 2, 3, 2)}, InputError, "hand over frames"),
    ],
)
def test_states_that_do_not_fit(
    state: LTX2ContinuationState, change: dict[str, Any], error: type[Exception], text: str
) -> None:
    """Say what does not, before anything is denoised."""
    with pytest.raises((error, StageError), match=text) as caught:
        session().extend(prompt="two", continuation=attrs.evolve(state, **change))
    found = caught.value if isinstance(caught.value, error) else caught.value.__cause__
    assert isinstance(found, error)


def test_frames_that_latents_cannot_hold(state: LTX2ContinuationState) -> None:
    """Eight."""
    assert state.video_frames is not None
    with pytest.raises(StageError, match="left 8 frames"):
        session().extend(prompt="two", continuation=attrs.evolve(state, video_frames=state.video_frames[1:]))


def test_a_state_of_another_program(state: LTX2ContinuationState) -> None:
    """It holds all of the sound, and says nothing of a timeline: what is new is counted from here."""
    foreign = attrs.evolve(
        state,
        segment_index=4,
        audio_latents=torch.randn(1, 8, 126, 16).to(torch.bfloat16),
        audio_conditioning_num_frames=25,
        video_position_offset_sec=16 / 24,
        metadata={"knob": 3},
    )
    made = session([*PARTS, "latents.output"])
    segment = made.extend(prompt="five", continuation=foreign)
    assert segment["new.frames"].num_frames == 8
    assert segment["new.waveform"].num_samples == 8000
    assert int((segment["latents.output"].audio.mask == 0).sum()) == 26
    assert segment["continuation"].segment_index == 5
    assert segment["continuation"].metadata["knob"] == 3


def test_frames_of_another_size_are_fitted(state: LTX2ContinuationState) -> None:
    """As a clip that is conditioned on."""
    segment = session(noise__width=96).extend(prompt="two", continuation=state)
    assert segment["new.frames"].width == 96


def test_sound_that_does_not_reach_the_end_is_an_error() -> None:
    """Where the latents did not pass through the stage that lengthens it."""
    g = graph()
    short = Frames(np.zeros((40, 4, 4, 3), np.uint8), Fraction(24))
    with pytest.raises(StageError, match=r"ltx2\.continuation_input"):
        g.run(prompt="one", seed=1, given={"frames.output": short}, outputs=["new.frames"])


def test_what_is_to_be_handed_over_must_be_wired() -> None:
    """And says which wire is missing."""
    g = Graph("alone")
    audio = g.input("audio", default_registry().types["ltx2.audio_latent"])
    g.output("state", g.add("ltx2.continuation_output", audio=audio))
    from stagegraph_ltx2.values import AudioLatent

    with pytest.raises(StageError, match="nothing feeds frames"):
        g.run(audio=AudioLatent(torch.zeros(1, 20, 128)))
