"""LoRAs on disk: which layers a file changes, by how much, and whether they are those of a checkpoint.

`place` turns a name into a file, `keys` its tensors' names into layers, `file` reads and checks it, `scale` says how
strongly its factors count, `fit` holds it against a checkpoint. Only `lay` and `tiny` import torch.
"""
