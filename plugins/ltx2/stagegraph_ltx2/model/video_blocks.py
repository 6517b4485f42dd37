"""What the video VAE is built from: causal convolutions, residual blocks and resampling by folding space and time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .adaln import TimestepEmbedder, modulate
from .layers import learned_table, pixel_norm


def space_to_depth(x: Tensor, stride: tuple[int, int, int]) -> Tensor:
    """[b, c, f, h, w] to [b, c x stride, f / st, h / sh, w / sw]; channels count c, then time, height and width."""
    st, sh, sw = stride
    b, c, f, h, w = x.shape
    x = x.reshape(b, c, f // st, st, h // sh, sh, w // sw, sw)
    return x.permute(0, 1, 3, 5, 7, 2, 4, 6).flatten(1, 4)


def depth_to_space(x: Tensor, stride: tuple[int, int, int]) -> Tensor:
    """The inverse of `space_to_depth`."""
    x = torch.unflatten(x, 1, (-1, *stride)).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.flatten(6, 7).flatten(4, 5).flatten(2, 3)


def patchify(x: Tensor, patch: int) -> Tensor:
    """Pixels [b, c, f, h, w] to patches [b, c x patch², f, h / patch, w / patch].

    The offset in width comes before the offset in height, unlike everywhere else, hence the transposes.
    """
    return space_to_depth(x.mT, (1, patch, patch)).mT


def unpatchify(x: Tensor, patch: int) -> Tensor:
    """The inverse of `patchify`."""
    return depth_to_space(x.mT, (1, patch, patch)).mT


class CausalConv3d(nn.Module):
    """A 3 x 3 x 3 convolution that keeps the size.

    In time it is padded by repeating frames: two before the first if it is causal, else one at either end. In height
    and width it is padded with zeros or by reflection.
    """

    def __init__(self, channels_in: int, channels_out: int, *, causal: bool, padding: str) -> None:
        super().__init__()
        self.before, self.after = (2, 0) if causal else (1, 1)
        self.reflect = padding == "reflect"
        self.conv = nn.Conv3d(channels_in, channels_out, 3, padding=0 if self.reflect else (0, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(self._pad(x))
        return y

    def _pad(self, x: Tensor) -> Tensor:
        """One copy, whose border is then overwritten: padding axis by axis would make two."""
        if self.reflect and min(x.shape[3:]) < 2:
            raise ValueError(f"{x.shape[3]} x {x.shape[4]} latents are too few to pad by reflection, which takes 2 x 2")
        if torch.is_grad_enabled() and x.requires_grad:
            return self._pad_by_axes(x)
        side = int(self.reflect)
        x = F.pad(x, (side, side, side, side, self.before, self.after))
        if self.reflect:
            x[:, :, :, 0], x[:, :, :, -1] = x[:, :, :, 2], x[:, :, :, -3]
            x[..., 0], x[..., -1] = x[..., 2], x[..., -3]
        x[:, :, : self.before] = x[:, :, self.before, None]
        if self.after:
            x[:, :, -1] = x[:, :, -2]
        return x

    def _pad_by_axes(self, x: Tensor) -> Tensor:
        """The same for training, in which each write into a border would copy the whole gradient."""
        if self.reflect:
            x = torch.cat((x[:, :, :, 1:2], x, x[:, :, :, -2:-1]), dim=3)
            x = torch.cat((x[..., 1:2], x, x[..., -2:-1]), dim=4)
        return torch.cat((*[x[:, :, :1]] * self.before, x, *[x[:, :, -1:]] * self.after), dim=2)


class NormConv3d(CausalConv3d):
    """Pixel norm, scale and shift, SiLU and the convolution.

    They are one module so that the activations are gone when the convolution runs: what a caller passes to a module
    stays in memory until that module returns, and here each tensor is as large as the video.
    """

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        """x [b, c, f, h, w]; scale and shift [b, c, 1, 1, 1], or neither."""
        y: Tensor = self.conv(self._pad(F.silu(self._normalize(x, scale, shift))))
        return y

    @staticmethod
    def _normalize(x: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
        x = pixel_norm(x, eps=1e-8)
        return x if scale is None or shift is None else modulate(x, scale, shift)


class ResBlock(nn.Module):
    """Two convolutions beside the identity; a timestep, where the VAE takes one, scales and shifts what they read."""

    def __init__(self, channels: int, *, causal: bool, padding: str, timestep: bool = False) -> None:
        super().__init__()
        self.conv1 = NormConv3d(channels, channels, causal=causal, padding=padding)
        self.conv2 = NormConv3d(channels, channels, causal=causal, padding=padding)
        # Rows: shift and scale before the first convolution, shift and scale before the second.
        self.scale_shift_table = learned_table(4, channels) if timestep else None

    def forward(self, x: Tensor, modulation: Tensor | None = None) -> Tensor:
        """x [b, c, f, h, w]; modulation [b, 4, c]."""
        if self.scale_shift_table is None or modulation is None:
            y: Tensor = x + self.conv2(self.conv1(x))
        else:
            shift1, scale1, shift2, scale2 = channelwise(self.scale_shift_table + modulation)
            y = x + self.conv2(self.conv1(x, scale1, shift1), scale2, shift2)
        return y


def channelwise(modulation: Tensor) -> tuple[Tensor, ...]:
    """Modulation [b, n, c] as n tensors [b, c, 1, 1, 1]."""
    return modulation[..., None, None, None].unbind(1)


class ResBlocks(nn.Module):
    """Residual blocks of one width, with an embedding of the timestep if the VAE takes one."""

    def __init__(self, channels: int, layers: int, *, causal: bool, padding: str, timestep: bool = False) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            ResBlock(channels, causal=causal, padding=padding, timestep=timestep) for _ in range(layers)
        )
        self.time_embedder = TimestepEmbedder(4 * channels) if timestep else None

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        """x [b, c, f, h, w]; t [b]."""
        modulation = None
        if self.time_embedder is not None and t is not None:
            modulation = torch.unflatten(self.time_embedder(t, x.dtype), 1, (4, -1))
        for block in self.resnets:
            x = block(x, modulation)
        return x


class Downsampler(nn.Module):
    """Fold space and time into channels, of a convolution and, as a mean over channel groups, of the input itself."""

    def __init__(
        self, channels_in: int, channels_out: int, stride: tuple[int, int, int], *, causal: bool, padding: str
    ) -> None:
        super().__init__()
        self.stride = stride
        self.channels_out = channels_out
        folded = stride[0] * stride[1] * stride[2]
        self.conv = CausalConv3d(channels_in, channels_out // folded, causal=causal, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride[0] == 2:
            # 8k + 1 frames become even in number: the first frame stays alone with its copy.
            x = torch.cat((x[:, :, :1], x), dim=2)
        y = space_to_depth(self.conv(x), self.stride)
        return y + torch.unflatten(space_to_depth(x, self.stride), 1, (self.channels_out, -1)).mean(2)


class Upsampler(nn.Module):
    """Unfold channels into space and time, after a convolution; the residual unfolds the input itself, repeated."""

    def __init__(
        self, channels: int, factor: int, stride: tuple[int, int, int], *, residual: bool, causal: bool, padding: str
    ) -> None:
        super().__init__()
        self.stride = stride
        self.residual = residual
        self.repeats = stride[0] * stride[1] * stride[2] // factor
        self.conv = CausalConv3d(channels, channels * self.repeats, causal=causal, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        # The first latent frame stands for one frame: of the two that it unfolds to, the copy goes.
        first = self.stride[0] - 1
        y = depth_to_space(self.conv(x), self.stride)[:, :, first:]
        if self.residual:
            skip = depth_to_space(x, self.stride)[:, :, first:]
            # Added in place and by broadcast: the decoder's largest tensors are here, and a copy of one is gigabytes.
            torch.unflatten(y, 1, (self.repeats, -1)).add_(skip[:, None])
        return y


class DownBlock(nn.Module):
    """Residual blocks at the input's width, then a downsampler."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        layers: int,
        stride: tuple[int, int, int],
        *,
        causal: bool,
        padding: str,
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResBlock(channels_in, causal=causal, padding=padding) for _ in range(layers))
        self.downsamplers = nn.Sequential(
            Downsampler(channels_in, channels_out, stride, causal=causal, padding=padding)
        )

    def forward(self, x: Tensor) -> Tensor:
        for block in self.resnets:
            x = block(x)
        y: Tensor = self.downsamplers(x)
        return y


class UpBlock(ResBlocks):
    """An upsampler, then residual blocks at the output's width."""

    def __init__(
        self,
        channels_in: int,
        factor: int,
        layers: int,
        stride: tuple[int, int, int],
        *,
        residual: bool,
        causal: bool,
        padding: str,
        timestep: bool,
    ) -> None:
        super().__init__(channels_in // factor, layers, causal=causal, padding=padding, timestep=timestep)
        self.upsamplers = nn.Sequential(
            Upsampler(channels_in, factor, stride, residual=residual, causal=causal, padding=padding)
        )

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        return super().forward(self.upsamplers(x), t)
