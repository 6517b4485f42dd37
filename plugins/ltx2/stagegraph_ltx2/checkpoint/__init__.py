"""Checkpoints on disk: find them, check them, load them.

`resolve` turns a name into a folder, `folder` says what lies in it, `header` what a file of weights says about itself,
and `load` fills a module. Only `load` and `tiny` import torch.
"""
