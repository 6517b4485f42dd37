"""Which tokens a rank has."""

from __future__ import annotations

import attrs
from torch import Tensor

from stagegraph_ltx2.model.adaln import Levels
from stagegraph_ltx2.model.conditions import Biases
from stagegraph_ltx2.scene import Scene, Side


@attrs.frozen
class Cut:
    """Tokens divided evenly in their order; the last ranks are padded to as many as the others.

    Attributes:
        tokens: all of them.
        ranks: by how many they are divided.
    """

    tokens: int
    ranks: int

    @property
    def share(self) -> int:
        """The tokens of a rank, with padding."""
        return -(-self.tokens // self.ranks)

    @property
    def padding(self) -> int:
        """What is missing at the end."""
        return self.share * self.ranks - self.tokens

    def own(self, x: Tensor, rank: int, dim: int = 1) -> Tensor:
        """What a rank has of x, whose tokens lie along `dim`; padding is 0."""
        begin = min(rank * self.share, self.tokens)
        mine = x.narrow(dim, begin, min(self.share, self.tokens - begin))
        missing = self.share - mine.shape[dim]
        if not missing:
            return mine
        padded = mine.new_zeros([self.share if d == dim % x.ndim else n for d, n in enumerate(x.shape)])
        padded.narrow(dim, 0, mine.shape[dim]).copy_(mine)
        return padded


def own_scene(scene: Scene, video: Cut, audio: Cut, rank: int) -> Scene:
    """A scene of the tokens of one rank."""
    return attrs.evolve(
        scene,
        video=_own_side(scene.video, video, rank),
        audio=_own_side(scene.audio, audio, rank),
        biases=own_biases(scene.biases, video, audio, rank),
    )


def own_biases(biases: Biases, video: Cut, audio: Cut, rank: int) -> Biases:
    """What biases of all tokens are where one rank computes: see `exchange` for what it has there."""

    def heads(bias: Tensor | None) -> Tensor | None:
        return bias if bias is None or bias.shape[1] == 1 else bias.chunk(video.ranks, 1)[rank]

    def queries(bias: Tensor | None, cut: Cut) -> Tensor | None:
        return bias if bias is None or bias.shape[2] == 1 else cut.own(bias, rank, 2)

    return Biases(
        video=heads(biases.video),
        audio=heads(biases.audio),
        video_text=queries(biases.video_text, video),
        audio_text=queries(biases.audio_text, audio),
        audio_to_video=queries(biases.audio_to_video, video),
        video_to_audio=heads(biases.video_to_audio),
    )


def _own_side(side: Side, cut: Cut, rank: int) -> Side:
    levels = side.levels
    if levels is not None:
        levels = Levels(levels.values, cut.own(levels.which, rank))
    return attrs.evolve(side, positions=cut.own(side.positions, rank, 2), levels=levels)
