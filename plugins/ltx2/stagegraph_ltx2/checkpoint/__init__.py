"""Checkpoints on disk: find them, check them, load them.

`resolve` turns a name into a folder or a file, `opening` says what lies there in whichever layout, `header` what a file
of weights says about itself, and `load` fills a module. Only `device`, `load`, `match` and `tiny` import torch.
"""
