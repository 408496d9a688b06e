"""The modified HRNet: parallel resolutions that exchange what they see, joined and classified."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from PESemiSegLib.networks.blocks import BasicBlock, Bottleneck, conv_norm, enlarge
from PESemiSegLib.networks.carafe import CARAFE
from PESemiSegLib.networks.config import NetworkConfig
from PESemiSegLib.networks.segmenter import Segmenter, start_classifier

STEM_CHANNELS = 64
LAYER1_CHANNELS = 256


class HRModule(nn.Module):
    """Residual blocks on every branch, then a sum over all branches at each resolution.

    On the way from branch j to i: j > i, 1x1 convolution and bilinear enlargement; j < i, one strided 3x3
    convolution per halving, of which only the last changes the channels and has no ReLU.
    """

    def __init__(self, channels: list[int], blocks: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width) for _ in range(blocks))) for width in channels
        )
        self.fuse = nn.ModuleList(
            nn.ModuleList(self._path(channels, source, target) for source in range(len(channels)))
            for target in range(len(channels))
        )

    @staticmethod
    def _path(channels: list[int], source: int, target: int) -> nn.Module:
        if source == target:
            return nn.Identity()
        if source > target:
            return conv_norm(channels[source], channels[target], kernel=1, relu=False)
        halvings = target - source
        steps = [conv_norm(channels[source], channels[source], stride=2) for _ in range(halvings - 1)]
        return nn.Sequential(*steps, conv_norm(channels[source], channels[target], stride=2, relu=False))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Take and return one map per branch, finest first."""
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        return [self._fused(maps, target) for target in range(len(maps))]

    def _fused(self, maps: list[Tensor], target: int) -> Tensor:
        total: Tensor | None = None
        paths = cast(nn.ModuleList, self.fuse[target])
        for source, path in enumerate(paths):
            term = path(maps[source])
            if source > target:
                term = enlarge(term, 2 ** (source - target))
            total = term if total is None else total + term
        assert total is not None
        return F.relu(total)


class HRNet(Segmenter):
    """The segmenter of the paper's section 3 ("HRNet Large" + CARAFE, without stage 4), and its ablations.

    Args:
        config: see `NetworkConfig`. Height and width of the input must be multiples of 16.
    """

    head: nn.Sequential

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        widths = [config.width * 2**branch for branch in range(config.branches)]
        stem = [conv_norm(config.context, STEM_CHANNELS, stride=2)]
        if config.stem == "quarter":
            stem.append(conv_norm(STEM_CHANNELS, STEM_CHANNELS, stride=2))
        self.stem = nn.Sequential(*stem)
        self.layer1 = nn.Sequential(
            Bottleneck(STEM_CHANNELS, STEM_CHANNELS),
            *(Bottleneck(LAYER1_CHANNELS, STEM_CHANNELS) for _ in range(config.blocks - 1)),
        )
        self.transition1 = nn.ModuleList(
            [conv_norm(LAYER1_CHANNELS, widths[0]), conv_norm(LAYER1_CHANNELS, widths[1], stride=2)]
        )
        # Each later transition only opens a new branch, from the coarsest one so far.
        self.transitions = nn.ModuleList(
            conv_norm(coarse, coarser, stride=2) for coarse, coarser in pairwise(widths[1:])
        )
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(HRModule(widths[: stage + 2], config.blocks) for _ in range(config.modules[stage]))
            )
            for stage in range(config.branches - 1)
        )
        self.upsamplers = nn.ModuleList(
            CARAFE(width, 2**branch, config.carafe_mid)
            if config.upsample == "carafe"
            else nn.Upsample(scale_factor=float(2**branch), mode="bilinear", align_corners=False)
            for branch, width in enumerate(widths[1:], start=1)
        )
        joined = config.feature_channels
        self.head = nn.Sequential(
            nn.Conv2d(joined, joined, 1),
            nn.BatchNorm2d(joined, eps=1e-5),
            nn.ReLU(inplace=True),
            nn.Conv2d(joined, config.outputs, 1),
        )
        self._initialise()

    def _initialise(self) -> None:
        """Kaiming for convolutions in front of ReLU; CARAFE starts near a mean."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        start_classifier(cast(nn.Conv2d, self.head[-1]))
        for module in self.modules():
            if isinstance(module, CARAFE):
                module.reset_parameters()

    def features(self, image: Tensor) -> Tensor:
        """See Segmenter: the joined branches, (B, 7w, H/2, W/2)."""
        return self.join(self.encode(image))

    def encode(self, image: Tensor) -> list[Tensor]:
        """Return the branches' maps, finest first: w at 1/2, 2w at 1/4, 4w at 1/8 (8w at 1/16)."""
        x = self.layer1(self.stem(image))
        maps = [transition(x) for transition in self.transition1]
        maps = self._stage(0, maps)
        for stage, transition in enumerate(self.transitions, start=1):
            maps = self._stage(stage, [*maps, transition(maps[-1])])
        return maps

    def _stage(self, stage: int, maps: list[Tensor]) -> list[Tensor]:
        for module in cast(nn.Sequential, self.stages[stage]):
            maps = module(maps)
        return maps

    def join(self, maps: list[Tensor]) -> Tensor:
        """Bring all branches to the finest resolution and concatenate them."""
        finest, *lower = maps
        return torch.cat([finest, *(up(x) for up, x in zip(self.upsamplers, lower, strict=True))], dim=1)
