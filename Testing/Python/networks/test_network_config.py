"""The settings check themselves, survive JSON, and load without torch."""

import json
import subprocess
import sys

import pytest

from PESemiSegLib.errors import ConfigError
from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig


@pytest.mark.parametrize(
    "config",
    [
        NetworkConfig(),
        NetworkConfig(width=48, depth="full", stem="quarter", stage4=True, upsample="bilinear", context=5),
        DiscriminatorConfig(),
        DiscriminatorConfig(kind="mask_only", channels=(8, 16), mask_weight=1, feature_resolution="input"),
    ],
)
def test_json_round_trip(config):
    assert type(config).from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    "values",
    [
        {"width": 0},
        {"width": 16.0},
        {"width": True},
        {"width": "16"},
        {"depth": "deep"},
        {"stem": None},
        {"stage4": 1},
        {"upsample": ["carafe"]},
        {"context": 2},
        {"context": -1},
        {"carafe_mid": 0},
        {"wdth": 16},
    ],
)
def test_bad_network_settings_are_refused(values):
    with pytest.raises(ConfigError):
        NetworkConfig.from_dict(values)


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "patch"},
        {"channels": [0]},
        {"channels": [16.0]},
        {"channels": "ab"},
        {"mask_weight": 0},
        {"mask_weight": float("nan")},
        {"mask_weight": "5"},
        {"feature_weight": -1},
        {"feature_resolution": "full"},
        {"detach_features": 1},
        {"layers": 3},
    ],
)
def test_bad_discriminator_settings_are_refused(values):
    with pytest.raises(ConfigError):
        DiscriminatorConfig.from_dict(values)


def test_published_discriminator_channels_are_the_defaults():
    assert DiscriminatorConfig().channels == (128, 64)
    assert DiscriminatorConfig(kind="mask_only").channels == (64, 128, 256, 512)


def test_config_needs_no_torch():
    code = "import sys; sys.modules['torch'] = None; import PESemiSegLib.networks.config"
    subprocess.run([sys.executable, "-c", code], check=True)
