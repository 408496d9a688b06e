"""MobileNetV2's encoder (Sandler 2018): inverted residuals that give five maps, at 1/2 to 1/32.

Our own: MONAI has none (its EfficientNet pads for one image size), and torchvision is no dependency.
"""

from __future__ import annotations

from torch import Tensor, nn

_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, blocks and stride of each stage, as published (Table 2)."""

_STEM = 32
_GIVEN = (0, 1, 2, 4, 6)  # the last stage of each resolution


class InvertedResidual(nn.Module):
    """1x1 up, 3x3 of each channel by itself, linear 1x1 down; a shortcut where the shape stays."""

    def __init__(self, channels_in: int, channels_out: int, expansion: int, stride: int) -> None:
        super().__init__()
        mid = channels_in * expansion
        widen = [] if expansion == 1 else [_layer(channels_in, mid, 1)]
        self.body = nn.Sequential(
            *widen, _layer(mid, mid, 3, stride, groups=mid), _layer(mid, channels_out, 1, relu=False)
        )
        self.shortcut = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.body(x)
        return x + found if self.shortcut else found


class MobileNetV2(nn.Module):
    """Image (B, C, H, W) -> five maps, finest first, of `channels` at 1/2, 1/4, 1/8, 1/16 and 1/32.

    Args:
        channels_in: of the image.
        width: channels of the finest map; published: 16.
        full: the published number of blocks; else one per stage.
    """

    def __init__(self, channels_in: int, width: int, *, full: bool = True) -> None:
        super().__init__()
        scaled = [max(1, round(channels * width / 16)) for channels in (_STEM, *(s[1] for s in _STAGES))]
        self.stem = _layer(channels_in, scaled[0], 3, stride=2)
        stages = []
        for before, after, (expansion, _, blocks, stride) in zip(scaled, scaled[1:], _STAGES, strict=False):
            first = InvertedResidual(before, after, expansion, stride)
            more = (InvertedResidual(after, after, expansion, 1) for _ in range(blocks - 1 if full else 0))
            stages.append(nn.Sequential(first, *more))
        self.stages = nn.ModuleList(stages)
        self.channels = [scaled[1 + stage] for stage in _GIVEN]

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the five maps. Height and width must be multiples of 32."""
        maps, x = [], self.stem(image)
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in _GIVEN:
                maps.append(x)
        return maps


def _layer(
    channels_in: int, channels_out: int, kernel: int, stride: int = 1, *, groups: int = 1, relu: bool = True
) -> nn.Sequential:
    conv = nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels_out), *([nn.ReLU6(inplace=True)] if relu else []))
