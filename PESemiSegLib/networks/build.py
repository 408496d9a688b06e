"""From a configuration to a network, and how many parameters it has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import torch
from torch import nn

from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig
from PESemiSegLib.networks.discriminator import Discriminator
from PESemiSegLib.networks.segmenter import Segmenter

_SEGMENTERS = {
    "hrnet": "hrnet.HRNet",
    "unet2d": "unet.UNet2d",
    "attention_unet": "unet.AttentionUNet",
    "deeplabv3plus": "deeplab.DeepLabV3Plus",
    "efficient_unet": "cpmn.EfficientUNet",
    "cpmn": "cpmn.Pathway",
    "resnext_unet": "resnext.ResNeXtUNet",
    "stitchnet": "stitchnet.StitchNet",
}
"""Architecture -> module and class of this room, opened when one is built: MONAI takes seconds to load."""


def build_segmenter(config: NetworkConfig, *, seed: int | None = None) -> Segmenter:
    """Build a segmenter with fresh weights; the same seed gives the same weights."""
    module, name = _SEGMENTERS[config.architecture].split(".")
    kind: type[Segmenter] = getattr(import_module(f"PESemiSegLib.networks.{module}"), name)
    with _seeded(seed):
        return kind(config)


def build_discriminator(
    config: DiscriminatorConfig,
    feature_channels: int,
    feature_stride: int = 2,
    mask_channels: int = 1,
    *,
    seed: int | None = None,
) -> Discriminator:
    """Build a discriminator for a segmenter with `feature_channels` at 1/`feature_stride` resolution.

    mask_channels: channels of the segmenter's output, `NetworkConfig.outputs`.
    """
    with _seeded(seed):
        return Discriminator(config, feature_channels, feature_stride, mask_channels)


def build_judge(config: DiscriminatorConfig, of: NetworkConfig, *, seed: int | None = None) -> Discriminator:
    """Build the discriminator that fits a segmenter of the settings `of`."""
    return build_discriminator(config, of.feature_channels, of.feature_stride, of.outputs, seed=seed)


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
