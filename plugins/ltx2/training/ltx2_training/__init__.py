"""How the checkpoint `micro` is made: clips, training, assembly and its report. Nothing of it is needed at run time."""
