"""CPMN's networks: published size and maps, what a pathway says, Grad-CAM without a backward pass."""

import pytest
import torch
from torch import nn

from PESemiSegLib.errors import ConfigError
from PESemiSegLib.networks.build import build_segmenter, count_parameters
from PESemiSegLib.networks.config import NetworkConfig, VolumeConfig

SMALL = NetworkConfig(width=2, architecture="cpmn", volume=VolumeConfig((32, 64, 64), 3.0))


def test_published_size():
    """The library map: 11.09 M, of which the encoder's classifier of 1,000 classes is left out."""
    with torch.device("meta"):
        network = build_segmenter(NetworkConfig(architecture="cpmn", volume=VolumeConfig()))
    assert count_parameters(network.classifier) == 320 * 128 + 128 + 128 * 2 + 2
    whole = count_parameters(network) - count_parameters(network.classifier)
    idle = 320 * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    assert whole == 11_091_413 - idle


def test_what_a_pathway_says():
    network = build_segmenter(SMALL, seed=0).eval()
    with torch.no_grad():
        reading = network.read(torch.zeros(2, 1, 32, 64, 96))
        logits, features = network.forward_features(torch.zeros(2, 1, 32, 64, 96))
        assert network(torch.zeros(1, 1, 32, 64, 64)).shape == (1, 1, 32, 64, 64)
    assert reading.logits.shape == (2, 1, 32, 64, 96)
    assert reading.features.shape == (2, 2, 32, 64, 96)
    assert reading.classes.shape == (2, 2)
    assert reading.deepest.shape == (2, 320, 1, 2, 3)
    assert reading.cam_weights.shape == (2, 320)
    assert torch.equal(logits, reading.logits)
    assert torch.equal(features, reading.features)
    with pytest.raises(ValueError, match="multiples of 32"):
        network.read(torch.zeros(1, 1, 32, 64, 80))


def test_it_is_monais_network():
    """The same weights in MONAI's own FlexibleUNet give the same logits."""
    from monai.networks.nets import FlexibleUNet

    network = build_segmenter(SMALL, seed=0).eval()
    other = FlexibleUNet(
        1, 1, "efficientnet-b0", pretrained=False, decoder_channels=(32, 16, 8, 4, 2), spatial_dims=3
    ).eval()
    own = network.body.state_dict() | {
        f"segmentation_head.{n}": v for n, v in network.head.state_dict().items()
    }
    missing, unexpected = other.load_state_dict(own, strict=False)
    assert not unexpected
    assert {name.split(".")[1] for name in missing} == {"_conv_head", "_bn1", "_fc"}
    image = torch.randn(1, 1, 32, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(network(image), other(image))
    assert {m.momentum for m in network.modules() if isinstance(m, nn.BatchNorm3d)} == {0.1}


def test_cam_weights_are_the_gradient_of_the_log_odds():
    network = build_segmenter(SMALL, seed=0).double().eval()
    with torch.no_grad():
        network.classifier[0].bias.normal_(0, 0.2, generator=torch.Generator().manual_seed(1))
    deepest = torch.randn(3, 320, 2, 3, 4, dtype=torch.double, requires_grad=True)
    pooled = deepest.mean((2, 3, 4))
    classes = network.classifier(pooled)
    (gradient,) = torch.autograd.grad((classes[:, 1] - classes[:, 0]).sum(), deepest)
    weights = network.cam_weights(pooled)
    torch.testing.assert_close(weights[:, :, None, None, None] / 24, gradient[..., :1, :1, :1])
    torch.testing.assert_close(gradient, gradient[..., :1, :1, :1].expand_as(gradient))


def test_the_flat_network_is_a_segmenter_like_any():
    network = build_segmenter(NetworkConfig(width=4, architecture="efficient_unet", context=3), seed=0).eval()
    with torch.no_grad():
        logits, features = network.forward_features(torch.zeros(2, 3, 48, 80))  # 16s, not 32s
    assert logits.shape == (2, 1, 48, 80)
    assert features.shape == (2, 4, 48, 80)
    assert not any(isinstance(module, nn.Linear) for module in network.modules())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"architecture": "cpmn"}, "volume"),
        ({"volume": VolumeConfig()}, "volume"),
        ({"architecture": "cpmn", "volume": VolumeConfig(), "context": 3}, "context"),
        ({"architecture": "cpmn", "volume": {"crop": [32, 48, 64]}}, "multiples of 32"),
        ({"architecture": "cpmn", "volume": {"crop": [32, 64]}}, "three multiples"),
        ({"architecture": "cpmn", "volume": {"slice_mm": True}}, "slice_mm"),
        ({"architecture": "cpmn", "volume": {"phase": "late"}}, "phase"),
        ({"architecture": "cpmn", "volume": {"depth": 3}}, "no setting 'depth'"),
    ],
)
def test_impossible_settings_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        NetworkConfig.from_dict(values)


def test_settings_survive_json():
    import json

    assert NetworkConfig.from_dict(json.loads(json.dumps(SMALL.to_dict()))) == SMALL
    assert "32 x 64 x 64" in str(SMALL)
