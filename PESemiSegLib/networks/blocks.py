"""The small parts that HRNet is made of: convolution with norm, residual blocks, enlargement."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv_norm(
    channels_in: int, channels_out: int, *, kernel: int = 3, stride: int = 1, relu: bool = True
) -> nn.Sequential:
    """Bias-free convolution that keeps the size (divided by the stride), batch norm, and ReLU if wanted."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
    ]
    if relu:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around an identity shortcut, (B, C, h, w) to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_norm(channels, channels), conv_norm(channels, channels, relu=False))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


class Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up to 4 x `mid` channels; the shortcut is projected where the channels change."""

    expansion = 4

    def __init__(self, channels_in: int, mid: int) -> None:
        super().__init__()
        channels_out = mid * self.expansion
        self.body = nn.Sequential(
            conv_norm(channels_in, mid, kernel=1),
            conv_norm(mid, mid),
            conv_norm(mid, channels_out, kernel=1, relu=False),
        )
        same = channels_in == channels_out
        self.shortcut = nn.Identity() if same else conv_norm(channels_in, channels_out, kernel=1, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.body(x))


def enlarge(x: Tensor, scale: int) -> Tensor:
    """Bilinear enlargement by an integer factor, pixel areas aligned."""
    if scale == 1:
        return x
    return F.interpolate(x, scale_factor=float(scale), mode="bilinear", align_corners=False)


def full_precision(x: Tensor) -> Tensor:
    """Return half-precision tensors as float32 and leave wider ones alone."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
