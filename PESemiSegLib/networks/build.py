"""From a configuration to a network, and how many parameters it has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig
from PESemiSegLib.networks.discriminator import Discriminator
from PESemiSegLib.networks.hrnet import HRNet


def build_segmenter(config: NetworkConfig, *, seed: int | None = None) -> HRNet:
    """Build a segmenter with fresh weights; the same seed gives the same weights."""
    with _seeded(seed):
        return HRNet(config)


def build_discriminator(
    config: DiscriminatorConfig, feature_channels: int, feature_stride: int = 2, *, seed: int | None = None
) -> Discriminator:
    """Build a discriminator for a segmenter with `feature_channels` at 1/`feature_stride` resolution."""
    with _seeded(seed):
        return Discriminator(config, feature_channels, feature_stride)


@contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """Run with torch's CPU generator set to `seed`, then as it was before; None changes nothing."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def count_parameters(module: nn.Module) -> int:
    """Return the number of learnable values."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_parameters_by_part(module: nn.Module) -> dict[str, int]:
    """Return the learnable values of each direct child, in order."""
    return {name: count_parameters(child) for name, child in module.named_children()}
