"""The LTX-2 networks in plain PyTorch, one idea a file; `config` says how large they are and needs no torch.

Parameter names are those of the diffusers folders, so a state dict loads without renaming.
"""
