"""Folding batch norms changes no value and leaves the network it was given alone."""

import torch
from torch import nn

from PESemiSegLib.networks.build import build_segmenter
from PESemiSegLib.networks.config import NetworkConfig
from PESemiSegLib.networks.fuse import fold_batch_norms


def norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def test_folded_network_is_the_same_function():
    network = build_segmenter(NetworkConfig(width=4, stage4=True, carafe_mid=4), seed=0).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for norm in norms(network):
            norm.running_mean.normal_(generator=generator)
            norm.running_var.uniform_(0.5, 2, generator=generator)
            norm.weight.uniform_(0.5, 1, generator=generator)
            norm.bias.normal_(generator=generator)
    image = torch.randn(2, 1, 32, 48, dtype=torch.float64, generator=generator)
    folded = fold_batch_norms(network)
    with torch.no_grad():
        for got, expected in zip(
            folded.forward_features(image), network.eval().forward_features(image), strict=True
        ):
            assert torch.allclose(got, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))
    assert norms(folded) == []


def test_the_given_network_is_left_alone():
    network = build_segmenter(NetworkConfig(width=2, carafe_mid=2), seed=0).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fold_batch_norms(network)
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())
