"""U-Net and Attention U-Net: MONAI's networks behind this room's interface."""

from __future__ import annotations

from monai.networks.nets import AttentionUnet, BasicUNet
from torch import Tensor, nn

from PESemiSegLib.networks.config import NetworkConfig
from PESemiSegLib.networks.segmenter import Segmenter, classifier

LEVELS = 5


class UNet2d(Segmenter):
    """U-Net (Ronneberger 2015) with five levels of w to 16w channels; the features are its last decoder map.

    Batch norm, as in the other networks, so that labelled and unlabelled crops of a joint pass share their
    statistics.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        widths = (*_widths(config), config.width)
        self.body = BasicUNet(2, config.context, config.outputs, features=widths, norm="batch")
        self.body.final_conv = nn.Identity()
        self.head = classifier(config.feature_channels, config.outputs)

    def features(self, image: Tensor) -> Tensor:
        """See Segmenter: (B, w, H, W)."""
        found: Tensor = self.body(image)
        return found


class AttentionUNet(Segmenter):
    """Attention U-Net (Oktay 2018): a U-Net whose skipped maps are weighted by what the deeper level sees."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        whole = AttentionUnet(2, config.context, config.outputs, _widths(config), (2,) * (LEVELS - 1))
        *body, _ = whole.model
        self.body = nn.Sequential(*body)
        self.head = classifier(config.feature_channels, config.outputs)

    def features(self, image: Tensor) -> Tensor:
        """See Segmenter: (B, w, H, W)."""
        found: Tensor = self.body(image)
        return found


def _widths(config: NetworkConfig) -> tuple[int, ...]:
    return tuple(config.width * 2**level for level in range(LEVELS))
