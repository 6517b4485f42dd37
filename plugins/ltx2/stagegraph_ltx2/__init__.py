"""LTX-2 as stagegraph stages: `from stagegraph_ltx2.stages import LTX2DenoisingStage`. Importing it needs no torch."""
