"""What each rank does of a denoising loop: rank 0 as the others."""

from __future__ import annotations

from torch import Tensor

from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.parallel.cuts import Cut, own_scene
from stagegraph_ltx2.parallel.exchange import divided
from stagegraph_ltx2.parallel.group import Group
from stagegraph_ltx2.samplers import Pair
from stagegraph_ltx2.scene import Network, Scene


class Part:
    """The transformer in a scene, of which this rank computes some tokens.

    All ranks are given the same, and call it at the same time.

    Args:
        group: the ranks.
        model: with the same weights in all of them.
        scene: of all tokens.
    """

    def __init__(self, group: Group, model: AudioVideoTransformer, scene: Scene) -> None:
        self._group = group
        video, audio = (Cut(side.positions.shape[2], group.ranks) for side in (scene.video, scene.audio))
        self._cuts = (video, audio)
        self._network = Network(model, own_scene(scene, video, audio, group.rank), divided(group, video, audio))

    def __call__(self, number: int, x: Pair, sigma: float) -> Pair:
        """Velocities of all tokens, from latents of all tokens."""
        own = Pair(*(cut.own(part, self._group.rank) for cut, part in zip(self._cuts, x, strict=True)))
        velocities = self._network(number, own, sigma)
        return Pair(*(self._whole(part, cut) for part, cut in zip(velocities, self._cuts, strict=True)))

    def _whole(self, own: Tensor, cut: Cut) -> Tensor:
        return self._group.all_gather(own).movedim(0, 1).flatten(1, 2)[:, : cut.tokens]
