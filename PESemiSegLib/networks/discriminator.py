"""The fully convolutional discriminator whose output is the confidence map."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from PESemiSegLib.networks.blocks import full_precision
from PESemiSegLib.networks.config import DiscriminatorConfig

LEAKY_SLOPE = 0.2


class Discriminator(nn.Module):
    """Judges, pixel by pixel, whether a mask looks like an annotator's (paper, section 3; 1A.3).

    4x4 convolutions with stride 2, padding 1 and bias, LeakyReLU 0.2 between them, neither norm nor final
    activation; the map is enlarged bilinearly to the mask's size. The feature kind sees the weighted mask
    beside the weighted features of the segmenter, standardised per image and channel so that the weights
    have a meaning.

    Args:
        config: see `DiscriminatorConfig`.
        feature_channels: channels of the segmenter's features (unused by the mask-only kind).
        feature_stride: image pixels per feature pixel.
        mask_channels: 1, or with several classes one per class, background included.
    """

    def __init__(
        self,
        config: DiscriminatorConfig,
        feature_channels: int,
        feature_stride: int = 2,
        mask_channels: int = 1,
    ) -> None:
        super().__init__()
        self.config, self.feature_stride, self.mask_channels = config, feature_stride, mask_channels
        inputs = mask_channels + (feature_channels if config.kind == "feature" else 0)
        layers: list[nn.Module] = []
        for channels_in, channels_out in pairwise((inputs, *config.channels, 1)):
            layers += [
                nn.Conv2d(channels_in, channels_out, 4, stride=2, padding=1),
                nn.LeakyReLU(LEAKY_SLOPE),
            ]
        self.body = nn.Sequential(*layers[:-1])

    def forward(self, probability: Tensor, features: Tensor | None = None) -> Tensor:
        """Return confidence logits (B, 1, H, W), at least float32.

        Args:
            probability: (B, mask_channels, H, W) in [0, 1]: predicted probabilities or a 0/1 (one-hot) mask.
            features: (B, C, H/stride, W/stride) from `Segmenter.forward_features`; None for mask_only.
        """
        seen = probability if self.config.kind == "mask_only" else self._join(probability, features)
        logits = full_precision(self.body(seen))
        return F.interpolate(logits, size=probability.shape[-2:], mode="bilinear", align_corners=False)

    def _join(self, probability: Tensor, features: Tensor | None) -> Tensor:
        """Concatenate the weighted mask with the standardised features at the resolution asked for."""
        if features is None:
            raise ValueError("a discriminator of kind 'feature' needs the segmenter's features")
        if self.config.detach_features:
            features = features.detach()
        with torch.autocast(features.device.type, enabled=False):
            features = self.config.feature_weight * F.instance_norm(full_precision(features))
            mask = self.config.mask_weight * full_precision(probability)
            if self.config.feature_resolution == "branch":
                mask = F.avg_pool2d(mask, self.feature_stride)
            else:
                features = F.interpolate(
                    features, scale_factor=float(self.feature_stride), mode="bilinear", align_corners=False
                )
            return torch.cat([mask, features.to(mask.dtype)], dim=1)

    def weights_for(self, config: DiscriminatorConfig) -> dict[str, Tensor]:
        """The weights for settings that weigh mask and features otherwise: the answers stay the same."""
        weights = self.state_dict()
        if self.config.kind == "feature":
            first = weights["body.0.weight"] = weights["body.0.weight"].clone()
            first[:, : self.mask_channels] *= self.config.mask_weight / config.mask_weight
            first[:, self.mask_channels :] *= self.config.feature_weight / config.feature_weight
        return weights
