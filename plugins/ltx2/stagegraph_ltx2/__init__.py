"""LTX-2 as stagegraph stages: `from stagegraph_ltx2.stages import LTX2DenoisingStage`. Importing it needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stagegraph_ltx2.pipeline_configs import LTX2T2VConfig

__all__ = ["LTX2T2VConfig"]


def __getattr__(name: str) -> Any:
    # Late, so that models and shapes can be used without the engine.
    if name in __all__:
        from stagegraph_ltx2 import pipeline_configs

        return getattr(pipeline_configs, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
