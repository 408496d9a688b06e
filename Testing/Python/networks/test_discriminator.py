"""The discriminator has the published layers, sees the mask with its weight, and leaves the encoder alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from PESemiSegLib.networks.build import build_discriminator, build_segmenter, count_parameters
from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig


def random_inputs(channels=6, height=64, width=96, stride=2, batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    probability = torch.rand(batch, 1, height, width, generator=generator)
    features = torch.randn(batch, channels, height // stride, width // stride, generator=generator)
    return probability, features


def test_feature_kind_has_the_published_parameters():
    network = build_discriminator(DiscriminatorConfig(), 336)
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert [count_parameters(layer) for layer in convolutions] == [690_304, 131_136, 1_025]
    assert count_parameters(network) == 822_465


def test_mask_only_kind_has_five_convolutions():
    network = build_discriminator(DiscriminatorConfig(kind="mask_only"), 336)
    widths = [layer.out_channels for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert widths == [64, 128, 256, 512, 1]


@pytest.mark.parametrize("kind", ["feature", "mask_only"])
def test_layers_are_as_published(kind):
    network = build_discriminator(DiscriminatorConfig(kind=kind), 10)
    layers = list(network.body)
    assert isinstance(layers[-1], nn.Conv2d), "no activation at the end"
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            assert (layer.kernel_size, layer.stride, layer.padding) == ((4, 4), (2, 2), (1, 1))
            assert layer.bias is not None
        else:
            assert isinstance(layer, nn.LeakyReLU)
            assert layer.negative_slope == 0.2


@settings(max_examples=15, deadline=None)
@given(
    rows=st.integers(2, 7),
    columns=st.integers(2, 7),
    resolution=st.sampled_from(["branch", "input"]),
    stride=st.sampled_from([2, 4]),
)
def test_confidence_has_the_mask_s_size(rows, columns, resolution, stride):
    config = DiscriminatorConfig(channels=(4, 4), feature_resolution=resolution)
    network = build_discriminator(config, 3, stride)
    probability, features = random_inputs(3, 16 * rows, 16 * columns, stride)
    assert network(probability, features).shape == probability.shape


@pytest.mark.parametrize("weight", [1, 0.1])
def test_input_equals_a_hand_made_one(weight):
    config = DiscriminatorConfig(channels=(4,), mask_weight=5, feature_weight=weight)
    network = build_discriminator(config, 6, seed=0)
    probability, features = random_inputs()
    mean, std = features.mean((2, 3), keepdim=True), features.std((2, 3), keepdim=True, unbiased=False)
    small = probability.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).mean((3, 5))
    seen = torch.cat([5 * small, weight * (features - mean) / std], dim=1)
    expected = F.interpolate(network.body(seen), size=(64, 96), mode="bilinear", align_corners=False)
    assert torch.allclose(network(probability, features), expected, atol=1e-5)


def test_scale_and_offset_of_the_features_do_not_matter():
    network = build_discriminator(DiscriminatorConfig(), 6, seed=0)
    probability, features = random_inputs()
    assert torch.allclose(network(probability, features), network(probability, 40 * features + 7), atol=1e-4)


def test_the_mask_matters():
    network = build_discriminator(DiscriminatorConfig(), 6, seed=0)
    probability, features = random_inputs()
    empty = torch.zeros_like(probability)
    assert (network(probability, features) - network(empty, features)).abs().max() > 1e-3


@pytest.mark.parametrize("detach", [True, False])
def test_gradient_reaches_the_encoder_only_if_asked(detach):
    segmenter = build_segmenter(NetworkConfig(width=2, carafe_mid=2), seed=0)
    network = build_discriminator(DiscriminatorConfig(detach_features=detach, channels=(4,)), 14, seed=0)
    logits, features = segmenter.forward_features(
        torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    )
    network(logits.sigmoid().detach(), features).sum().backward()
    reached = any(value.grad is not None and value.grad.any() for value in segmenter.parameters())
    assert reached is (not detach)


def test_gradient_flows_through_the_mask():
    network = build_discriminator(DiscriminatorConfig(), 6, seed=0)
    probability, features = random_inputs()
    network(probability.requires_grad_(), features).sum().backward()
    assert probability.grad.any()


def test_mask_only_kind_ignores_features():
    network = build_discriminator(DiscriminatorConfig(kind="mask_only", channels=(4, 4)), 6, seed=0)
    probability, features = random_inputs()
    assert torch.equal(network(probability), network(probability, features))


def test_feature_kind_without_features_is_an_error():
    probability, _ = random_inputs()
    with pytest.raises(ValueError, match="features"):
        build_discriminator(DiscriminatorConfig(), 6)(probability)


def test_constant_channels_stay_finite():
    network = build_discriminator(DiscriminatorConfig(), 6, seed=0)
    probability, features = random_inputs()
    assert torch.isfinite(network(probability, torch.zeros_like(features))).all()


def test_autocast_returns_float32():
    network = build_discriminator(DiscriminatorConfig(), 6, seed=0)
    probability, features = random_inputs()
    exact = network(probability, features)
    with torch.autocast("cpu", torch.bfloat16):
        out = network(probability, features)
    assert out.dtype == torch.float32
    assert torch.allclose(out, exact, atol=0.05)
