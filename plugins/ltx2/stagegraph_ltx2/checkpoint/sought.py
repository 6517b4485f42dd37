"""A checkpoint by the names of the places that its parts are in. Needs no torch."""

from __future__ import annotations

from pathlib import Path

import attrs

from stagegraph_ltx2.checkpoint.hub import TEXT_ENCODER_FILES
from stagegraph_ltx2.checkpoint.opening import Elsewhere
from stagegraph_ltx2.checkpoint.resolve import present, resolve


@attrs.frozen
class Sought:
    """The names of a checkpoint and of what lies elsewhere, each as `resolve` takes it."""

    path: str
    revision: str | None = None
    text_encoder: str | None = None
    video_vae: str | None = None
    audio_vae: str | None = None
    upsampler: str | None = None

    def places(self, *, local: bool = False) -> tuple[Path, Elsewhere]:
        """Where everything is.

        Args:
            local: take what was downloaded before, and download nothing.

        Raises:
            ComponentError: as `resolve`.
        """
        encoder = self.text_encoder
        return resolve(self.path, revision=self.revision, local=local), Elsewhere(
            resolve(encoder, wanted=TEXT_ENCODER_FILES, local=local) if encoder is not None else None,
            *(resolve(name, local=local) if name is not None else None for name in self._files),
        )

    def present(self) -> tuple[Path, Elsewhere] | None:
        """Where everything is; None if something of it would have to be made or downloaded.

        Raises:
            ComponentError: as `present` of a single name.
        """
        path = present(self.path, revision=self.revision)
        names = (self.text_encoder, *self._files)
        others = [present(name) if name is not None else None for name in names]
        if path is None or any(name is not None and other is None for name, other in zip(names, others, strict=True)):
            return None
        return path, Elsewhere(*others)

    @property
    def _files(self) -> tuple[str | None, ...]:
        """In the order of `Elsewhere`."""
        return self.video_vae, self.audio_vae, self.upsampler
