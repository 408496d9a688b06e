"""What trainer, export and engines know of a segmenter: features, a head on them, logits at full size."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from PESemiSegLib.networks.blocks import enlarge, full_precision
from PESemiSegLib.networks.config import SIZE_MULTIPLE, NetworkConfig

CLASSIFIER_STD = 0.01
PRIOR = 0.01


class Segmenter(nn.Module):
    """Base of all two-dimensional segmenters: image -> features -> head -> logits.

    A subclass builds its body, sets `head` (features to logits of `config.outputs` channels, at the features'
    resolution) and gives `features`; the config states their channels and stride.

    Args:
        config: see `NetworkConfig`. Height and width of the input must be multiples of 16.
    """

    head: nn.Module

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config

    def features(self, image: Tensor) -> Tensor:
        """Return the map (B, feature_channels, H/stride, W/stride) in front of the head."""
        raise NotImplementedError

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (B, outputs, H, W) for an image (B, context, H, W) windowed to [-1, 1]."""
        return self.forward_features(image)[0]

    def forward_features(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, outputs, H, W) and the features in front of the head, both at least float32.

        The features are what the discriminator sees (1A.3).

        Raises:
            ValueError: if the height or width is not a multiple of 16.
        """
        if not self._is_traced():
            height, width = image.shape[-2:]
            if height % SIZE_MULTIPLE or width % SIZE_MULTIPLE:
                raise ValueError(
                    f"image of {height}x{width} pixels: both must be multiples of {SIZE_MULTIPLE}"
                )
        if self.config.deepest_stride <= SIZE_MULTIPLE:
            return self._logits_and_features(image)
        # HRNet with quarter stem and stage 4 halves five times: enlarge the canvas, cut the results back.
        height, width = image.shape[-2:]
        deepest, stride = self.config.deepest_stride, self.config.feature_stride
        logits, features = self._logits_and_features(widened(image, deepest))
        return logits[..., :height, :width], features[..., : height // stride, : width // stride]

    @staticmethod
    def _is_traced() -> bool:
        """Whether a graph is being made, in which sizes are no numbers."""
        return torch.jit.is_tracing() or torch.compiler.is_compiling()

    def _logits_and_features(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(image)
        logits = full_precision(self.head(features))
        return enlarge(logits, self.config.feature_stride), full_precision(features)


def widened(image: Tensor, multiple: int) -> Tensor:
    """The image on a canvas whose sides are multiples; its last row and column are repeated."""
    height, width = image.shape[-2:]
    return F.pad(image, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def classifier(channels: int, outputs: int, *, prior: float = PRIOR) -> nn.Conv2d:
    """A 1x1 convolution from the features to the logits, started by `start_classifier`."""
    layer = nn.Conv2d(channels, outputs, 1)
    start_classifier(layer, prior)
    return layer


def start_classifier(layer: nn.Conv2d | nn.Conv3d, prior: float = PRIOR) -> None:
    """Weights near 0; a mark starts at probability `prior`: the one channel, or all but the first.

    Of a slice less than 1 % is marked. From an even start the first hundred steps would push a mark's weights
    below the background's, since all features are >= 0: then it is where nothing speaks against it, no logit
    can exceed the bias, and learning takes several times as long (Lin 2017, Section 4.1).
    """
    nn.init.normal_(layer.weight, std=CLASSIFIER_STD)
    assert layer.bias is not None
    marks = max(layer.out_channels - 1, 1)
    against = math.log((1.0 - marks * prior) / prior)  # log-odds of the background
    nn.init.zeros_(layer.bias)
    with torch.no_grad():
        layer.bias[0] = -against if layer.out_channels == 1 else against
