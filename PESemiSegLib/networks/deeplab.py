"""DeepLabV3+ (Chen 2018): a small decoder of our own on MONAI's two-dimensional ResNet."""

from __future__ import annotations

import torch
from monai.networks.nets.resnet import ResNet
from torch import Tensor, nn

from PESemiSegLib.networks.blocks import conv_norm, enlarge
from PESemiSegLib.networks.config import NetworkConfig
from PESemiSegLib.networks.segmenter import Segmenter, classifier

RATES = (6, 12, 18)
"""Dilations of the pyramid, for maps at 1/16."""


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: 1x1, three dilated 3x3, and the image's mean, joined by a 1x1."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.near = conv_norm(channels_in, channels, kernel=1)
        self.far = nn.ModuleList(_dilated(channels_in, channels, rate) for rate in RATES)
        # Without a norm: one value per image has no statistics in a batch of one.
        self.mean = nn.Sequential(nn.Conv2d(channels_in, channels, 1), nn.ReLU(inplace=True))
        self.join = conv_norm((len(RATES) + 2) * channels, channels, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, channels, h, w) for (B, channels_in, h, w)."""
        mean = self.mean(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        joined: Tensor = self.join(torch.cat([self.near(x), *(layer(x) for layer in self.far), mean], 1))
        return joined


class DeepLabV3Plus(Segmenter):
    """ResNet at 1/16, pyramid, and a decoder that joins the ResNet's first maps at 1/4.

    The ResNet's last stage is dilated rather than strided, so that the coarsest map stays at 1/16 as
    published. The decoder has 4w channels (published: 256), and takes 3/4 w of the first maps (48).
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        planes = [config.width * 2**stage for stage in range(4)]
        block, layers, expansion = (
            ("bottleneck", [3, 4, 6, 3], 4) if config.depth == "full" else ("basic", [2, 2, 2, 2], 1)
        )
        self.body = ResNet(block, layers, planes, 2, config.context, 7, 2, feed_forward=False)
        _dilate(self.body.layer4)
        channels, low = 4 * config.width, max(1, 3 * config.width // 4)
        self.pyramid = Pyramid(planes[-1] * expansion, channels)
        self.low = conv_norm(planes[0] * expansion, low, kernel=1)
        self.decoder = nn.Sequential(conv_norm(channels + low, channels), conv_norm(channels, channels))
        self.head = classifier(config.feature_channels, config.outputs)

    def features(self, image: Tensor) -> Tensor:
        """See Segmenter: (B, 4w, H/4, W/4)."""
        body = self.body
        first = body.layer1(body.maxpool(body.act(body.bn1(body.conv1(image)))))
        deep = self.pyramid(body.layer4(body.layer3(body.layer2(first))))
        joined: Tensor = self.decoder(torch.cat([enlarge(deep, 4), self.low(first)], 1))
        return joined


def _dilated(channels_in: int, channels_out: int, rate: int) -> nn.Sequential:
    conv = nn.Conv2d(channels_in, channels_out, 3, padding=rate, dilation=rate, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True))


def _dilate(stage: nn.Module) -> None:
    """Let a strided stage keep its resolution: no stride, and 3x3 convolutions of twice the reach."""
    for module in stage.modules():
        if isinstance(module, nn.Conv2d):
            module.stride = (1, 1)
            if module.kernel_size == (3, 3):
                module.dilation, module.padding = (2, 2), (2, 2)
