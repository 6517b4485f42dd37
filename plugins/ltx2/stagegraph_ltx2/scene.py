"""What the transformer is told once of a denoising loop, and what it then gives at each noise level.

Everything that differs between the steps is two tensors and a number, so that the step of a loop is easily done
elsewhere: see `parallel`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import attrs
import torch
from torch import Tensor

from stagegraph_ltx2.model.adaln import Levels, scaled
from stagegraph_ltx2.model.conditions import Attends, Biases, CrossTimestep, Perturbation, Text, Timesteps
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.samplers import Pair

TIMESTEPS = 1000
"""The transformer is told a sigma as this many times its value."""


@attrs.frozen(eq=False)
class Side:
    """One stream.

    Attributes:
        positions: [b or 1, axes, t, 2], as of `TokenState`.
        levels: what multiplies the noise level of each token; None if all of them are at that of the stream.
        moving: whether any of it is generated; otherwise its noise level is 0.
    """

    positions: Tensor
    levels: Levels | None
    moving: bool


@attrs.frozen(eq=False)
class Batch:
    """Passes that go through the transformer together, each over all b samples.

    Attributes:
        passes: how many.
        video_text: [passes b, s, d], their prompts for the video stream.
        audio_text: [passes b, s, d], and for the audio stream.
        perturbation: what they leave out.
    """

    passes: int
    video_text: Tensor
    audio_text: Tensor
    perturbation: Perturbation


@attrs.frozen(eq=False)
class Scene:
    """What stays the same through a loop, for the tokens of one process.

    Attributes:
        video: the stream.
        audio: the stream.
        batches: the evaluations that an estimate takes.
        cross_timestep: by which noise level the streams are modulated where they meet.
        biases: which tokens may not be seen.
    """

    video: Side
    audio: Side
    batches: tuple[Batch, ...]
    cross_timestep: CrossTimestep = "other"
    biases: Biases = attrs.field(factory=Biases)


#: The number of a batch, latents of all b samples, and their noise level sigma -> velocities [passes b, t, c].
Velocities = Callable[[int, Pair, float], Pair]
#: Evaluates the transformer in a scene, until the context ends.
Evaluator = Callable[[AudioVideoTransformer, Scene], AbstractContextManager[Velocities]]


class Network:
    """The transformer in a scene.

    Args:
        model: on the device where everything happens.
        scene: of the tokens that this process holds.
        attends: how attention reaches the tokens that it does not hold.
    """

    def __init__(self, model: AudioVideoTransformer, scene: Scene, attends: Attends | None = None) -> None:
        self._model = model
        self._scene = scene
        self._attends = attends
        self._rotary = model.rotary(scene.video.positions, scene.audio.positions)
        weight = model.proj_in.weight
        read: dict[tuple[int, int], Text] = {}  # gigabytes each: batches that share a text share it
        for batch in scene.batches:
            if _key(batch) not in read:
                texts = (text.to(weight) for text in (batch.video_text, batch.audio_text))
                read[_key(batch)] = model.text(*texts, ahead=True)
        self._texts = [read[_key(batch)] for batch in scene.batches]
        self._perturbations = [_moved(batch.perturbation, weight.device) for batch in scene.batches]

    def __call__(self, number: int, x: Pair, sigma: float) -> Pair:
        """Velocities of a batch of passes, in the dtype of the model."""
        scene, dtype = self._scene, self._model.proj_in.weight.dtype
        batch, level = scene.batches[number], sigma * TIMESTEPS
        samples, device = batch.passes * len(x.video), x.video.device
        sides = (scene.video, scene.audio)
        whole = [torch.full((samples,), level * side.moving, device=device) for side in sides]
        video, audio = (
            scaled(_repeat(side.levels, batch.passes), level) if side.levels is not None else same
            for side, same in zip(sides, whole, strict=True)
        )
        return Pair(
            *self._model(
                x.video.to(dtype).repeat(batch.passes, 1, 1),
                x.audio.to(dtype).repeat(batch.passes, 1, 1),
                self._texts[number],
                Timesteps(video, audio, *whole),
                self._rotary,
                biases=scene.biases,
                perturbation=self._perturbations[number],
                cross_timestep=scene.cross_timestep,
                attends=self._attends,
            )
        )


@contextmanager
def alone(model: AudioVideoTransformer, scene: Scene) -> Iterator[Velocities]:
    """All of it in this process."""
    yield Network(model, scene)


def _key(batch: Batch) -> tuple[int, int]:
    return id(batch.video_text), id(batch.audio_text)


def _moved(perturbation: Perturbation, device: torch.device) -> Perturbation:
    kept = perturbation.kept
    return perturbation if kept is None else perturbation._replace(kept=kept.to(device))


def _repeat(level: Levels, count: int) -> Levels:
    return Levels(level.values.repeat(count, 1), level.which.repeat(count, 1))
