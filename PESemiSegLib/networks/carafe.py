"""The CARAFE upsampling layer: predict a reassembly kernel for every output pixel, then reassemble."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from PESemiSegLib.networks.reassembly import Form, reassemble

ENCODER_STD = 0.001
ENCODER_GAIN = 0.1


class CARAFE(nn.Module):
    """Content-aware reassembly of features (Wang et al., ICCV 2019), as the paper's decoder uses it (1A.2).

    compressor 1x1 C -> mid, Conv-BN-ReLU; encoder 3x3 mid -> (scale*k_up)^2, Conv-BN; softmax over the k_up^2
    taps; reassembly around the source pixel. The softmax and the sum run in float32 under autocast.

    The layer starts close to a k_up x k_up mean: the encoder's weights are small and, because the batch norm
    behind them would scale any weights back to unit variance, so is that norm's gain.

    Args:
        channels: channels in and out.
        scale: integer enlargement.
        mid: channels of the compressed map.
        k_up: side of the reassembly neighbourhood, odd.
        k_encoder: side of the encoder's convolution, odd.
    """

    def __init__(self, channels: int, scale: int, mid: int = 64, k_up: int = 5, k_encoder: int = 3) -> None:
        super().__init__()
        if k_up % 2 == 0 or k_encoder % 2 == 0:
            raise ValueError("k_up and k_encoder must be odd")
        self.scale, self.k_up = scale, k_up
        self.form: Form = "auto"
        self.compressor = nn.Sequential(
            nn.Conv2d(channels, mid, 1, bias=False), nn.BatchNorm2d(mid), nn.ReLU(inplace=True)
        )
        encoder_channels = (scale * k_up) ** 2
        self.encoder = nn.Sequential(
            nn.Conv2d(mid, encoder_channels, k_encoder, padding=k_encoder // 2, bias=False),
            nn.BatchNorm2d(encoder_channels),
        )

    def reset_parameters(self) -> None:
        """Set the encoder so that the layer starts as a mean."""
        convolution, norm = self.encoder
        nn.init.normal_(convolution.weight, std=ENCODER_STD)  # type: ignore[arg-type]
        nn.init.constant_(norm.weight, ENCODER_GAIN)  # type: ignore[arg-type]

    def kernels(self, x: Tensor) -> Tensor:
        """Predict the kernels: (B, C, h, w) -> (B, k_up^2, scale^2, h, w), summing to 1 over the taps."""
        logits = self.encoder(self.compressor(x)).unflatten(1, (self.k_up**2, self.scale**2))
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()
        return logits.softmax(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge (B, C, h, w) to (B, C, scale*h, scale*w)."""
        return reassemble(x, self.kernels(x), self.scale, self.form)
