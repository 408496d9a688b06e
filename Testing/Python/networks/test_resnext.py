"""The U-Net on ResNeXt-50: its published size, grouped convolutions, strides; all of it learns."""

import torch
from torch import nn

from PESemiSegLib.networks.build import build_segmenter, count_parameters
from PESemiSegLib.networks.config import NetworkConfig


def test_the_encoder_is_resnext_50_32x4d_without_squeeze_and_excitation() -> None:
    """25,028,904 values for RGB and 1,000 classes (Xie 2017): without classifier and two of the colours."""
    config = NetworkConfig(width=16, architecture="resnext_unet", depth="full", classes=4)
    with torch.device("meta"):
        network = build_segmenter(config)
    assert count_parameters(network.encoder) == 25_028_904 - (2048 * 1000 + 1000) - 2 * 64 * 49  # type: ignore[arg-type]
    grouped = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups == 32]
    assert len(grouped) == 3 + 4 + 6 + 3
    assert not any("se_layer" in name for name, _ in network.named_parameters())
    assert network.config.deepest_stride == 32
    assert str(config) == "U-Net on ResNeXt-50, width 16"


def test_every_part_of_the_small_one_learns_and_any_size_is_read() -> None:
    config = NetworkConfig(width=4, architecture="resnext_unet", classes=4)
    network = build_segmenter(config, seed=0)
    generator = torch.Generator().manual_seed(1)
    logits, features = network.forward_features(torch.randn(2, 1, 64, 64, generator=generator))
    assert logits.shape == (2, 4, 64, 64)
    assert features.shape == (2, 4, 64, 64)
    # a plain sum would have no gradient behind a batch norm
    (logits * torch.randn(logits.shape, generator=generator)).sum().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []
    with torch.no_grad():
        assert network.eval()(torch.zeros(1, 1, 48, 80)).shape == (1, 4, 48, 80)
