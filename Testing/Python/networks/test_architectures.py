"""Every architecture keeps the one interface: published sizes, shapes, independence of slices, gradients."""

import pytest
import torch

from PESemiSegLib.errors import ConfigError
from PESemiSegLib.networks.build import build_judge, build_segmenter, count_parameters
from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig
from PESemiSegLib.networks.segmenter import start_classifier

OTHERS = ("unet2d", "attention_unet", "deeplabv3plus")
TINY = [
    NetworkConfig(width=4, carafe_mid=2),
    *(NetworkConfig(width=4, architecture=name) for name in OTHERS),
    NetworkConfig(width=4, architecture="deeplabv3plus", depth="full"),
]


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (NetworkConfig(width=64, architecture="unet2d"), 31_112_065),  # 31.1 M: the library map
        (NetworkConfig(width=64, architecture="attention_unet"), 31_739_185),  # 31.7 M
        (NetworkConfig(width=64, architecture="unet2d", context=5), 31_112_065 + 4 * 9 * 64),
        (NetworkConfig(width=64, architecture="unet2d", classes=3), 31_112_065 + 2 * 65),
    ],
)
def test_parameter_counts_of_the_published_sizes(config, parameters):
    with torch.device("meta"):
        assert count_parameters(build_segmenter(config)) == parameters


def test_deeplab_is_a_resnet_50_a_pyramid_and_a_decoder():
    """ResNet-50 without its classifier has 23,508,032 values for RGB, 6,272 fewer for one channel."""
    with torch.device("meta"):
        network = build_segmenter(NetworkConfig(width=64, architecture="deeplabv3plus", depth="full"))
    biases = sum(
        value.numel() for name, value in network.body.named_parameters() if name.endswith("downsample.0.bias")
    )
    assert count_parameters(network.body) - biases == 23_508_032 - 6_272
    pyramid = 2048 * 256 * (1 + 3 * 9 + 1) + 4 * 512 + 256 + 5 * 256 * 256 + 512
    assert count_parameters(network.pyramid) == pyramid
    assert count_parameters(network.low) == 256 * 48 + 96
    assert count_parameters(network.decoder) == (304 + 256) * 9 * 256 + 4 * 256


@pytest.mark.parametrize("config", TINY, ids=str)
@pytest.mark.parametrize("classes", [2, 3])
def test_shapes_are_those_the_config_states(config, classes):
    config = NetworkConfig(**{**config.to_dict(), "classes": classes, "context": 3})
    network = build_segmenter(config, seed=0).eval()
    judge = build_judge(DiscriminatorConfig(channels=(4,)), config, seed=1)
    with torch.no_grad():
        logits, features = network.forward_features(torch.zeros(2, 3, 48, 80))
        confidence = judge(logits.softmax(1), features)
    stride = config.feature_stride
    assert logits.shape == (2, config.outputs, 48, 80)
    assert config.outputs == {2: 1, 3: 3}[classes]
    assert features.shape == (2, config.feature_channels, 48 // stride, 80 // stride)
    assert confidence.shape == (2, 1, 48, 80)
    with pytest.raises(ValueError, match="multiples of 16"):
        network(torch.zeros(1, 3, 40, 48))


@pytest.mark.parametrize("config", TINY, ids=str)
def test_the_head_on_the_features_gives_the_logits(config):
    """Strategies that perturb the features rely on it."""
    network = build_segmenter(config, seed=0).eval()
    image = torch.randn(1, 1, 32, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits, features = network.forward_features(image)
        again = torch.nn.functional.interpolate(
            network.head(features), scale_factor=float(config.feature_stride), mode="bilinear"
        )
    assert torch.allclose(logits, again, atol=1e-6)


@pytest.mark.parametrize("config", TINY, ids=str)
def test_every_parameter_learns_and_slices_stay_apart(config):
    network = build_segmenter(config, seed=0)
    images = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    network(images).square().sum().backward()
    idle = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    # A bias in front of a batch norm is taken out again by it.
    assert [name for name in idle if not name.endswith("bias")] == []
    network.eval()
    with torch.no_grad():
        together = network(images)
        apart = torch.cat([network(image[None]) for image in images])
    assert torch.allclose(together, apart, atol=1e-5)


def test_a_crop_of_one_can_be_learnt_from():
    """DeepLab's image mean has no norm, which would need two crops."""
    network = build_segmenter(NetworkConfig(width=4, architecture="deeplabv3plus"), seed=0).train()
    assert torch.isfinite(network(torch.zeros(1, 1, 64, 64))).all()


@pytest.mark.parametrize(
    "values",
    [
        {"architecture": "unet"},
        {"architecture": "unet2d", "stage4": True},
        {"architecture": "deeplabv3plus", "upsample": "bilinear"},
        {"architecture": "attention_unet", "stem": "quarter"},
        {"classes": 1},
        {"classes": 2.0},
    ],
)
def test_settings_of_another_network_are_refused(values):
    with pytest.raises(ConfigError):
        NetworkConfig.from_dict(values)


def test_the_discriminator_of_tan_et_al_has_its_six_convolutions():
    """1B: 64, 128, 256, 512, 512, 1 on three classes, 6.96 M; 512 pixels become 8, then 512 again."""
    config = DiscriminatorConfig(kind="mask_only", channels=(64, 128, 256, 512, 512))
    with torch.device("meta"):
        judge = build_judge(config, NetworkConfig(width=64, architecture="unet2d", classes=3))
        assert judge.body(torch.zeros(1, 3, 512, 512)).shape == (1, 1, 8, 8)
        assert judge(torch.zeros(1, 3, 512, 512)).shape == (1, 1, 512, 512)
    assert count_parameters(judge) == 6_959_553


@pytest.mark.parametrize("architecture", ["hrnet", "unet2d", "deeplabv3plus", "efficient_unet"])
def test_one_channel_starts_at_a_probability_of_one_in_a_hundred(architecture):
    config = NetworkConfig(width=4, depth="small", architecture=architecture)
    with torch.no_grad():
        logits = build_segmenter(config, seed=0).eval()(torch.randn(1, 1, 64, 64))
    assert logits.sigmoid().mean().item() == pytest.approx(0.01, abs=0.005)


@pytest.mark.parametrize("architecture", ["unet2d", "attention_unet", "deeplabv3plus"])
def test_of_several_classes_each_but_the_background_starts_at_one_in_a_hundred(architecture):
    config = NetworkConfig(width=4, depth="small", architecture=architecture, classes=4)
    with torch.no_grad():
        shares = build_segmenter(config, seed=0).eval()(torch.randn(1, 1, 64, 64)).softmax(1).mean((0, 2, 3))
    assert shares.tolist() == pytest.approx([0.97, 0.01, 0.01, 0.01], abs=0.005)


@pytest.mark.parametrize(("outputs", "prior"), [(1, 0.2), (2, 0.5), (3, 0.25)])
def test_a_start_at_another_probability(outputs, prior):
    layer = torch.nn.Conv2d(4, outputs, 1)
    start_classifier(layer, prior)
    logits = layer(torch.zeros(1, 4, 1, 1)).flatten()
    found = logits.sigmoid() if outputs == 1 else logits.softmax(0)[1:]
    assert found.tolist() == pytest.approx([prior] * max(outputs - 1, 1))
    assert layer.weight.abs().max() < 0.1


def test_weights_of_both_signs_survive_the_first_steps_on_rare_marks():
    """From a bias of 0 all of them end below 0: no logit could then exceed the bias."""
    draw = torch.Generator().manual_seed(0)
    mark = (torch.rand(4, 1, 32, 32, generator=draw) < 0.01).float()
    features = torch.rand(4, 16, 32, 32, generator=draw)  # >= 0, as after ReLU; half of them rise in a mark
    features[:, :8] += mark
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(16, 1, 1)
    start_classifier(layer)
    optimiser = torch.optim.Adam(layer.parameters(), lr=2e-3)
    for _ in range(300):
        optimiser.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(layer(features), mark).backward()
        optimiser.step()
    assert (layer.weight.flatten()[:8] > 0).all()
    assert layer(features).sigmoid()[mark > 0].mean() > 5 * layer(features).sigmoid()[mark == 0].mean()
