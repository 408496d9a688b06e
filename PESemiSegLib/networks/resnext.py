"""U-Net on ResNeXt-50: the network that StitchNet's report compares with, from MONAI's parts."""

from __future__ import annotations

from monai.networks.blocks.squeeze_and_excitation import SEResNeXtBottleneck
from monai.networks.nets.flexible_unet import UNetDecoder
from monai.networks.nets.senet import SENet
from torch import Tensor, nn

from PESemiSegLib.networks.config import NetworkConfig
from PESemiSegLib.networks.segmenter import Segmenter, classifier

_ENCODER_CHANNELS = (64, 256, 512, 1024, 2048)
"""Of the stem at a half, and of the four stages at a 4th to a 32nd of the image."""
_GROUPS = 32


class ResNeXtUNet(Segmenter):
    """U-Net decoder of 16w to w channels (published: w = 16) on ResNeXt-50 32x4d (Xie 2017), untrained.

    MONAI has ResNeXt only with squeeze and excitation; without those layers its bottlenecks are the plain
    ones. The small depth has one bottleneck per stage. Upsampling is nearest, as in the decoder that the
    report used.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        layers = (3, 4, 6, 3) if config.depth == "full" else (1, 1, 1, 1)
        self.encoder = _resnext(config.context, layers)
        self.decoder = UNetDecoder(
            2,
            (config.context, *_ENCODER_CHANNELS),
            tuple(config.width * 2**level for level in (4, 3, 2, 1, 0)),
            act=("relu", {"inplace": True}),
            norm="batch",
            dropout=0.0,
            bias=False,
            upsample="nontrainable",
            pre_conv=None,
            interp_mode="nearest",
            align_corners=None,
            is_pad=False,
        )
        self.head = classifier(config.feature_channels, config.outputs)

    def features(self, image: Tensor) -> Tensor:
        """See Segmenter: (B, w, H, W)."""
        encoder = self.encoder
        stem = encoder.layer0[:-1](image)  # the pooling comes last
        maps = [image, stem, encoder.layer1(encoder.layer0[-1](stem))]
        for stage in (encoder.layer2, encoder.layer3, encoder.layer4):
            maps.append(stage(maps[-1]))
        found: Tensor = self.decoder(maps, len(maps) - 2)
        return found


def _resnext(channels: int, layers: tuple[int, ...]) -> SENet:
    body = SENet(
        2,
        channels,
        SEResNeXtBottleneck,
        layers,
        _GROUPS,
        reduction=16,
        dropout_prob=None,
        inplanes=_ENCODER_CHANNELS[0],
        downsample_kernel_size=1,
        input_3x3=False,
        num_classes=1,
    )
    for block in body.modules():
        if isinstance(block, SEResNeXtBottleneck):
            block.se_layer = nn.Identity()  # type: ignore[assignment]
    del body.last_linear, body.adaptive_avg_pool
    return body
