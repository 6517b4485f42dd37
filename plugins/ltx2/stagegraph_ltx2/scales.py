"""How strongly a generation is guided. Needs no torch."""

from __future__ import annotations

import attrs


@attrs.frozen
class Scales:
    """How one stream is guided: by how much its estimate moves away from estimates that lack something.

    Attributes:
        text: away from the estimate with the negative prompt; 1 is not at all, more follows the prompt more closely.
        perturbation: away from the estimate of a network that is perturbed; 0 is not at all.
        modality: away from the estimate that does not see the other stream; 1 is not at all.
        rescale: how much of the contrast that guidance adds is taken back, 0 to 1.
    """

    text: float = 1.0
    perturbation: float = 0.0
    modality: float = 1.0
    rescale: float = 0.0


@attrs.frozen
class Guidance:
    """How video and audio are guided.

    Attributes:
        video: its scales.
        audio: its scales.
        blocks: of the transformer, from 0, in which self-attention is perturbed.
    """

    video: Scales = Scales()
    audio: Scales = Scales()
    blocks: tuple[int, ...] = ()

    def batches(self, *, together: bool) -> tuple[int, ...]:
        """How many evaluations of the network go through it at once, batch by batch; see `estimate.grouped`."""
        joined = 1 + self.needs_negative + self.needs_perturbed
        apart = (1,) * self.needs_isolated
        return (joined, *apart) if together else (1,) * joined + apart

    def texts(self, *, together: bool) -> int:
        """How many prompts the network has read, for all batches: those of equal batches are shared."""
        if not together:
            return 1 + self.needs_negative
        joined = 1 + self.needs_negative + self.needs_perturbed
        return joined + (self.needs_isolated and joined > 1)

    @property
    def needs_negative(self) -> bool:
        """Whether the negative prompt is evaluated."""
        return self.video.text != 1 or self.audio.text != 1

    @property
    def needs_perturbed(self) -> bool:
        """Whether the perturbed network is evaluated."""
        return self.video.perturbation != 0 or self.audio.perturbation != 0

    @property
    def needs_isolated(self) -> bool:
        """Whether the streams are evaluated without each other."""
        return self.video.modality != 1 or self.audio.modality != 1
