"""The networks of CPMN: an EfficientNet-B0 U-Net, in 3D with a head that says whether there is an embolus."""

from __future__ import annotations

from typing import NamedTuple, cast

from monai.networks.nets import FlexibleUNet
from torch import Tensor, nn

from PESemiSegLib.networks.blocks import full_precision
from PESemiSegLib.networks.config import NetworkConfig
from PESemiSegLib.networks.segmenter import PRIOR, Segmenter, start_classifier

ENCODER_CHANNELS = 320
"""Channels of the encoder's deepest map, at a 32nd of the size along each axis."""
_HIDDEN = 128  # of the head; the paper gives no width
_MOMENTUM = 0.1
_PRIOR_OF_VOLUMES = 5e-4  # of a crop in 3D one voxel in some thousands is clot
_IDLE = ("_conv_head", "_conv_head_padding", "_bn1", "_avg_pooling", "_dropout", "_fc")


class Reading(NamedTuple):
    """What a pathway says of a crop (B, 1, z, y, x); everything is at least float32.

    logits: (B, outputs, z, y, x), embolus or not, voxel by voxel. features: (B, width, z, y, x), the last map
    of the decoder. classes: (B, 2), logits of "normal" and "PE". deepest: (B, 320, z/32, y/32, x/32), the
    last map of the encoder. cam_weights: (B, 320), see `Pathway.cam_weights`.
    """

    logits: Tensor
    features: Tensor
    classes: Tensor
    deepest: Tensor
    cam_weights: Tensor


class EfficientUNet(Segmenter):
    """The single pathway in 2D without its head (CPMN, Section 3.4, on FUMPE): slices like any segmenter's.

    MONAI's FlexibleUNet on an untrained EfficientNet-B0, with decoder levels of 16w to w channels (published:
    w = 16). Two classes are one sigmoid channel: the softmax of two has the same functions, with an idle sum.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.body, self.head = _body_and_head(config, 2)

    def features(self, image: Tensor) -> Tensor:
        """See Segmenter: (B, w, H, W)."""
        found: Tensor = self.body.decoder(self.body.encoder(image), self.body.skip_connect)
        return found


class Pathway(Segmenter):
    """One pathway of CPMN (Section 2), 3D: volume -> encoder -> decoder -> logits, encoder -> mean -> head.

    The head is average pool, FC 320 -> 128, ReLU, FC 2.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.body, self.head = _body_and_head(config, 3)
        self.classifier = nn.Sequential(
            nn.Linear(ENCODER_CHANNELS, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, 2)
        )

    def forward_features(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """See Segmenter, for volumes (B, 1, z, y, x)."""
        reading = self.read(image)
        return reading.logits, reading.features

    def read(self, image: Tensor) -> Reading:
        """Everything that the pathway says of crops (B, 1, z, y, x) windowed to [-1, 1].

        Raises:
            ValueError: if an axis is not a multiple of 32.
        """
        if not self._is_traced() and any(size % 32 for size in image.shape[2:]):
            raise ValueError(
                f"crop of {'x'.join(map(str, image.shape[2:]))} voxels: all must be multiples of 32"
            )
        maps = self.body.encoder(image)
        features = self.body.decoder(maps, self.body.skip_connect)
        deepest = full_precision(maps[-1])
        pooled = deepest.flatten(2).mean(2)
        return Reading(
            full_precision(self.head(features)),
            full_precision(features),
            full_precision(self.classifier(pooled)),
            deepest,
            self.cam_weights(pooled),
        )

    def cam_weights(self, pooled: Tensor) -> Tensor:
        """Grad-CAM's weights (24), (B, 320), of the log-odds of PE for the pooled map (B, 320).

        (w2_PE - w2_normal) diag(h > 0) W1: the gradient at every position of the deepest map, times their
        number. With it the map relu(sum_k weight_k deepest_k) needs no backward pass.
        """
        first, last = self.classifier[0], self.classifier[2]
        assert isinstance(last, nn.Linear)
        active = (first(pooled) > 0).to(pooled.dtype)
        weights: Tensor = full_precision((active * (last.weight[1] - last.weight[0])) @ first.weight)
        return weights


def _body_and_head(config: NetworkConfig, dimensions: int) -> tuple[FlexibleUNet, nn.Module]:
    """The U-Net without its last convolution, and that convolution.

    The encoder's own classifier of ImageNet, 1.69 M values that nothing reads, is left out. Its activation is
    torch's: the same function as MONAI's, which no exporter knows. Its norms' statistics follow with the
    decoder's momentum: with EfficientNet's 0.01 they remember their start for a thousand iterations.
    """
    widths = tuple(config.width * 2**level for level in (4, 3, 2, 1, 0))
    body = FlexibleUNet(
        config.context,
        config.outputs,
        "efficientnet-b0",
        pretrained=False,
        decoder_channels=widths,
        spatial_dims=dimensions,
    )
    head = body.segmentation_head
    start_classifier(cast(nn.Conv2d | nn.Conv3d, head[0]), PRIOR if dimensions == 2 else _PRIOR_OF_VOLUMES)
    body.add_module("segmentation_head", nn.Identity())
    for name in _IDLE:
        setattr(body.encoder, name, nn.Identity())
    for part in list(body.encoder.modules()):
        if hasattr(part, "_swish"):
            part._swish = nn.SiLU()
        if isinstance(part, (nn.BatchNorm2d, nn.BatchNorm3d)):
            part.momentum = _MOMENTUM
    return body, head
